"""What a build takes is said before it is taken, and measured while it is."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.engine_facts import summary
from edgedet.artifacts.engine_match import Host
from edgedet.calibration.fp16 import to_half
from edgedet.cli import main
from edgedet.errors import ArtifactError
from edgedet.export.engines import memory as build_memory
from edgedet.export.engines.build import build_plan
from edgedet.export.engines.memory import (
    BUILDER,
    GPU_CONTEXT,
    MIB,
    GraphSize,
    Memory,
    MemoryWatch,
    measure_graph,
    predict,
    shortage,
)
from edgedet.export.options import EngineOptions
from edgedet.opening import read_card
from edgedet.runtimes.cuda.device import Cuda
from tests.export.engines.test_engine_export import save_candidates_graph
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install
from tests.tensorrt_api.networks import convolution
from tests.tiny_detector import tiny_detector

HOST = Host("10.3.0", "8.7", "Orin", "aarch64")


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def branching() -> onnx.ModelProto:
    """x (400 bytes) to a (400) and b (200, fp16); c = a + a reads a after b is gone; y leaves."""
    shapes = {"x": (TensorProto.FLOAT, [1, 4, 5, 5]), "a": (TensorProto.FLOAT, [1, 4, 5, 5]),
              "b": (TensorProto.FLOAT16, [1, 4, 5, 5]), "n": (TensorProto.FLOAT16, [1, 4, 5, 5]),
              "y": (TensorProto.FLOAT, [1, 4, 5, 5])}  # fmt: skip
    values = {name: helper.make_tensor_value_info(name, *facts) for name, facts in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Cast", ["x"], ["b"], to=TensorProto.FLOAT16),
        helper.make_node("Neg", ["b"], ["n"]),
        helper.make_node("Add", ["a", "a"], ["y"]),
        helper.make_node("Shape", ["y"], ["unheard"]),
    ]
    weights = numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        nodes, "g", [values["x"]], [values["y"]], [weights], value_info=[values[name] for name in "abn"]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_sizes_are_read_off_the_graph() -> None:
    size = measure_graph(branching().SerializeToString())
    # Most is alive while b is negated: a, b and n, or while x is cast: x, a and b.
    assert size.activations == 400 + 400 + 200
    assert size.largest == 400, "what the convolution reads"
    assert 64 <= size.weights <= 100
    assert size.unknown == 1


def test_no_graph_is_no_graph() -> None:
    with pytest.raises(ArtifactError, match="not a complete ONNX file"):
        measure_graph(convolution("fp32").SerializeToString()[:-9])


@pytest.mark.parametrize("quantised", [False, True])
def test_graphs_for_engines_keep_their_shapes(quantised: bool) -> None:
    """Without them nobody on the board could tell how much memory a build takes."""
    model = onnx.shape_inference.infer_shapes(tiny_detector(), data_prop=True)
    if quantised:
        from edgedet.calibration.pipeline import QuantiseOptions, quantise
        from tests.tiny_detector import card, frames

        options = QuantiseOptions(target="tensorrt", max_drop=1.0, over_budget="keep_best", threads=1)
        model = quantise(model, card(), frames(8), options=options).model
    whole, half = measure_graph(model.SerializeToString()), measure_graph(to_half(model).model.SerializeToString())
    assert half.unknown == 0 and half.activations > 0
    if not quantised:
        assert half.weights < whole.weights and half.largest < whole.largest


def test_prediction_adds_up() -> None:
    size = GraphSize(weights=10 * MIB, activations=20 * MIB, largest=4 * MIB, unknown=0)
    assert predict(size, 1000 * MIB, shared=True) == Memory(BUILDER + (30 + 20 + 36) * MIB, None)
    assert predict(size, 5 * MIB, shared=True) == Memory(BUILDER + (30 + 20 + 5) * MIB, None), (
        "the workspace limits"
    )
    assert predict(size, 1000 * MIB, shared=False) == Memory(BUILDER + 20 * MIB, GPU_CONTEXT + (10 + 20 + 36) * MIB)


def test_a_shortage_is_explained_with_both_sides() -> None:
    gib = 2**30
    assert shortage(Memory(2 * gib, None), Memory(2 * gib, None)) == ""
    said = shortage(Memory(2 * gib, None), Memory(gib, None))
    assert "takes about 2.0 GiB of memory, and 1.0 GiB of memory are free" in said and "--workspace" in said
    said = shortage(Memory(2 * gib, 3 * gib), Memory(9 * gib, gib))
    assert "and 3.0 GiB of the GPU's, and 1.0 GiB of the GPU's memory are free" in said
    assert "machine's memory are" not in said


@pytest.mark.parametrize(("free", "level"), [(900 * MIB, logging.WARNING), (8000 * MIB, logging.INFO)])
def test_it_is_said_before_tensorrt_does_anything(monkeypatch: pytest.MonkeyPatch, free: int, level: int) -> None:
    """Loading the builder takes most of it: afterwards is too late."""
    trt = install(monkeypatch, "10.3.0", FakeCuda(integrated=True))
    monkeypatch.setattr(build_memory, "memory", lambda: (8 * 2**30, free))
    heard: list[tuple[int, str, int]] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append((record.levelno, record.getMessage(), len(trt.calls)))

    logger = logging.getLogger("edgedet.build")
    monkeypatch.setattr(logger, "handlers", [Ear()])
    # Not by attribute: loggers remember what they let through.
    logger.setLevel(logging.INFO)
    try:
        build_plan(convolution("fp32").SerializeToString(), "fp32", HOST, EngineOptions(), cuda=Cuda())
    finally:
        logger.setLevel(logging.NOTSET)
    ((found, text, calls),) = heard
    assert found == level and calls == 0
    assert "1.5 GiB" in text


def test_the_peak_on_a_gpu_of_its_own_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    double = FakeCuda()
    install(monkeypatch, "10.3.0", double, Machine(steps=8, step_seconds=0.1))

    def progress(what: str, done: int, of: int) -> None:
        # Memory that is given back long before the build ends.
        double.total = 8 * 2**30 - (3 * 2**30 if done in (3, 4) else 0)

    facts = build_plan(
        convolution("fp32").SerializeToString(), "fp32", HOST, EngineOptions(), cuda=Cuda(), progress=progress
    ).facts["memory"]
    assert facts["peak_mib"]["gpu"] == 3 * 1024
    assert facts["peak_mib"]["machine"] > 50, "this very process"
    assert facts["predicted_mib"]["gpu"] == 300 and facts["predicted_mib"]["machine"] == 1500
    assert facts["workspace_mib"] == 2048, "a quarter of the GPU's"


def test_on_a_shared_memory_what_is_free_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "10.3.0", FakeCuda(integrated=True))
    free = iter([4000, 3900, 1500, 3000])
    last = [3000]

    def memory() -> tuple[int, int]:
        last.append(next(free, last[-1]))
        return 8 * 2**30, last[-1] * MIB

    monkeypatch.setattr(build_memory, "memory", memory)
    with MemoryWatch(Cuda(), every=0.01) as watch:
        time.sleep(0.2)
    assert watch.peak == Memory(2500 * MIB, None)


def test_prediction_and_measurement_stand_side_by_side_on_the_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, "10.3.0", FakeCuda(integrated=True))
    monkeypatch.setattr(build_memory, "memory", lambda: (4 * 2**30, 1000 * MIB))
    save_candidates_graph(tmp_path / "model.onnx")
    assert (
        main(["export", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "model.trt"), "--workspace", "99"]) == 0
    )
    said = capsys.readouterr()
    assert said.err.startswith("warning: the build takes about 1.5 GiB of memory, and 1.0 GiB of memory are free")
    assert "memory: the build was to take 1500 MiB, the whole process took " in said.out
    facts = read_card(tmp_path / "model.trt").engine or {}
    assert facts["memory"]["predicted_mib"] == {"shared": 1500} and facts["memory"]["workspace_mib"] == 99
    assert set(facts["memory"]["peak_mib"]) == {"shared"}
    assert main(["inspect", str(tmp_path / "model.trt")]) == 0
    assert "\nmemory      the build was to take 1500 MiB, the whole process took " in capsys.readouterr().out


def test_where_the_system_does_not_tell_nobody_guesses() -> None:
    facts = {"memory": {"predicted_mib": {"machine": 1500, "gpu": 400}, "peak_mib": None}}
    assert dict(summary(facts)) == {
        "memory": "the build was to take 1500 MiB and 400 MiB of the GPU, the whole process took an unknown amount"
    }

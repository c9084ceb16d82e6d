"""Engines built by the real TensorRT-RTX, on a machine without a GPU or as if it had none; skipped without it."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY
from edgedet.artifacts.engine_file import plan_version, read_engine_header, read_plan
from edgedet.artifacts.engine_library import TENSORRT_RTX
from edgedet.artifacts.engine_match import Host
from edgedet.cli import main
from edgedet.errors import ArtifactError, ExportError, RuntimeUnavailableError, UsageError
from edgedet.export.engines import engine_export
from edgedet.export.engines.build import build_plan
from edgedet.export.engines.rtx_build import configure
from edgedet.export.options import EngineOptions
from edgedet.export.pipeline import export_model
from edgedet.opening import read_card
from tests.export.engines.test_engine_export import save_candidates_graph
from tests.rectangle_detector import save_rectangle_graph
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import RTX_VERSIONS, make_tensorrt
from tests.tensorrt_api.installed import install
from tests.tensorrt_api.networks import convolution

HOST = Host("1.7.1.116", None, None, "x86_64")
LIBRARY = "needs TensorRT-RTX: pip install 'edgedet[tensorrt-rtx]'"


@pytest.fixture
def real() -> Any:
    """The library itself, and no GPU."""
    pytest.importorskip("tensorrt_rtx_libs", reason=LIBRARY)
    return pytest.importorskip("tensorrt_rtx_bindings", reason=LIBRARY)


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_export, "driver_is_there", lambda: False)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    save_candidates_graph(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def build(precision: Any = "fp32", options: EngineOptions = EngineOptions(), **named: Any) -> Any:  # noqa: B008
    content = convolution(precision).SerializeToString()
    return build_plan(content, precision, HOST, options, library=TENSORRT_RTX, unopened="no GPU", **named)


def targets_of(plan: bytes) -> list[int]:
    """Set bits at offset 32 of a plan of 1.7: sm75, sm80, sm86, sm89, sm120, sm121, and one nobody names."""
    return [bit for bit in range(8) if plan[32] >> bit & 1]


@pytest.mark.parametrize("container", ["file", "plan"])
def test_the_command_builds_an_engine_without_a_gpu_and_says_that_it_is_unproved(
    real: Any, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], container: str
) -> None:
    engine = tmp_path / "engine.rtx"
    assert main(["export", str(graph), "-o", str(engine), "--container", container, "--json"]) == 0
    notes = "\n".join(json.loads(capsys.readouterr().out)["notes"])
    assert "built, neither run nor proved: no GPU can be used on the machine that built it" in notes
    assert "edgedet selftest engine.rtx" in notes
    facts = read_card(engine).engine or {}
    assert (facts["library"], facts["tensorrt_rtx"]) == ("tensorrt-rtx", real.__version__)
    assert (facts["portable"], facts["compute_capabilities"][1:4]) == (True, ["8.6", "8.9", "12.0"])
    assert "not_measured" in facts["proof"] and "not_measured" in facts["inspector"]
    assert facts["architecture"] and "tensorrt" not in facts
    plan = read_plan(read_engine_header(engine))
    assert plan.startswith(b"vtrt") and real.__version__.startswith(str(plan_version(plan)))
    assert engine.read_bytes().startswith(b"vtrt") == (container == "plan")
    assert main(["inspect", str(engine)]) == 0
    said = capsys.readouterr().out
    assert (
        "12.1 (DGX" in said
        and "tensorrt_rtx: " in said
        and "not for RTX 20 series, Jetson Orin" in " ".join(said.split())
    )


@pytest.mark.parametrize(
    ("words", "bits", "said"),
    [
        ([], [1, 2, 3, 4, 5, 6], True),
        (["--compute-capability", "sm75"], [0], ["7.5"]),
        (["--compute-capability", "sm86,sm89,sm120"], [2, 3, 4], ["8.6", "8.9", "12.0"]),
        (["--compute-capability", "12.1"], [5], ["12.1"]),
    ],
)
def test_the_plan_is_for_the_gpus_on_its_card(  # noqa: PLR0917
    real: Any, graph: Path, tmp_path: Path, words: list[str], bits: list[int], said: Any
) -> None:
    if not real.__version__.startswith("1.7."):
        pytest.skip("where a plan says what it is for was looked up in 1.7")
    assert main(["export", str(graph), "-o", str(tmp_path / "engine.rtx"), *words]) == 0
    facts = read_card(tmp_path / "engine.rtx").engine or {}
    assert targets_of(read_plan(read_engine_header(tmp_path / "engine.rtx"))) == bits
    assert facts["portable"] if said is True else facts["compute_capabilities"] == said


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_builds(real: Any, precision: Any) -> None:
    built = build(precision)
    assert bytes(built.plan[:4]) == b"vtrt" and built.precision is None
    assert built.facts["typing"] == "strong" and built.facts["memory"]["workspace_mib"] is None


def test_what_the_builder_has_is_passed_on(real: Any) -> None:
    with pytest.raises(ExportError, match="within workspace limit"):
        build(options=EngineOptions(workspace_mib=1))
    assert (
        build(options=EngineOptions(workspace_mib=64, optimization_level=0)).facts["options"]["workspace_mib"] == 64
    )


def test_a_build_is_cancelled_from_its_own_progress(real: Any) -> None:
    started: list[str] = []

    def stop(what: str, done: int, of: int) -> None:
        started.append(what)
        raise KeyboardInterrupt

    with pytest.raises(ExportError, match="BuildCanceled"):
        build(progress=stop)
    assert started


def test_ctrl_c_ends_a_build(real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def slow(what: str, done: int, of: int) -> None:
        if not begun.is_set():
            begun.set()
            threading.Timer(0.1, lambda: __import__("_thread").interrupt_main()).start()
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        build(progress=slow)
    assert begun.is_set()


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("x.rtx", ["--timing-cache", "t.cache"], "--timing-cache is nothing that TensorRT-RTX has: it measures"),
        ("x.rtx", ["--hardware-compatibility", "ampere_plus"], "its engines run on several GPUs; --compute"),
        ("x.rtx", ["--version-compatible"], "its engines run on the version that built them, and on no other"),
        ("x.rtx", ["--compute-capability", "sm90"], "'sm90', expected some of sm75 .*not for Jetson.*H100"),
        ("x.rtx", ["--compute-capability", "current"], "no GPU can be used here .*: name what x.rtx is for"),
        ("x.rtx", ["--target", "tensorrt"], "an engine of TensorRT-RTX, and --target tensorrt is for"),
        ("x.trt", ["--compute-capability", "sm89"], "TensorRT has: it builds for this machine's GPU alone"),
        ("x.onnx", ["--compute-capability", "sm89"], "--compute-capability is for engines, and x.onnx is a graph"),
    ],
)  # fmt: skip
def test_what_a_library_does_not_have_is_refused_in_a_sentence(  # noqa: PLR0917
    real: Any,
    graph: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: list[str],
    said: str,
) -> None:
    assert main(["export", str(graph), "-o", str(tmp_path / name), *words]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert re.search(said, error), error
    assert not (tmp_path / name).exists()


def test_weak_typing_is_refused(real: Any, graph: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="strong typing"):
        export_model(graph, tmp_path / "x.rtx", engine=EngineOptions(typing="weak"))


def test_without_the_library_the_extra_is_named(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedet.export import request_checks

    monkeypatch.setattr(request_checks, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'edgedet\[tensorrt-rtx\]'"):
        export_model(graph, tmp_path / "x.rtx")


def test_an_engine_is_not_opened_without_a_gpu(real: Any, graph: Path, tmp_path: Path) -> None:
    from edgedet.runtimes.cuda.device import driver_is_there

    if driver_is_there():
        pytest.skip("this machine has a driver")
    export_model(graph, tmp_path / "x.rtx")
    with pytest.raises(RuntimeUnavailableError, match=r"x\.rtx is an engine for .*no GPU can be used here"):
        Detector(tmp_path / "x.rtx")


def rewritten(path: Path, change: Any) -> Path:
    """A finished graph of ours with something in it that no exporter of ours writes."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def add_output(model: onnx.ModelProto, nodes: list[onnx.NodeProto], name: str, kind: int, shape: list[int]) -> None:
    model.graph.node.extend(nodes)
    model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))


def _constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(value))


def _top_k(model: onnx.ModelProto) -> None:
    floats = [
        helper.make_node("Cast", ["images"], ["more"], "more", to=TensorProto.FLOAT),
        _constant("flat", np.array([1, 12288])),
        helper.make_node("Reshape", ["more", "flat"], ["row"], "row"),
        _constant("many", np.array([3841])),
        helper.make_node("TopK", ["row", "many"], ["best", "places"], "best"),
    ]
    add_output(model, floats, "best", TensorProto.FLOAT, [1, 3841])


def _transposed(model: onnx.ModelProto) -> None:
    node = helper.make_node("Transpose", ["images"], ["turned"], "turned", perm=[0, 3, 1, 2])
    cast = helper.make_node("Cast", ["turned"], ["floats"], "floats", to=TensorProto.FLOAT)
    add_output(model, [node, cast], "floats", TensorProto.FLOAT, [1, 3, 64, 64])


def _asymmetric(model: onnx.ModelProto) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["plain"], "plain", to=TensorProto.FLOAT),
        _constant("scale", np.array(0.5, np.float32)),
        _constant("zero", np.array(128, np.uint8)),
        helper.make_node("QuantizeLinear", ["plain", "scale", "zero"], ["quantised"], "quantise"),
        helper.make_node("DequantizeLinear", ["quantised", "scale", "zero"], ["back"], "back"),
    ]
    add_output(model, nodes, "back", TensorProto.FLOAT, [1, 64, 64, 3])


def _scatter(model: onnx.ModelProto) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], "pixels", to=TensorProto.FLOAT),
        _constant("indices", np.array([[0]])),
        _constant("updates", np.ones((1, 64, 64, 3), np.float32)),
        helper.make_node("ScatterND", ["pixels", "indices", "updates"], ["sum"], "sum", reduction="add"),
    ]
    add_output(model, nodes, "sum", TensorProto.FLOAT, [1, 64, 64, 3])


def _roi_align(model: onnx.ModelProto) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["maps"], "maps", to=TensorProto.FLOAT),
        _constant("rois", np.array([[0, 0, 9, 9]], np.float32)),
        _constant("image", np.array([0])),
        helper.make_node("RoiAlign", ["maps", "rois", "image"], ["roi"], "roi", output_height=2, output_width=2),
    ]
    add_output(model, nodes, "roi", TensorProto.FLOAT, [1, 64, 2, 2])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_top_k, "TopK best .*K is 3841"),
        (_transposed, "Transpose turned .*uint8"),
        (_asymmetric, "Linear .*zero point is uint8 128, expected int8 0"),
        (_scatter, "ScatterND sum .*reduction add is not supported"),
        (_roi_align, "RoiAlign roi .*asks CUDA"),
    ],
)
def test_a_finished_graph_that_does_not_build_is_refused_before_the_builder(  # noqa: PLR0917
    real: Any, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, said: str
) -> None:
    path = rewritten(graph, change)
    with pytest.raises(ExportError):
        build_plan(path, "fp32", HOST, library=TENSORRT_RTX, unopened="no GPU")
    monkeypatch.setattr(engine_export, "build_plan", lambda *given, **named: pytest.fail("the builder was asked"))
    with pytest.raises(ArtifactError, match=f"cannot become a TensorRT-RTX engine: .*{said}"):
        export_model(path, tmp_path / "x.rtx")


@pytest.mark.parametrize("suffix", [".rtx", ".trt"])
def test_nms_inside_is_refused_without_the_exporter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setitem(sys.modules, "edgedet.export.finished_graph", None)
    from edgedet.export import request_checks

    monkeypatch.setattr(request_checks, "find_spec", lambda name: object())
    card = save_rectangle_graph(tmp_path / "nms.onnx")
    model = onnx.load(tmp_path / "nms.onnx")
    helper.set_model_props(model, {METADATA_KEY: replace(card, provenance={"tools": {"edgedet": "0"}}).to_json()})
    onnx.save(model, tmp_path / "nms.onnx")
    target = {".rtx": "tensorrt-rtx", ".trt": "tensorrt"}[suffix]
    with pytest.raises(ArtifactError, match=f"from the checkpoint, .*--nms runtime --target {target}$"):
        export_model(tmp_path / "nms.onnx", tmp_path / f"x{suffix}")


# With a GPU the engine is proved as TensorRT's are; here on the double.


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_export, "driver_is_there", lambda: True)

    def make(capability: tuple[int, int], machine: Machine | None = None) -> Any:
        return install(monkeypatch, RTX_VERSIONS[0], FakeCuda(capability), machine)

    return make


def test_with_a_gpu_the_engine_is_proved(with_gpu: Any, graph: Path, tmp_path: Path) -> None:
    trt = with_gpu((8, 9))
    report = export_model(graph, tmp_path / "x.rtx")
    facts = report.card.engine or {}
    assert any("golden frame" in note for note in report.notes) and "proof" not in facts
    assert facts["portable"] and facts["cuda"] == "12.6" and facts["inspector"]["time"]
    set_flags = [call["flag"].name for name, call in trt.calls if name == "IBuilderConfig.set_flag"]
    assert set_flags == ["REQUIRE_USER_ALLOCATION"]
    assert not [name for name, _ in trt.calls if "timing_cache" in name]
    with Detector(tmp_path / "x.rtx", selftest=True):
        pass


def test_current_is_the_gpu_at_hand(with_gpu: Any, graph: Path, tmp_path: Path) -> None:
    trt = with_gpu((8, 9))
    report = export_model(graph, tmp_path / "x.rtx", engine=EngineOptions(compute_capabilities=("current",)))
    facts = report.card.engine or {}
    assert (facts["compute_capabilities"], facts["portable"]) == (["8.9"], False)
    asked = [call["compute_capability"].name for name, call in trt.calls if name.endswith("set_compute_capability")]
    assert asked == ["CURRENT"]


def test_a_gpu_that_the_engine_is_not_for_proves_nothing(with_gpu: Any, graph: Path, tmp_path: Path) -> None:
    with_gpu((9, 0))
    report = export_model(graph, tmp_path / "x.rtx")
    why = (report.card.engine or {})["proof"]["not_measured"]
    assert "has Double of compute capability 9.0, and it is for compute capability 8.0" in why


def test_a_target_that_this_version_lacks_is_named() -> None:
    trt = make_tensorrt(RTX_VERSIONS[0])

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

    config = trt.Builder(Log()).create_builder_config()
    trt.ComputeCapability = type("Older", (), {"SM86": trt.ComputeCapability.SM86})
    with pytest.raises(ExportError, match=r"does not build for sm121; leave it out"):
        configure(trt, config, EngineOptions(compute_capabilities=("sm121",)))

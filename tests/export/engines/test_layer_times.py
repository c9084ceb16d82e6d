"""Where an engine's time goes, by precision: TensorRT's profiler on the machine that builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgedet.artifacts.engine_facts import summary
from edgedet.artifacts.engine_match import Host
from edgedet.cli import main
from edgedet.export.engines.build import build_plan
from edgedet.export.engines.inspected_precision import EnginePrecision, read_precision
from edgedet.export.engines.layer_times import LayerTimes
from edgedet.export.options import EngineOptions
from edgedet.opening import read_card
from edgedet.runtimes.cuda.device import Cuda
from tests.export.engines.test_engine_export import save_candidates_graph
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import VERSIONS
from tests.tensorrt_api.installed import install
from tests.tensorrt_api.networks import convolution

HOST = Host("10.3.0", "8.7", "Orin", "aarch64")


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def build(precision: Any = "int8", cuda: Any = None) -> dict[str, Any]:
    plan = build_plan(convolution(precision).SerializeToString(), precision, HOST, EngineOptions(), cuda=cuda)
    time: dict[str, Any] = plan.facts["inspector"]["time"]
    return time


@pytest.mark.parametrize("layers", [{}, {"int8": 0, "fp16": 0}, None])
def test_an_engine_whose_layers_are_not_told_has_no_share(layers: Any) -> None:
    told = dict(summary({"inspector": {"layers": layers, "time": {"missing": "no CUDA device was at hand"}}}))
    assert told["layers"].startswith("not told") and "%" not in told["layers"]
    assert told["layer time"] == "not measured (no CUDA device was at hand)"
    assert EnginePrecision({}, {}, 0, 0).as_dict()["share"] == {}
    assert "missing" in LayerTimes({}, 0).by_precision(EnginePrecision({}, {}, 0, 0))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_share_of_time_is_told_by_precision(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """One convolution in int8 takes 6 ms of 10, conversions 3, the rest is fp32; a slow first run changes
    nothing."""
    machine = Machine(
        layer_ms={"cast": 1.5, "transpose": 1.0, "conv": 6.0, "back": 0.5, "Reformatting CopyNode": 1.0}
    )
    double = FakeCuda()
    install(monkeypatch, version, double, machine)
    time = build(cuda=Cuda())
    assert time["share"] == {"int8": 0.6, "reformat": 0.3, "fp32": 0.1}
    assert time["profiled_ms"] == pytest.approx(10.0) and time["runs"] == 50
    assert double.held == 0, "buffers and streams are released"


def test_layers_run_off_the_default_stream_with_a_buffer_each(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = install(monkeypatch, "10.3.0", FakeCuda())
    build(cuda=Cuda())
    executed = [call for name, call in trt.calls if name == "IExecutionContext.execute_async_v3"]
    assert executed and all(call["stream_handle"] not in (0, 1, 2) for call in executed)
    placed = [call["name"] for name, call in trt.calls if name == "IExecutionContext.set_tensor_address"]
    assert sorted(placed) == ["images", "out"]
    assert any(name == "IExecutionContext.profiler" for name, _ in trt.calls)


def test_an_engine_that_cannot_be_timed_is_as_good_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    double = FakeCuda()
    install(monkeypatch, "10.16.1.11", double, Machine(fails_to_run=True))
    assert build(cuda=Cuda()) == {"missing": "TensorRT cannot run the engine: it gives no reason"}
    assert double.held == 0


def test_layers_the_inspector_does_not_know_are_told() -> None:
    precision = EnginePrecision({"fp16": 1}, {}, 0, 1, {"conv": "fp16"})
    told = LayerTimes({"conv": 3.0, "surprise": 1.0}, 7).by_precision(precision)
    assert told == {"share": {"fp16": 0.75, "unknown": 0.25}, "profiled_ms": 4.0, "runs": 7}
    assert LayerTimes({}, 0).by_precision(precision) == {"missing": "TensorRT reported no time at all"}


def test_the_inspector_names_what_computes_and_what_converts() -> None:
    def layer(name: str, kind: str, *types: str) -> dict[str, Any]:
        return {"Name": name, "LayerType": kind, "Inputs": [{"DataType": kind} for kind in types], "Outputs": []}

    found = read_precision(
        json.dumps(
            {"Layers": [layer("a", "CaskConvolution", "Int8"), layer("b", "Reformat", "Half"), layer("c", "NoOp"),
                        layer("d", "PointWise", "Half"), layer("e", "PointWise", "Float")]}
        )
    )  # fmt: skip
    assert found.kinds == {"a": "int8", "b": "reformat", "c": "other", "d": "fp16", "e": "fp32"}
    assert found.as_dict()["share"] == {"int8": 0.3333, "fp16": 0.3333, "fp32": 0.3333}


def test_card_and_inspect_show_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, "10.3.0", FakeCuda(integrated=True))
    save_candidates_graph(tmp_path / "model.onnx")
    assert main(["export", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "model.trt")]) == 0
    assert "layer time: 9" in capsys.readouterr().out
    time = (read_card(tmp_path / "model.trt").engine or {})["inspector"]["time"]
    assert sum(time["share"].values()) == pytest.approx(1, abs=1e-3) and time["runs"] > 0
    # On a machine without TensorRT.
    monkeypatch.undo()
    assert main(["inspect", str(tmp_path / "model.trt")]) == 0
    shown = capsys.readouterr().out
    assert "\nlayers      " in shown and "% fp32" in shown
    assert "\nlayer time  9" in shown and "% reformat" in shown


@pytest.mark.parametrize(
    ("time", "said"),
    [(None, "not measured"), ({"missing": "no GPU"}, "not measured (no GPU)"), ("?", "not measured")],
)
def test_what_was_not_measured_is_said(time: Any, said: str) -> None:
    facts = {
        "inspector": {"layers": {"fp16": 3, "fp32": 1}, "reformats": 2} | ({} if time is None else {"time": time})
    }
    assert dict(summary(facts)) == {"layers": "3 fp16 (75 %), 1 fp32 (25 %); 2 reformats", "layer time": said}
    assert list(summary({})) == []

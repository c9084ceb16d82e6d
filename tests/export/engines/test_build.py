"""Building engines, against a TensorRT that has exactly what versions 10.3, 10.16 and 11.4 have."""

from __future__ import annotations

import collections
import json
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from edgedet.artifacts.card import Precision
from edgedet.artifacts.engine_file import plan_version
from edgedet.artifacts.engine_match import Host
from edgedet.errors import ExportError, RuntimeUnavailableError, UsageError
from edgedet.export.engines.build import build_plan, default_timing_cache, workspace_bytes
from edgedet.export.engines.build_watch import run_cancellable
from edgedet.export.engines.inspected_precision import EnginePrecision, read_precision, require_precision
from edgedet.export.engines.memory import Memory
from edgedet.export.options import EngineOptions
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.double import VERSIONS, make_tensorrt
from tests.tensorrt_api.networks import convolution

HOST = Host("10.3.0", "8.7", "Orin", "aarch64")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgedet"


def installed(monkeypatch: pytest.MonkeyPatch, version: str, machine: Machine | None = None) -> Any:
    module = make_tensorrt(version, machine)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


def calls(module: Any, name: str) -> list[dict[str, Any]]:
    return [arguments for called, arguments in module.calls if called == name]


DEFAULTS = EngineOptions()


def build(precision: Precision, options: EngineOptions = DEFAULTS, **named: Any) -> Any:
    return build_plan(convolution(precision).SerializeToString(), precision, HOST, options, **named)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_every_precision_strongly_typed(
    monkeypatch: pytest.MonkeyPatch, version: str, precision: Precision
) -> None:
    trt = installed(monkeypatch, version)
    built = build(precision)
    assert plan_version(built.plan) == ".".join(version.split(".")[:3])
    (network,) = calls(trt, "Builder.create_network")
    assert network["flags"] == 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert not calls(trt, "IBuilderConfig.set_flag"), "precision is in the graph; flags would be refused by 11"
    assert built.facts["typing"] == "strong"
    assert built.precision.weighted == {precision: 1}
    assert built.facts["inspector"]["reformats"] == 1
    assert built.facts["inspector"]["time"] == {"missing": "no CUDA device was at hand"}
    assert (built.facts["tensorrt"], built.facts["compute_capability"]) == (version, "8.7")


def test_a_ten_that_refuses_strong_qdq_is_given_weak_typing(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = installed(monkeypatch, "10.3.0", Machine(strong_qdq_fails=True))
    built = build("int8")
    assert built.facts["typing"] == "weak"
    assert "dequantize" in built.facts["strongly_typed_failure"]
    assert {call["flag"].name for call in calls(trt, "IBuilderConfig.set_flag")} == {"INT8", "FP16"}


def test_eleven_has_no_weak_typing_to_fall_back_on(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "11.4.0.106", Machine(strong_qdq_fails=True))
    with pytest.raises(ExportError, match="dequantize"):
        build("int8")
    with pytest.raises(UsageError, match="strong typing only"):
        build("int8", EngineOptions(typing="weak"))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_that_silently_runs_in_fp32_is_refused(monkeypatch: pytest.MonkeyPatch, precision: Any) -> None:
    for version in VERSIONS:
        installed(monkeypatch, version, Machine(silently="fp32"))
        with pytest.raises(ExportError, match=rf"{precision} was asked for, but not one layer .*1 in fp32"):
            build(precision)


def test_an_engine_whose_types_are_not_told_is_kept_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(monkeypatch, "11.4.0.106", Machine(silently="nameless"))
    build("int8")
    assert "does not tell what its layers run in: int8 is not proved" in caplog.text


def test_a_parser_error_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "10.3.0", Machine(parse_error=("head/TopK", "TopK", "K exceeds 3840")))
    said = r"10\.3\.0 cannot parse the graph: TopK head/TopK: K exceeds 3840; export it again with --target"
    with pytest.raises(ExportError, match=said):
        build("fp32")


@pytest.mark.parametrize(
    ("said", "todo"),
    [
        ("Could not find any implementation for node conv", "--workspace"),
        ("Requested amount of GPU memory could not be allocated: out of memory", "add swap"),
        ("Error Code 1: Cuda Runtime (Out of memory) OutOfMemory", "add swap"),
        ("Error Code 2: OutOfMemory (Requested size was 9971408 bytes.)", "more --workspace"),
        ("Error Code 10: Internal Error (weird)", "lower --optimization-level"),
        ("ROIAlign plugin was not found in the plugin registry", "whose graphs need none"),
    ],
)
def test_a_failed_build_quotes_the_log_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, said: str, todo: str
) -> None:
    installed(monkeypatch, "11.4.0.106", Machine(build_error=said))
    with pytest.raises(ExportError) as caught:
        build("fp32")
    assert said in str(caught.value) and todo in str(caught.value)


def test_kernels_measured_once_are_remembered(monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    trt = installed(monkeypatch, "10.3.0")
    build("fp32")
    cache = default_timing_cache("10.3.0", HOST)
    assert cache.parent == cache_folder and cache.read_bytes() == b"measured kernels"
    build("fp32")
    assert calls(trt, "IBuilderConfig.create_timing_cache")[-1]["serialized_timing_cache"] == b"measured kernels"
    assert (
        default_timing_cache("10.16.1", HOST)
        != cache
        != default_timing_cache("10.3.0", replace(HOST, device="Nano"))
    )


def test_a_damaged_timing_cache_is_replaced(monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    installed(monkeypatch, "10.3.0")
    cache_folder.mkdir()
    default_timing_cache("10.3.0", HOST).write_bytes(b"rubbish")
    build("fp32")
    assert default_timing_cache("10.3.0", HOST).read_bytes() == b"measured kernels"


def test_options_reach_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = installed(monkeypatch, "10.16.1.11")
    options = EngineOptions(
        workspace_mib=77,
        optimization_level=5,
        version_compatible=True,
        hardware_compatibility="same_compute_capability",
    )
    facts = build("fp32", options).facts
    (pool,) = calls(trt, "IBuilderConfig.set_memory_pool_limit")
    assert (pool["pool"].name, pool["pool_size"]) == ("WORKSPACE", 77 * 2**20)
    assigned = {
        name: call["value"] for name, call in trt.calls if name.startswith("IBuilderConfig.") and "value" in call
    }
    assert assigned["IBuilderConfig.builder_optimization_level"] == 5
    assert assigned["IBuilderConfig.hardware_compatibility_level"].name == "SAME_COMPUTE_CAPABILITY"
    assert {call["flag"].name for call in calls(trt, "IBuilderConfig.set_flag")} == {"VERSION_COMPATIBLE"}
    assert facts["options"]["hardware_compatibility"] == "same_compute_capability"


def test_what_a_version_does_not_have_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "10.3.0")
    with pytest.raises(UsageError, match=r"10\.3\.0 has no hardware compatibility same_compute_capability"):
        build("fp32", EngineOptions(hardware_compatibility="same_compute_capability"))


def test_progress_is_reported_by_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "10.3.0", Machine(steps=2))
    said: list[tuple[str, int, int]] = []
    build("fp32", progress=lambda *event: said.append(event))
    assert said == [("Building Engine", 0, 2), ("Building Engine", 1, 2), ("Building Engine", 2, 2)]


def test_a_progress_bar_that_fails_stops_the_build_and_not_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "10.3.0")

    def broken(*event: Any) -> None:
        raise OSError("no terminal")

    with pytest.raises(ExportError, match="cancelled"):
        build("fp32", progress=broken)


def test_an_interrupt_stops_the_work_and_comes_through() -> None:
    cancelled = threading.Event()
    ended: list[bool] = []

    def work() -> None:
        ended.append(cancelled.wait(20))

    threading.Timer(0.3, lambda: __import__("_thread").interrupt_main()).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_cancellable(work, cancelled)
    assert ended == [True] and time.monotonic() - begin < 15


def test_a_third_ctrl_c_leaves_a_build_that_hangs() -> None:
    cancelled, over = threading.Event(), threading.Event()
    timers = [threading.Timer(0.3 * n, lambda: __import__("_thread").interrupt_main()) for n in (1, 2, 3)]
    for timer in timers:
        timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_cancellable(lambda: over.wait(60), cancelled)
    assert cancelled.is_set() and 0.8 < time.monotonic() - begin < 30
    over.set()


def test_workspace_leaves_room_on_small_boards() -> None:
    mib = 2**20
    assert workspace_bytes(EngineOptions(), Memory(2048 * mib, None)) == 512 * mib
    assert workspace_bytes(EngineOptions(), Memory(100 * mib, None)) == 64 * mib
    assert workspace_bytes(EngineOptions(), Memory(10**12, None)) == 4096 * mib
    assert workspace_bytes(EngineOptions(), Memory(10**12, 2048 * mib)) == 512 * mib, "of the GPU's own memory"
    assert workspace_bytes(EngineOptions(), None) == 1024 * mib
    assert workspace_bytes(EngineOptions(workspace_mib=77), Memory(1, None)) == 77 * mib


def test_a_version_compatible_engine_opens_once_built(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = installed(monkeypatch, "10.3.0")
    build("fp32", EngineOptions(version_compatible=True))
    assert calls(trt, "Runtime.engine_host_code_allowed") == [{"value": True}]
    build("fp32")
    assert len(calls(trt, "Runtime.engine_host_code_allowed")) == 1, "only where code was asked for"


def test_a_version_compatible_engine_brings_the_plugins_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    for operator, libraries in (("RoiAlign", [{"value": ["libnvinfer_vc_plugin.so"]}]), ("Relu", [])):
        trt = installed(monkeypatch, "10.16.1.11")
        model = convolution("fp32")
        # The double does not run it.
        model.graph.node.append(helper.make_node(operator, ["c"], ["pooled"], "pool"))
        build_plan(model.SerializeToString(), "fp32", HOST, EngineOptions(version_compatible=True))
        assert calls(trt, "IBuilderConfig.plugins_to_serialize") == libraries


def test_a_tensorrt_newer_than_the_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "10.16.1.11", Machine(no_cuda=True))
    with pytest.raises(RuntimeUnavailableError, match=r"cannot use the GPU: createInferBuilder.*update the driver"):
        build("fp32")


def test_what_failed_is_let_go_before_the_next_way(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = installed(monkeypatch, "10.3.0", Machine(strong_qdq_fails=True))
    builders: list[weakref.ref[Any]] = []
    alive: list[int] = []
    original = trt.Builder.__init__

    def watched(self: Any, *arguments: Any) -> None:
        alive.append(sum(reference() is not None for reference in builders))
        builders.append(weakref.ref(self))
        original(self, *arguments)

    monkeypatch.setattr(trt.Builder, "__init__", watched)
    # The list of calls would hold on to what was passed.
    monkeypatch.setattr(trt, "calls", collections.deque(maxlen=0))
    build("int8")
    assert alive == [0, 0]


def test_without_tensorrt_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(RuntimeUnavailableError, match="python3-libnvinfer"):
        build("fp32")


def test_an_inspector_without_details_is_no_proof() -> None:
    with pytest.raises(ExportError, match="names only"):
        read_precision('{"Layers": ["conv1", "conv2"]}')
    with pytest.raises(ExportError, match="unreadable"):
        read_precision("not JSON")
    require_precision(EnginePrecision({"fp16": 1, "fp32": 9}, {}, 0, 10), "fp16", {"fp16": 4})
    with pytest.raises(ExportError, match="9 in fp32"):
        require_precision(EnginePrecision({"int8": 1, "fp32": 9}, {"fp32": 9}, 0, 10), "int8", {"int8": 9})


@pytest.mark.parametrize(
    ("engine", "graph", "passes"),
    [
        ({"int8": 60, "fp32": 40}, {"int8": 100}, True),
        ({"int8": 1, "fp32": 99}, {"int8": 100}, False),
        ({"int8": 1, "fp32": 9}, {"int8": 10, "fp32": 90}, True),
        ({"int8": 0, "fp32": 9}, {"int8": 1, "fp32": 900}, False),
        ({"int8": 50, "fp32": 50, "other": 900}, {"int8": 100}, True),
    ],
)
def test_an_engine_has_as_many_layers_in_int8_as_its_graph_wants(
    engine: dict[str, int], graph: dict[str, int], passes: bool
) -> None:
    found = EnginePrecision(engine, engine, 0, sum(engine.values()))
    if passes:
        require_precision(found, "int8", graph)
    else:
        with pytest.raises(ExportError, match=r"(only 1%|not one layer) of the engine|not one layer of the engine"):
            require_precision(found, "int8", graph)


def test_a_fused_block_in_float_proves_nothing() -> None:
    """TensorRT makes one layer of many, and tells what goes in and comes out: uint8 pixels and float boxes."""

    def block(said: str) -> str:
        ends = {"Inputs": [{"Datatype": "UInt8"}, {"Datatype": said}], "Outputs": [{"Datatype": "Float"}]}
        return json.dumps({"Layers": [{"Name": "{ForeignNode[a...z]}", "LayerType": "Myelin", **ends}]})

    silent = read_precision(block("Float"))
    assert silent.decisive == {}
    require_precision(silent, "fp16", {"fp16": 20})
    assert read_precision(block("Half")).decisive == {"fp16": 1}


@pytest.mark.parametrize(
    ("said", "precision"),
    [
        ({"Format/Datatype": "Row major linear FP32"}, "fp32"),
        ({"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}, "fp16"),
        ({"Format/Datatype": "Four wide channel vectorized row major Int8 format"}, "int8"),
        ({"Format/Datatype": "Row major linear UInt8 format"}, "other"),
        ({"Datatype": "Half", "Format": "Row major linear"}, "fp16"),
        ({"DataType": "Int8"}, "int8"),
        ({"Datatype": "UInt8"}, "other"),
        ({"Datatype": "Float"}, "fp32"),
        ({"Datatype": "Bool"}, "other"),
        ({"Datatype": "BFloat16"}, "other"),
    ],
)
def test_the_inspectors_words_are_understood(said: dict[str, str], precision: str) -> None:
    layer = {"Name": "conv", "LayerType": "CaskConvolution", "Inputs": [{"Name": "x", **said}], "Outputs": []}
    found = read_precision(json.dumps({"Layers": [layer]}))
    assert found.weighted == {precision: 1}
    assert found.decisive == ({} if precision == "other" else {precision: 1})


def test_what_is_not_told_decides_nothing() -> None:
    def layer(name: str, kind: str, said: str) -> dict[str, object]:
        return {"Name": name, "LayerType": kind, "Inputs": [{"Datatype": said}] if said else [], "Outputs": []}

    layers = [layer("conv", "conv", ""), layer("add", "ElementWise", "Half"), layer("spread", "Broadcast", "Half")]
    found = read_precision(json.dumps({"Layers": layers}))
    assert found.weighted == {"other": 1} and found.decisive == {"fp16": 2} and found.kinds["spread"] == "fp16"
    require_precision(found, "fp16", {"fp16": 1})
    with pytest.raises(ExportError, match="2 in fp16"):
        require_precision(found, "int8", {"int8": 1})
    require_precision(read_precision(json.dumps({"Layers": layers[:1]})), "int8", {"int8": 1})


def test_weights_tell_the_precision_too() -> None:
    layer = {"Name": "conv", "LayerType": "conv", "Inputs": [{"Datatype": "Float"}], "Weights": {"Type": "Int8"}}
    assert read_precision(json.dumps({"Layers": [layer]})).weighted == {"int8": 1}

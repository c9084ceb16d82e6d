"""Lanes: in order, no more at a time than there are, and nothing runs on behind an error."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from threadpoolctl import threadpool_info

from edgedet import onnxruntime_import
from edgedet.calibration import executor as module
from edgedet.calibration.executor import Fusion, GraphRunner, in_lanes, one_blas_thread, open_session


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(lanes: int) -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(in_lanes(slow_at_first, range(7), lanes)) == [item * item for item in range(7)]


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_lanes(lambda item: item, items(), 2)
    next(results)
    assert len(taken) <= 4  # of pictures without end, only so many are held


def test_no_more_run_at_a_time_than_there_are_lanes() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def run(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return item

    list(in_lanes(run, range(12), 3))
    assert most == 3


def test_an_error_stops_the_rest() -> None:
    done = []

    def run(item: int) -> int:
        if item == 2:
            raise ValueError("the third")
        done.append(item)
        return item

    with pytest.raises(ValueError, match="the third"):
        list(in_lanes(run, range(1000), 2))
    assert len(done) < 10


def test_a_runner_gives_outputs_by_name(tiny: ModuleType) -> None:
    model = tiny.tiny_detector()
    runner = GraphRunner(model, threads=2)
    (frame,) = tiny.frames(1)
    outputs = runner(frame)
    assert set(outputs) == {output.name for output in model.graph.output}
    assert runner.lanes == 2


def test_a_graph_of_large_tensors_takes_one_frame_at_a_time(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LANE_BYTES", 1024)
    monkeypatch.setattr(module, "ALL_LANES_BYTES", 2048)
    assert GraphRunner(tiny.tiny_detector(), threads=2).lanes == 1


@pytest.mark.parametrize(("frames", "lanes"), [(1, 1), (2, 2), (3, 3), (5, 4)])
def test_so_many_frames_of_a_graph_of_large_tensors_as_memory_allows(
    frames: int, lanes: int, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = module.LARGEST_TENSORS * 4 * 32 * tiny.CELLS**2
    monkeypatch.setattr(module, "LANE_BYTES", 1024)
    monkeypatch.setattr(module, "ALL_LANES_BYTES", frames * needed + needed - 1)
    assert module.lanes_of(tiny.tiny_detector(), 4) == lanes


@pytest.mark.parametrize(("spare", "lanes"), [(0, 2), (-1, 1)])
def test_the_largest_tensors_decide_how_many_frames_are_run_at_a_time(
    spare: int, lanes: int, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From "widen" to "spread_relu" there are five of 32 channels.
    largest = 4 * 32 * tiny.CELLS**2
    monkeypatch.setattr(module, "LANE_BYTES", module.LARGEST_TENSORS * largest + spare)
    monkeypatch.setattr(module, "ALL_LANES_BYTES", 0)
    assert GraphRunner(tiny.tiny_detector(), threads=2).lanes == lanes


@pytest.mark.parametrize(("fusion", "product"), [("fused", "QLinearMatMul"), ("separate", "MatMul")])
def test_only_in_fused_graphs_integers_are_multiplied(
    fusion: Fusion, product: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = onnxruntime_import.session_options(1)
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    monkeypatch.setattr(onnxruntime_import, "session_options", lambda threads: options)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x/integers"]),
        helper.make_node("DequantizeLinear", ["x/integers", "scale", "zero"], ["x/near"]),
        helper.make_node("DequantizeLinear", ["w/integers", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["x/near", "w"], ["product"]),
        helper.make_node("QuantizeLinear", ["product", "scale", "zero"], ["y/integers"]),
        helper.make_node("DequantizeLinear", ["y/integers", "scale", "zero"], ["y"]),
    ]
    constants = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
        helper.make_tensor("zero", TensorProto.UINT8, [], [0]),
        helper.make_tensor("w/integers", TensorProto.UINT8, [4, 4], list(range(16))),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "one", ends[:1], ends[1:], constants)
    open_session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), fusion=fusion)
    run = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    assert [kind for kind in run if "MatMul" in kind] == [product]


def test_numpy_takes_one_thread_while_it_is_asked_to() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    with one_blas_thread():
        assert threads() <= {1}
    assert threads() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_a_graph_of_large_tensors_gives_its_memory_back_however_few_the_cores(
    threads: int, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bool] = []
    real = module.open_session

    def noted(*given: Any, frugal: bool, **more: Any) -> Any:
        opened.append(frugal)
        return real(*given, frugal=frugal, **more)

    monkeypatch.setattr(module, "open_session", noted)
    GraphRunner(tiny.tiny_detector(), threads=threads)
    monkeypatch.setattr(module, "FRUGAL_BYTES", 1024)
    GraphRunner(tiny.tiny_detector(), threads=threads)
    assert opened == [False, True]


def test_memory_is_given_back_before_every_frame_of_a_graph_of_large_tensors(
    tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.setattr(module, "return_free_memory", lambda: given.append("back"))
    for frame in tiny.frames(2):
        GraphRunner(tiny.tiny_detector(), threads=1)(frame)
    assert not given
    monkeypatch.setattr(module, "FRUGAL_BYTES", 1024)
    runner = GraphRunner(tiny.tiny_detector(), threads=1)
    for count, frame in enumerate(tiny.frames(2)):
        assert len(given) == count
        runner(frame)
    given.clear()
    name = tiny.tiny_detector().graph.input[0].name
    assert len(list(module.run_frames(tiny.tiny_detector(), [{name: frame}], 1))) == 1
    assert len(given) == 2, "and once the last frame has been run"


@pytest.mark.parametrize(("large", "as_written"), [(False, True), (True, False), (True, True)])
def test_large_tensors_that_are_looked_at_stay_as_they_are_laid_out(
    large: bool, as_written: bool, tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = onnxruntime_import.session_options(1)
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    monkeypatch.setattr(onnxruntime_import, "session_options", lambda threads: options)
    if large:
        monkeypatch.setattr(module, "FRUGAL_BYTES", 1024)
    GraphRunner(tiny.tiny_detector(), threads=1, as_written=as_written)
    kinds = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    assert "Conv" in kinds
    reordered = any(kind.startswith("Reorder") for kind in kinds)
    assert reordered is (_has_blocks(tiny, tmp_path) and not (large and as_written))


def _has_blocks(tiny: ModuleType, folder: Path) -> bool:
    """Whether ONNX Runtime has convolutions in blocks of channels for this CPU."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "blocks.onnx")
    onnxruntime.InferenceSession(tiny.tiny_detector().SerializeToString(), options)
    return any(node.op_type.startswith("Reorder") for node in onnx.load(folder / "blocks.onnx").graph.node)


def test_a_graph_is_let_go_as_soon_as_its_session_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are a copy of the network's, beside those that the session has."""

    class Graph:
        """In place of a message, to which there are no weak references."""

    class Runner:
        lanes, frugal = 1, False

        def __init__(self, model: Graph, **settings: Any) -> None:
            assert model is there()

        def with_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            assert there() is None
            return inputs

    monkeypatch.setattr(module, "GraphRunner", Runner)
    graphs: list[Any] = [Graph()]
    there = weakref.ref(graphs[0])
    results = list(module.run_frames(graphs.pop(), [{"x": 1}, {"x": 2}], 1))
    assert results == [{"x": 1}, {"x": 2}]

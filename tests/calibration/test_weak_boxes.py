"""Answers below the threshold, also where the graph itself drops them."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.judge import Reader
from edgedet.calibration.weak_boxes import LOWEST, STRONGEST, WeakReader, opened


def suppressing(threshold: float) -> onnx.ModelProto:
    """A graph that drops scores twice: by ThresholdedRelu, and inside NonMaxSuppression."""
    nodes = [
        helper.make_node("ThresholdedRelu", ["scores"], ["kept"], "threshold", alpha=threshold),
        helper.make_node("ThresholdedRelu", ["kept"], ["other"], "other", alpha=0.7),
        helper.make_node("NonMaxSuppression", ["boxes", "kept", "most", "iou", "least"], ["chosen"], "suppress"),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([10], np.int64), "most"),
        onnx.numpy_helper.from_array(np.array([0.5], np.float32), "iou"),
        onnx.numpy_helper.from_array(np.array([threshold], np.float32), "least"),
    ]
    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 2, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 2]),
    ]
    outputs = [
        helper.make_tensor_value_info("chosen", TensorProto.INT64, ["n", 3]),
        helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 1, 2]),
    ]
    graph = helper.make_graph(nodes, "suppressing", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def chosen(model: onnx.ModelProto) -> int:
    inputs = {
        "boxes": np.array([[[0, 0, 4, 4], [10, 10, 14, 14]]], np.float32),
        "scores": np.array([[[0.6, 0.1]]], np.float32),
    }
    found = GraphRunner(model, threads=1).with_inputs(inputs)
    assert not found["other"].any(), "another threshold of the graph stays"
    return len(found["chosen"])


def test_an_opened_graph_gives_what_is_below_its_threshold() -> None:
    closed = suppressing(0.3)
    before = closed.SerializeToString(deterministic=True)
    wide = opened(closed, 0.3)
    assert (chosen(closed), chosen(wide)) == (1, 2)
    assert closed.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(wide)


def test_a_graph_that_is_open_already_is_not_closed() -> None:
    low = suppressing(LOWEST / 10)
    assert opened(low, LOWEST / 10).graph.node[0].attribute[0].f == pytest.approx(LOWEST / 10)


def test_weak_answers_are_read_best_first(tiny: ModuleType) -> None:
    run, frames = GraphRunner(tiny.tiny_detector(), threads=1), tiny.frames(2)
    usual = list(Reader(tiny.card(), ["boxes", "scores"])(run, frames))
    weak = list(WeakReader(tiny.card(), ["boxes", "scores"])(run, frames))
    for ours, theirs in zip(usual, weak, strict=True):
        assert len(theirs) > len(ours) and theirs.scores.min() < 0.05
        assert (np.diff(theirs.scores) <= 0).all()


@pytest.mark.parametrize("count", [STRONGEST - 1, STRONGEST, STRONGEST + 1, 144])
def test_no_more_than_the_strongest_answers_are_read(count: int, tiny: ModuleType) -> None:
    card = replace(tiny.card(), output=replace(tiny.card().output, max_detections=300))
    # Boxes of two pixels that do not touch, each with a score of its own.
    corner = np.stack(np.meshgrid(np.arange(12), np.arange(12)), -1).reshape(-1, 2)[:count] * np.float32(2.5)
    boxes = np.concatenate([corner, corner + 2], axis=1).astype(np.float32)
    scores = np.zeros((count, 2), np.float32)
    scores[:, 1] = np.random.default_rng(0).permutation(count) / 200 + 0.01
    outputs = {"boxes": boxes[None], "scores": scores[None]}
    (found,) = WeakReader(card, ["boxes", "scores"])(lambda frame: outputs, tiny.frames(1))
    np.testing.assert_array_equal(found.scores, np.sort(scores[:, 1])[::-1][:STRONGEST])

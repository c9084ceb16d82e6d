"""Graphs written by hand: a network that is copied in computes what it computed."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgedet.onnx_graph.builder import GraphBuilder


def three_times_at_most_ten() -> onnx.ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "three"], ["product"]),
            helper.make_node("Clip", ["product", "", "ten"], ["y"]),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in (("three", 3), ("ten", 10))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_network_copied_in_twice_computes_twice() -> None:
    """Its tensors have names of their own each time, and inputs left out stay so."""
    graph = GraphBuilder("two")
    tensor = graph.input("x", "float32", [3])
    for _ in range(2):
        (tensor,) = graph.inline(three_times_at_most_ten(), {"x": tensor}, prefix="network")
    graph.output(tensor, "y", "float32", [3])
    model = graph.model()
    onnx.checker.check_model(model)
    (found,) = ReferenceEvaluator(model).run(None, {"x": np.array([-1, 1, 2], np.float32)})
    np.testing.assert_array_equal(found, [-9, 9, 10])

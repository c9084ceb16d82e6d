"""Inference knows every shape without a copy of the weights."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.onnx_graph import shape_inference
from edgedet.onnx_graph.shape_inference import inferred


def test_shapes_and_types_are_those_that_onnx_infers(tiny: ModuleType) -> None:
    model = tiny.tiny_detector()
    found = {value.name: value.type for value in inferred(model).value_info}
    expected = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    assert found == {value.name: value.type for value in expected} and found


def test_long_constants_are_inputs_and_short_ones_can_be_read() -> None:
    long = np.ones((shape_inference.LARGEST_READ + 1,), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["long", "x"], ["product"]),
            helper.make_node("Reshape", ["product", "shape"], ["y"]),
        ],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(long, "long"), numpy_helper.from_array(np.array([-1, 1]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = inferred(model)
    assert [tensor.name for tensor in found.initializer] == ["shape"]
    assert [dim.dim_value for dim in found.output[0].type.tensor_type.shape.dim] == [len(long), 1]
    assert [tensor.name for tensor in model.graph.initializer] == ["long", "shape"]

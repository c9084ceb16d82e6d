"""Layers of ncnn's are written where something has to be done, and only there."""

from __future__ import annotations

from onnx import TensorProto, helper

from edgedet.export.ncnn.conversion_state import Blob, Conversion
from edgedet.onnx_graph.network import Network


def test_only_other_axes_cost_a_layer() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", [value], [])
    conversion = Conversion(Network(helper.make_model(graph)))
    blob = Blob("x", (2, 6))
    assert conversion.reshaped(blob, [2, 6]) is blob
    assert not conversion.layers
    assert conversion.reshaped(blob, [3, 4]).shape == (3, 4)
    assert [(layer.kind, layer.inputs) for layer in conversion.layers] == [("Reshape", ["x"])]

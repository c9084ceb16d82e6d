"""INT8 for TensorRT: the graph parses everywhere, and what is not int8 is fp16, not fp32."""

from __future__ import annotations

import onnx
import pytest

from edgedet.calibration.fp16 import to_half
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.export.engines.operators import check_operators
from edgedet.export.selftest_graph import selftest_graph
from edgedet.proof.golden_scene import golden_frame


@pytest.fixture(scope="module")
def quantised() -> onnx.ModelProto:
    model, card = selftest_graph()
    frames = [golden_frame(seed, 64, 64)[None] for seed in range(8)]
    options = QuantiseOptions(target="tensorrt", max_drop=1.0, over_budget="keep_best", threads=1)
    return quantise(model, card, frames, options=options).model


def test_quantised_graphs_parse_everywhere(quantised: onnx.ModelProto) -> None:
    assert any(node.op_type == "QuantizeLinear" for node in quantised.graph.node)
    assert check_operators(quantised) == []


def test_the_float_remainder_of_a_quantised_graph_becomes_fp16(quantised: onnx.ModelProto) -> None:
    """A strongly typed engine would run it in fp32 otherwise, slower than fp16 throughout."""
    half = to_half(quantised)
    assert check_operators(half.model) == []
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(half.model, data_prop=True).graph.value_info
    }
    convolutions = [node for node in half.model.graph.node if node.op_type == "Conv"]
    assert [types[node.output[0]] for node in convolutions] == [onnx.TensorProto.FLOAT16] * 2
    outputs = {value.name: value.type.tensor_type.elem_type for value in half.model.graph.output}
    assert set(outputs.values()) == {onnx.TensorProto.FLOAT}

"""Pairs of the TensorRT dialect, for whatever the guard leaves in INT8."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration import tensorrt_rules
from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.fitting import Fit, fit
from edgedet.calibration.qdq import Writer
from edgedet.calibration.tensorrt import TensorRT
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare


@pytest.fixture(scope="module")
def residual_block() -> Network:
    """Two convolutions in front of one Add, as in a block of a ResNet that halves the size, and one behind."""
    rng = np.random.default_rng(0)

    def convolution(name: str, source: str, inputs: int, outputs: int, stride: int) -> onnx.NodeProto:
        weight = rng.normal(0, 0.3, (outputs, inputs, 1, 1)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"{name}_weight"))
        return helper.make_node("Conv", [source, f"{name}_weight"], [f"{name}_out"], name, strides=[stride, stride])

    weights: list[TensorProto] = []
    nodes = [
        convolution("narrow", "image", 8, 8, 2),
        helper.make_node("Relu", ["narrow_out"], ["relu_out"], "relu"),
        convolution("wide", "relu_out", 8, 16, 1),
        convolution("shortcut", "image", 8, 16, 2),
        helper.make_node("Add", ["wide_out", "shortcut_out"], ["sum"], "add"),
        convolution("last", "sum", 16, 8, 1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 8, 16, 16])
    output = helper.make_tensor_value_info("last_out", TensorProto.FLOAT, [1, 8, 8, 8])
    graph = helper.make_graph(nodes, "block", [image], [output], weights)
    return prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [np.random.default_rng(seed).random((1, 8, 16, 16), np.float32) for seed in range(4)]


@pytest.fixture(scope="module")
def fitted(residual_block: Network, frames: list[np.ndarray]) -> Fit:
    dialect = TensorRT("all")
    layers = residual_block.layers()
    units, _ = dialect.units(residual_block, layers)
    tensors = dialect.tensors(residual_block, units)
    return fit(residual_block, frames, layers, tensors=tensors, kind=dialect.kind, weight_bits=8)


@pytest.mark.parametrize("count", range(5))
def test_any_units_can_be_int8_without_the_others(
    residual_block: Network, fitted: Fit, frames: list[np.ndarray], count: int
) -> None:
    dialect = TensorRT("all")
    units, left = dialect.units(residual_block, residual_block.layers())
    assert not left
    exact = GraphRunner(residual_block.model)(frames[0])["last_out"]
    for some in combinations(units, count):
        model = dialect.place(residual_block, fitted, some, Writer(residual_block.copy())).model
        onnx.checker.check_model(model, full_check=True)
        assert tensorrt_rules.violations(model) == []
        found = GraphRunner(model, fusion="separate")(frames[0])["last_out"]
        assert np.abs(found - exact).mean() < 0.05 * np.abs(exact).mean()

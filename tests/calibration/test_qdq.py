"""Pairs as they are written: one per tensor, with the grid's own numbers."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import pytest

from edgedet.calibration.executor import open_session
from edgedet.calibration.fitting import FittedLayer
from edgedet.calibration.qdq import Writer
from edgedet.calibration.quantisation_grid import Grid, along, weight_scales
from edgedet.calibration.rounding import nearest
from edgedet.onnx_graph.network import Layer, Network
from edgedet.onnx_graph.preparing import prepare


@pytest.fixture
def network(tiny: ModuleType) -> Network:
    return prepare(tiny.tiny_detector())


def fitted(network: Network, layer: Layer) -> FittedLayer:
    """Nearest weights, and a bias shift that can be told from none."""
    weight = network.constant(layer.weight)
    scales = weight_scales(weight, 0)
    integers = nearest(weight.reshape(len(weight), -1), scales).reshape(weight.shape)
    return FittedLayer(integers, scales, np.linspace(0.5, 1, len(scales), dtype=np.float32), 0.0, "nearest")


def layer_of(network: Network, name: str) -> Layer:
    return next(layer for layer in network.layers() if layer.name == name)


@pytest.mark.parametrize("grid", [Grid("s8", 0.125), Grid("u8", 0.25, 31)])
def test_a_pair_holds_the_grids_numbers_as_scalars_of_its_type(network: Network, grid: Grid) -> None:
    writer = Writer(network)
    assert writer.activation("stem_out", grid) == "stem_out_dq"
    network.nodes["stem_silu_gate"].input[0] = "stem_out_dq"
    writer.finish()
    scale, zero = network.constant("stem_out_scale"), network.constant("stem_out_zero_point")
    assert (float(scale), int(zero), scale.shape, zero.shape) == (grid.scale, grid.zero_point, (), ())
    assert zero.dtype == (np.int8 if grid.kind == "s8" else np.uint8)
    assert network.producer["stem_out_dq"].op_type == "DequantizeLinear"
    assert network.producer["stem_out_q"].input[0] == "stem_out"


def test_a_tensor_gets_one_pair_however_many_ask(network: Network) -> None:
    writer = Writer(network)
    names = {writer.activation("stem_silu_out", Grid("s8", 0.1)) for _ in range(2)}
    assert len(names) == 1 and len(writer.new_nodes) == 2


def test_the_restored_weights_are_the_integers_at_their_channels_scales(network: Network, tiny: ModuleType) -> None:
    layer = layer_of(network, "widen")
    one = fitted(network, layer)
    bias = network.constant(layer.bias or "")
    writer = Writer(network.copy())
    writer.weights(layer, one)
    result = writer.finish()
    result.model.graph.output.append(onnx.helper.make_tensor_value_info("widen/weight_dq", 1, None))
    restored = open_session(result.model).run(["widen/weight_dq"], {"images": tiny.frames(1)[0]})[0]
    np.testing.assert_array_equal(restored, one.weight * along(0, one.scales, 4))
    # The bias stays float, with what rounding shifts put right; the float weights are gone.
    np.testing.assert_array_equal(result.constant(result.nodes["widen"].input[2]), bias + one.bias_shift)
    assert layer.weight not in result.constants


def test_an_integer_bias_lies_at_the_accumulators_scale(network: Network) -> None:
    layer = layer_of(network, "widen")
    one = fitted(network, layer)
    wanted = network.constant(layer.bias or "") + one.bias_shift
    writer = Writer(network)
    writer.weights(layer, one, integer_bias_at=0.05)
    result = writer.finish()
    integers, steps = result.constant("widen/bias_q"), result.constant("widen/bias_scale")
    assert integers.dtype == np.int32
    np.testing.assert_array_equal(steps, one.scales * np.float32(0.05))
    assert (np.abs(integers * steps.astype(np.float64) - wanted) <= steps * 0.501).all()


def test_weights_of_matrix_products_are_scaled_along_their_own_axis() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "product",
        [helper.make_tensor_value_info("x", 1, [2, 4])],
        [helper.make_tensor_value_info("y", 1, [2, 3])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    network = prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    (layer,) = network.layers()
    scales = weight_scales(weight, 1)
    integers = nearest(weight.T, scales).T
    writer = Writer(network)
    writer.weights(layer, FittedLayer(integers, scales, np.ones(3, np.float32), 0.0, "nearest"))
    result = writer.finish()
    assert len(result.nodes["product"].input) == 2  # a MatMul has no bias to correct
    x = np.eye(4, dtype=np.float32)[:2]
    answer = open_session(result.model).run(None, {"x": x})[0]
    np.testing.assert_allclose(answer, x @ (integers * scales), atol=1e-6)

"""Every layer is fitted by what it does to its own output: ranges, weights, bias, and what cannot be sampled."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration.activation_samples import Patches, collect, weight_matrix
from edgedet.calibration.fitting import (
    SEARCH_CHANNELS,
    Fit,
    best_by_tensor,
    fit,
    fit_layer,
    following_function,
    mixed,
    rough_fit,
)
from edgedet.calibration.observe import observe
from edgedet.calibration.quantisation_grid import Grid, grid_for
from edgedet.calibration.ranges import squared_error
from edgedet.onnx_graph.network import Layer, Network
from edgedet.onnx_graph.preparing import prepare


@pytest.fixture
def network(tiny: ModuleType) -> Network:
    return prepare(tiny.tiny_detector())


def fitted(network: Network, frames: list[np.ndarray], *tensors: str) -> Fit:
    return fit(network, frames, network.layers(), tensors=tensors, kind="s8")


def test_every_layer_its_input_and_the_tensors_asked_for_are_fitted(network: Network, tiny: ModuleType) -> None:
    found = fitted(network, tiny.frames(4), "residual_out")
    assert set(found.layers) == {"stem", "widen", "spread", "narrow", "head"}
    assert set(found.grids) == {layer.input for layer in network.layers()} | {"residual_out"}
    assert set(found.methods) == set(found.grids)


def test_layers_in_int8_compute_nearly_what_they_did(network: Network, tiny: ModuleType) -> None:
    found = fitted(network, tiny.frames(8))
    assert all(0 < one.error < 0.01 for one in found.layers.values())
    assert found.layers["spread"].rounding == "nearest"  # depthwise: too few weights to make up for each other


def test_the_bias_puts_right_what_rounding_shifts(network: Network, tiny: ModuleType) -> None:
    layer = next(one for one in network.layers() if one.name == "widen")
    (patches,) = collect(network, tiny.frames(4), [layer])
    grid = Grid("s8", 0.2)  # coarse, so that there is a shift to see
    found = fit_layer(network, layer, patches["widen"], grid, 8)
    matrix = weight_matrix(layer, network.constant(layer.weight))
    integers = found.weight.reshape(matrix.shape) * found.scales[None, :, None]
    exact = patches["widen"].outputs(matrix)
    rounded = Patches(grid.round(patches["widen"].rows)).outputs(integers)
    power = (patches["widen"].rows[0] ** 2).sum(axis=1)
    left = np.average((rounded + found.bias_shift - exact)[0], axis=0, weights=power)
    assert np.abs(found.bias_shift).max() > 0.01
    np.testing.assert_allclose(left, 0, atol=1e-4)


def product(weight: np.ndarray) -> tuple[Network, Layer]:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, len(weight)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    network = prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    return network, network.layers()[0]


def test_learned_weights_are_kept_only_where_they_pay_on_other_positions() -> None:
    # Two halves with nothing in common: what is learned on the first is worthless on the second.
    rng = np.random.default_rng(0)
    rows = np.zeros((1, 512, 32), np.float32)
    rows[0, :256, :16], rows[0, 256:, 16:] = rng.normal(size=(256, 16)), rng.normal(size=(256, 16))
    rows[0, :256, :16] += 4 * rng.normal(size=(256, 1))
    network, layer = product(rng.normal(size=(32, 8)).astype(np.float32))
    assert fit_layer(network, layer, Patches(rows), Grid("s8", 1e-4), 4).rounding == "nearest"
    alike = np.tile(rows[:, :256], (1, 2, 1))
    assert fit_layer(network, layer, Patches(alike), Grid("s8", 0.1), 4).rounding == "learned"


def test_a_layer_of_zeros_has_no_error() -> None:
    """The offsets of deformable attention begin so, and a guard that gives back the worst would begin with them."""
    network, layer = product(np.zeros((8, 4), np.float32))
    rows = np.random.default_rng(0).normal(size=(1, 64, 8)).astype(np.float32)
    assert fit_layer(network, layer, Patches(rows), Grid("s8", 0.1), 8).error == 0


def test_a_range_is_judged_through_the_function_that_reads_it(network: Network, tiny: ModuleType) -> None:
    # stem_out is read by SiLU alone, which flattens its negative side.
    silu = following_function(network, "stem_out")
    assert silu is not None
    x = np.array([-4.0, 0.0, 2.0], np.float32)
    np.testing.assert_allclose(silu(x), x / (1 + np.exp(-x)), rtol=1e-6)
    # The stem's SiLU is read by a convolution and an Add: no function that is flat anywhere.
    assert following_function(network, "stem_silu_out") is None


def test_a_gate_on_something_else_is_no_function_of_the_tensor(network: Network) -> None:
    # stem_out is still read by a Sigmoid and a Mul, but by a Mul with another factor.
    product = network.nodes["stem_silu"]
    del product.input[:]
    product.input.extend(["stem_out", "one_255th"])
    network.refresh()
    assert following_function(network, "stem_out") is None


def test_an_activation_read_by_two_gates_is_judged_by_itself(network: Network) -> None:
    network.graph.node.append(helper.make_node("Sigmoid", ["stem_out"], ["other_gate"], "other_gate"))
    network.refresh()
    assert following_function(network, "stem_out") is None


def test_of_the_candidate_ranges_the_one_with_the_least_error_wins(network: Network, tiny: ModuleType) -> None:
    seen = observe(network, tiny.frames(4), ["stem_out"])["stem_out"]
    _, best = best_by_tensor(seen, "s8")
    extremes = grid_for("s8", seen.low, seen.high)
    assert squared_error(seen, best) <= squared_error(seen, extremes)


def test_a_rough_fit_is_extremes_and_nearest_weights(network: Network, tiny: ModuleType) -> None:
    frame = tiny.frames(1)[0]
    layers = network.layers()
    found = rough_fit(network, frame, layers, ["residual_out"], kind="u8", weight_bits=7)
    seen = observe(network, [frame], ["residual_out"])["residual_out"]
    assert found.grids["residual_out"] == grid_for("u8", seen.low, seen.high)
    assert all(np.abs(one.weight.astype(int)).max() <= 63 for one in found.layers.values())
    assert {one.rounding for one in found.layers.values()} == {"nearest"}
    assert set(found.grids) == {"residual_out", *(layer.input for layer in layers)}


def test_biases_make_up_for_the_error_where_inputs_are_strong(network: Network) -> None:
    """Background is where most positions are, and where nothing is found."""
    layer = next(layer for layer in network.layers() if layer.name == "narrow")
    grid = Grid("s8", 1.0)
    rows = np.full((1, 400, 32), 0.4, np.float32)
    rows[0, ::10] = 60.0
    patches = Patches(rows)
    fitted = fit_layer(network, layer, patches, grid, 8)
    exact = patches.outputs(weight_matrix(layer, network.constant(layer.weight)))[0]
    integers = weight_matrix(layer, fitted.weight.astype(np.float32)) * fitted.scales[None, :, None]
    left = np.abs(exact - Patches(grid.round(rows)).outputs(integers)[0] - fitted.bias_shift).mean(axis=1)
    assert left[::10].mean() < 0.05 * left[1::10].mean()


def test_mixtures_of_many_channels_err_as_much_as_all_of_them_do() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(2, 400, 30)).astype(np.float32) * rng.uniform(0.1, 3, size=(2, 400, 1))
    patches = Patches(rng.normal(size=(2, 500, 30)).astype(np.float32))
    some = mixed(matrix)
    assert some.shape == (2, SEARCH_CHANNELS, 30)
    # Of two ranges the better one is so by the same factor.
    errors = [Patches(grid.round(patches.rows) - patches.rows) for grid in (Grid("s8", 0.02), Grid("s8", 0.05))]
    shares = [np.square(errors[0].outputs(m)).sum() / np.square(errors[1].outputs(m)).sum() for m in (matrix, some)]
    assert shares[1] == pytest.approx(shares[0], rel=0.1)
    assert np.square(errors[0].outputs(some)).sum() == pytest.approx(
        np.square(errors[0].outputs(matrix)).sum(), rel=0.2
    )
    few = matrix[:, :SEARCH_CHANNELS]
    assert mixed(few) is few or np.array_equal(mixed(few), few)

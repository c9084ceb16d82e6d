"""Patches times weights are exactly what the layer computes, at every stride, dilation, padding and grouping."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration import activation_samples as module
from edgedet.calibration.activation_samples import collect, from_matrix, sampled, weight_matrix
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare


def graph(kind: str, weight: np.ndarray, size: tuple[int, ...], **settings: Any) -> Network:
    """One layer without bias over ``size``."""
    node = helper.make_node(kind, ["x", "w"], ["y"], "layer", **settings)
    model = helper.make_model(
        helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(weight.astype(np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return prepare(onnx.shape_inference.infer_shapes(model))


def frames(size: tuple[int, ...], count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=size).astype(np.float32) for _ in range(count)]


def answers(network: Network, given: list[np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(network.model.SerializeToString())
    return [np.asarray(session.run(None, {"x": frame})[0]) for frame in given]


def found_outputs(network: Network, given: list[np.ndarray]) -> np.ndarray:
    """What patches give: [positions, output channels]."""
    (layer,) = network.layers()
    (taken,) = collect(network, given, [layer])
    outputs = taken["layer"].outputs(weight_matrix(layer, network.constant("w")))
    return outputs.transpose(1, 0, 2).reshape(outputs.shape[1], -1)


SIZE = (1, 4, 11, 8)
CONVOLUTIONS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((6, 4, 3, 3), {}),
    "uneven padding": ((6, 4, 3, 3), {"pads": [2, 0, 1, 2]}),
    "uneven strides": ((6, 4, 3, 3), {"strides": [1, 3], "pads": [1, 1, 1, 1]}),
    "uneven dilation": ((6, 4, 3, 2), {"dilations": [2, 3], "pads": [2, 1, 2, 1]}),
    "groups": ((6, 2, 3, 3), {"group": 2}),
    "depthwise": ((4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "same upper": ((6, 4, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": ((6, 4, 2, 4), {"auto_pad": "SAME_LOWER", "strides": [1, 3]}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_every_sampled_output_is_one_the_convolution_gives_and_all_places_are_met(case: str) -> None:
    shape, settings = CONVOLUTIONS[case]
    network, given = graph("Conv", np.random.default_rng(1).normal(size=shape), SIZE, **settings), frames(SIZE)
    found = found_outputs(network, given)
    real = np.concatenate([y.transpose(0, 2, 3, 1).reshape(-1, shape[0]) for y in answers(network, given)])
    distance = np.abs(found[:, None] - real[None]).max(axis=2)
    assert distance.min(axis=1).max() < 1e-4
    assert len(set(distance.argmin(axis=1))) == len(real)


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [("MatMul", (5, 7), {}), ("Gemm", (5, 7), {}), ("Gemm", (7, 5), {"transB": 1})],
)
def test_matrix_products_are_sampled_by_row(kind: str, shape: tuple[int, ...], settings: dict[str, int]) -> None:
    network, given = graph(kind, np.random.default_rng(1).normal(size=shape), (9, 5), **settings), frames((9, 5))
    found, real = found_outputs(network, given), np.concatenate(answers(network, given))
    assert np.abs(found[:, None] - real[None]).max(axis=2).min(axis=1).max() < 1e-4


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [("Conv", (6, 2, 3, 3), {"group": 2}), ("MatMul", (4, 7), {}), ("Gemm", (7, 4), {"transB": 1})],
)
def test_a_weight_matrix_finds_its_way_back(kind: str, shape: tuple[int, ...], settings: dict[str, int]) -> None:
    weight = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    (layer,) = graph(kind, weight, (1, 4, 8, 8) if kind == "Conv" else (2, 4), **settings).layers()
    np.testing.assert_array_equal(from_matrix(layer, weight_matrix(layer, weight), shape), weight)


def test_transposed_convolutions_are_left_out() -> None:
    network = graph("ConvTranspose", np.ones((4, 6, 2, 2)), SIZE, strides=[2, 2])
    (layer,) = network.layers()
    assert not sampled(layer)
    assert list(collect(network, frames(SIZE), [layer])) == []


def test_any_leading_part_of_the_rows_comes_from_all_frames() -> None:
    network = graph("Conv", np.ones((1, 4, 1, 1)), SIZE)
    given = [np.full(SIZE, value, np.float32) for value in range(4)]
    (taken,) = collect(network, given, network.layers())
    rows = taken["layer"].rows
    assert rows.shape == (1, module.ROWS, 4)
    assert set(rows[0, :64, 0]) == {0, 1, 2, 3}


def test_of_a_layer_of_many_weights_fewer_positions_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    network = graph("Conv", np.ones((6, 4, 3, 3)), SIZE)
    monkeypatch.setattr(module, "MIN_ROWS_PER_LAYER", 12)
    monkeypatch.setattr(module, "PRODUCT", 6 * 4 * 9 * 40)
    (taken,) = collect(network, frames(SIZE), network.layers())
    assert taken["layer"].rows.shape == (1, 40, 36)
    monkeypatch.setattr(module, "PRODUCT", 1)
    (taken,) = collect(network, frames(SIZE), network.layers())
    assert taken["layer"].rows.shape == (1, 12, 36)


def test_the_same_frames_give_the_same_patches() -> None:
    network = graph("Conv", np.ones((1, 4, 3, 3)), SIZE)
    (first,), (second,) = (list(collect(network, frames(SIZE), network.layers())) for _ in range(2))
    np.testing.assert_array_equal(first["layer"].rows, second["layer"].rows)


def test_only_so_many_layers_are_held_at_a_time(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = prepare(tiny.tiny_detector())
    layers = network.layers()
    assert len(list(collect(network, tiny.frames(2), layers))) == 1
    monkeypatch.setattr(module, "PATCH_BYTES", 1)
    pieces = list(collect(network, tiny.frames(2), layers))
    assert [list(piece) for piece in pieces] == [[layer.name] for layer in layers]

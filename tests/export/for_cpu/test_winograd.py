"""Convolutions by minimal filtering: the same numbers, only where they pay, and back again."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.export.for_cpu import minimal_filtering
from edgedet.export.for_cpu.winograd import add_winograd, remove_winograd

CHANNELS = 128


def network(
    *maps: tuple[int, ...],
    filters: int = CHANNELS,
    kernel: int = 3,
    bias: bool = True,
    chained: bool = False,
    relu: bool = False,
    **attributes: object,
) -> onnx.ModelProto:
    """One kernel over every map [N, C, H, W], with ``relu`` a ReLU behind it; ``chained``: over what it made of the
    map before instead."""
    generator = np.random.default_rng(3)
    settings = {"pads": [kernel // 2] * 4, "kernel_shape": [kernel, kernel]} | attributes
    shape = (filters, maps[0][1] // int(settings.get("group", 1)), kernel, kernel)  # type: ignore[call-overload]
    constants = [
        numpy_helper.from_array(generator.normal(0, 0.05, shape).astype(np.float32), "weight"),
        numpy_helper.from_array(generator.normal(0, 1, filters).astype(np.float32), "bias"),
    ][: 1 + bias]
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, maps[0])]
    nodes, outputs = [], []
    for number, size in enumerate(maps):
        source = f"y{number - 1}" if chained and number else f"x{number}"
        if source == f"x{number}" and number:
            inputs.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, size))
        names = [source, *(tensor.name for tensor in constants)]
        output = f"z{number}" if relu else f"y{number}"
        nodes.append(helper.make_node("Conv", names, [output], name=f"conv{number}", **settings))
        if relu:
            nodes.append(helper.make_node("Relu", [output], [f"y{number}"], name=f"relu{number}"))
        outputs.append(helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, [None] * 4))
    graph = helper.make_graph(nodes, "convolutions", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    generator = np.random.default_rng(4)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {each.name: generator.normal(size=each.shape).astype(np.float32) for each in session.get_inputs()}
    outputs: list[np.ndarray] = session.run(None, feeds)
    return outputs


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


CASES = {
    "even": network((1, CHANNELS, 10, 18)),
    "odd": network((1, CHANNELS, 11, 17)),
    "batch": network((3, CHANNELS, 7, 6)),
    "more filters": network((1, CHANNELS, 12, 12), filters=144),
    "fewer filters": network((1, 160, 12, 12), filters=CHANNELS),
    "no bias": network((1, CHANNELS, 10, 18), bias=False),
    "over levels": network((1, CHANNELS, 10, 18), (1, CHANNELS, 5, 9), (1, CHANNELS, 3, 5)),
    "over its own": network((1, CHANNELS, 10, 18), (1, CHANNELS, 10, 18), chained=True),
    "relu": network((1, CHANNELS, 10, 18), (1, CHANNELS, 5, 9), relu=True),
    "relu over its own": network((1, CHANNELS, 10, 18), (1, CHANNELS, 10, 18), chained=True, relu=True),
}


@pytest.mark.parametrize("case", CASES)
def test_same_numbers_there_and_back(case: str) -> None:
    model = onnx.ModelProto.FromString(CASES[case].SerializeToString())
    expected = run(model)
    add_winograd(model)
    assert "Conv" not in kinds(model)
    onnx.checker.check_model(model, full_check=True)
    for before, after in zip(expected, run(model), strict=True):
        np.testing.assert_allclose(after, before, atol=2e-5 * np.abs(before).max(), rtol=0)
    remove_winograd(model)
    assert kinds(model) == kinds(CASES[case])
    assert [node.name for node in model.graph.node] == [node.name for node in CASES[case].graph.node]
    for before, after in zip(expected, run(model), strict=True):
        np.testing.assert_allclose(after, before, atol=2e-5 * np.abs(before).max(), rtol=0)


def test_a_relu_comes_before_the_transposition_unless_somebody_reads_what_it_reads() -> None:
    model = onnx.ModelProto.FromString(CASES["relu"].SerializeToString())
    assert kinds(add_winograd(model))[-2:] == ["Relu", "Transpose"]
    model = onnx.ModelProto.FromString(CASES["relu"].SerializeToString())
    model.graph.output.append(helper.make_tensor_value_info("z0", TensorProto.FLOAT, [None] * 4))
    expected = run(model)
    assert kinds(add_winograd(model)).count("Relu") == 2
    for before, after in zip(expected, run(model), strict=True):
        np.testing.assert_allclose(after, before, atol=2e-5 * np.abs(before).max(), rtol=0)
    assert run(model)[-1].min() < 0


def test_levels_that_share_weights_share_the_product() -> None:
    model = onnx.ModelProto.FromString(CASES["over levels"].SerializeToString())
    add_winograd(model)
    products = [node for node in model.graph.node if node.name.endswith("/winograd/product")]
    assert len(products) == 1


@pytest.mark.parametrize(
    "model",
    [
        network((1, 64, 10, 18), filters=CHANNELS),
        network((1, CHANNELS, 6, 6)),
        network((1, CHANNELS, 10, 18), strides=[2, 2]),
        network((1, CHANNELS, 10, 18), group=2),
        network((1, CHANNELS, 10, 18), dilations=[2, 2], pads=[2, 2, 2, 2]),
        network((1, CHANNELS, 10, 18), pads=[0, 0, 0, 0]),
        network((1, CHANNELS, 10, 18), kernel=1),
        network((1, 256, 100, 100), filters=256),
    ],
    ids=["few channels", "few tiles", "stride", "group", "dilation", "no padding", "1 x 1", "many tiles"],
)
def test_others_stay_convolutions(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    assert kinds(add_winograd(model)) == ["Conv"]
    assert onnx.ModelProto.FromString(before).graph.initializer == model.graph.initializer


@pytest.mark.parametrize(
    "by", [minimal_filtering.TWO, minimal_filtering.FOUR, minimal_filtering.FIVE], ids=["two", "four", "five"]
)
def test_transforms_are_those_of_the_minimal_filter(by: minimal_filtering.MinimalFilter) -> None:
    """A 1-D F(m, 3): m outputs of a three-tap filter from m + 2 inputs and as many products."""
    inputs, taps = np.array([1.0, -2.0, 3.0, 5.0, 0.5, -4.0, 1.5])[: by.places], np.array([0.5, 4.0, -1.0])
    products = (by.inputs @ inputs) * (by.weights @ taps)
    expected = [inputs[first : first + 3] @ taps for first in range(by.step)]
    np.testing.assert_allclose(by.outputs @ products, expected, atol=1e-12)

"""Box distributions, decoded with fewer steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.export.for_cpu.dfl import shorten_distributions

BINS, PLACES = 5, 7


def decoding(
    *,
    perm: tuple[int, ...] = (0, 2, 1, 3),
    axis: int = 1,
    bias: bool = False,
    read_twice: bool = False,
    numbers: np.ndarray[Any, Any] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """What Ultralytics exports: [1, 4 * bins, A] to distances [1, 4, A]."""
    numbers = np.arange(BINS, dtype=np.float32) if numbers is None else numbers
    constants = [
        numpy_helper.from_array(np.array([1, 4, BINS, PLACES]), "by_side"),
        numpy_helper.from_array(numbers.reshape(1, -1, 1, 1), "numbers"),
        numpy_helper.from_array(np.array([1, 4, PLACES]), "flat"),
        numpy_helper.from_array(np.zeros(1, np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "by_side"], ["sides"]),
        helper.make_node("Transpose", ["sides"], ["bins_first"], perm=perm),
        helper.make_node("Softmax", ["bins_first"], ["shares"], axis=axis),
        helper.make_node("Conv", ["shares", "numbers", *["bias"] * bias], ["mean"], name="dfl/conv", **attributes),
        helper.make_node("Identity" if attributes else "Reshape", ["mean", "flat"][: 2 - bool(attributes)], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    if read_twice:
        nodes.append(helper.make_node("ReduceMax", ["shares"], ["surest"], axes=[1], keepdims=0))
        outputs.append(helper.make_tensor_value_info("surest", TensorProto.FLOAT, [1, 4, PLACES]))
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4 * BINS, PLACES])]
    graph = helper.make_graph(nodes, "dfl", given, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def distances(model: onnx.ModelProto, x: np.ndarray[Any, Any]) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4], ids=["soft", "sharp", "beyond the range of exp"])
def test_the_mean_stays_the_mean(spread: float) -> None:
    x = np.random.default_rng(0).normal(0, spread, (1, 4 * BINS, PLACES)).astype(np.float32)
    uneven = np.array([0, 1, 2, 5, -3], np.float32)
    for numbers in (None, uneven):
        expected = distances(decoding(numbers=numbers), x)
        shorter = shorten_distributions(decoding(numbers=numbers))
        onnx.checker.check_model(shorter, full_check=True)
        assert "Softmax" not in {node.op_type for node in shorter.graph.node}
        np.testing.assert_allclose(distances(shorter, x), expected, atol=1e-5)


def test_every_shape_stays_known() -> None:
    shorter = shorten_distributions(decoding())
    known = {value.name for value in (*shorter.graph.value_info, *shorter.graph.output)}
    assert {name for node in shorter.graph.node for name in node.output} <= known
    (mean,) = (value for value in shorter.graph.value_info if value.name == "mean")
    assert [size.dim_value for size in mean.type.tensor_type.shape.dim] == [1, 1, 4, PLACES], "the convolution's"
    constants = {tensor.name for tensor in shorter.graph.initializer}
    assert constants <= {name for node in shorter.graph.node for name in node.input}, "nothing unread is kept"


@pytest.mark.parametrize(
    "other",
    [
        {"axis": 2},
        {"perm": (0, 2, 3, 1)},
        {"bias": True},
        {"read_twice": True},
        {"strides": [1, 2]},
        {"pads": [0, 0, 0, 1]},
    ],
    ids=["softmax over sides", "other order", "biased", "shares are read elsewhere", "strided", "padded"],
)
def test_what_only_looks_alike_is_left_alone(other: dict[str, Any]) -> None:
    model = decoding(**other)
    before = model.SerializeToString()
    assert shorten_distributions(model).SerializeToString() == before

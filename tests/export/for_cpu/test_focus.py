"""A convolution of four slices as one of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.export.for_cpu.focus import convolve_picture

CHANNELS, HEIGHT, WIDTH, OUTPUTS = 3, 8, 12, 5
PLACES = ((0, 0), (1, 0), (0, 1), (1, 1))
"""As YOLOX joins them: the rows first."""


def focus(
    places: tuple[tuple[int, int], ...] = PLACES, *, height: int = HEIGHT, step: int = 2, end: int = 2**62,
    gives: str = "", **settings: Any,
) -> onnx.ModelProto:  # fmt: skip
    """Rows are sliced first, as PyTorch writes ``x[..., ::2, ::2]``."""
    numbers = {"0": 0, "1": 1, "step": step, "end": end, "rows": 2, "columns": 3}
    constants = [numpy_helper.from_array(np.array([value]), name) for name, value in numbers.items()]
    weight = np.random.default_rng(0).normal(size=(OUTPUTS, CHANNELS * len(places), 3, 3)).astype(np.float32)
    constants.append(numpy_helper.from_array(weight, "weight"))
    constants.append(numpy_helper.from_array(np.arange(OUTPUTS, dtype=np.float32), "bias"))
    nodes, parts = [], []
    for number, (row, column) in enumerate(places):
        rows, part = f"rows{number}", f"part{number}"
        nodes.append(helper.make_node("Slice", ["x", str(row), "end", "rows", "step"], [rows]))
        nodes.append(helper.make_node("Slice", [rows, str(column), "end", "columns", "step"], [part]))
        parts.append(part)
    nodes.append(helper.make_node("Concat", parts, ["planes"], axis=1))
    nodes.append(
        helper.make_node("Conv", ["planes", "weight", "bias"], ["y"], name="stem", **{"pads": [1] * 4, **settings})
    )
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, height, WIDTH])]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", *([gives] if gives else []))
    ]
    graph = helper.make_graph(nodes, "focus", given, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def convolved(model: onnx.ModelProto) -> list[Any]:
    x = np.random.default_rng(1).random((1, CHANNELS, HEIGHT, WIDTH), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


@pytest.mark.parametrize("places", [PLACES, PLACES[::-1], ((0, 0), (0, 1), (1, 0), (1, 1))], ids=str)
@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 2]], ids=str)
def test_the_result_stays(places: tuple[tuple[int, int], ...], pads: list[int]) -> None:
    model = focus(places, pads=pads)
    (expected,) = convolved(model)
    changed = convolve_picture(model)
    onnx.checker.check_model(changed, full_check=True)
    assert [node.op_type for node in changed.graph.node] == ["Conv"]
    np.testing.assert_allclose(convolved(changed)[0], expected, rtol=0, atol=1e-5)


def test_planes_that_are_read_elsewhere_stay() -> None:
    model = focus(gives="planes")
    expected = convolved(model)
    changed = convolve_picture(model)
    assert [node.op_type for node in changed.graph.node].count("Slice") == 8
    for before, after in zip(expected, convolved(changed), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"places": ((0, 0), (1, 0), (0, 1), (0, 1))},
        {"places": PLACES[:3]},
        {"step": 3},
        {"end": HEIGHT - 2},
        {"height": HEIGHT + 1, "end": HEIGHT},
        {"strides": [2, 2]},
        {"dilations": [2, 2]},
        {"auto_pad": "VALID", "pads": None},
    ],
    ids=str,
)
def test_other_layers_stay(settings: dict[str, Any]) -> None:
    model = focus(**settings)
    before = model.SerializeToString()
    assert convolve_picture(model).SerializeToString() == before

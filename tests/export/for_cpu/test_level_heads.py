"""The best class of every box, found before the levels of a head are joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.export.for_cpu.level_heads import choose_by_level

SIDES, CLASSES, BATCH = (4, 2), 3, 2
BOXES = sum(3 * side * side for side in SIDES)


def head(
    *,
    split: bool = True,
    gives: str = "",
    axes: tuple[int, int] = (1, 1),
    select_last: int = 0,
    activation: str = "Sigmoid",
) -> onnx.ModelProto:
    """Logits [N, 3, S, S, 5 + C] of each level to boxes, best scores and labels, as the exporters join them and
    take them apart. ``gives``: a tensor between that is an output, too. ``axes``: of what is largest."""
    numbers = 5 + CLASSES
    constants = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in {
            "head": [2, 2, 1 + CLASSES], "rest": [4, 1 + CLASSES], "parts": [4, 1, CLASSES],
            **{f"shape{level}": [BATCH, -1, numbers] for level in range(len(SIDES))},
        }.items()
    ]  # fmt: skip
    constants.append(numpy_helper.from_array(np.float32(2.0), "two"))
    nodes = []
    for level in range(len(SIDES)):
        x, xy, wh, box, likely = (f"{word}{level}" for word in ("p", "xy", "wh", "box", "likely"))
        nodes.append(helper.make_node(activation, [f"x{level}"], [x]))
        if split:
            nodes.append(helper.make_node("Split", [x, "head"], [xy, wh, likely], name=f"head{level}", axis=4))
            nodes.append(helper.make_node("Mul", [wh, "two"], [f"size{level}"]))
            nodes.append(helper.make_node("Concat", [xy, f"size{level}", likely], [box], axis=4))
        else:
            nodes.append(
                helper.make_node("Split", [f"x{level}", "rest"], [f"both{level}", f"other{level}"], axis=-1)
            )
            nodes.append(helper.make_node(activation, [f"other{level}"], [likely]))
            nodes.append(helper.make_node("Concat", [f"both{level}", likely], [box], axis=-1))
        nodes.append(helper.make_node("Reshape", [box, f"shape{level}"], [f"flat{level}"]))
    flat = [f"flat{level}" for level in range(len(SIDES))]
    nodes += [
        helper.make_node("Concat", flat, ["joined"], axis=1),
        helper.make_node("Split", ["joined", "parts"], ["boxes", "sure", "classes"], axis=-1),
        helper.make_node("Mul", ["classes", "sure"], ["product"]),
        helper.make_node("Transpose", ["product"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["turned"], ["scores"], axes=[axes[0]], keepdims=1),
        helper.make_node("ArgMax", ["turned"], ["labels"], axis=axes[1], keepdims=0, select_last_index=select_last),
    ]
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("labels", TensorProto.INT64, None),
    ]
    if gives:
        outputs.append(helper.make_tensor_value_info(gives, TensorProto.FLOAT, None))
    given = [
        helper.make_tensor_value_info(f"x{level}", TensorProto.FLOAT, [BATCH, 3, side, side, numbers])
        for level, side in enumerate(SIDES)
    ]
    graph = helper.make_graph(nodes, "head", given, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def found(model: onnx.ModelProto) -> list[Any]:
    random = np.random.default_rng(0)
    inputs = {
        f"x{level}": random.random((BATCH, 3, side, side, 5 + CLASSES), np.float32)
        for level, side in enumerate(SIDES)
    }
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.parametrize("split", [True, False], ids=["three parts", "two parts"])
def test_boxes_scores_and_labels_stay(split: bool) -> None:
    model = head(split=split)
    expected = found(model)
    changed = choose_by_level(model)
    onnx.checker.check_model(changed, full_check=True)
    for before, after in zip(expected, found(changed), strict=True):
        np.testing.assert_array_equal(after, before)
    assert expected[0].shape == (BATCH, BOXES, 4) and len(np.unique(expected[2])) == CLASSES


def test_nothing_large_is_copied() -> None:
    nodes = choose_by_level(head()).graph.node
    operators = [node.op_type for node in nodes]
    assert "Transpose" not in operators
    # One for each level: what parts the box parts the classes.
    assert operators.count("Split") == len(SIDES)
    assert not {"joined", "product", *(f"box{level}" for level in range(len(SIDES)))} & {
        name for node in nodes for name in node.output
    }


@pytest.mark.parametrize(
    "settings",
    [{"gives": "product"}, {"gives": "joined"}, {"gives": "box0"}, {"axes": (2, 1)}, {"axes": (1, 2)},
     {"select_last": 1}, {"activation": "Tanh"}, {"activation": "Tanh", "split": False}],
    ids=str,
)  # fmt: skip
def test_other_heads_stay(settings: dict[str, Any]) -> None:
    model = head(**settings)
    before = model.SerializeToString()
    assert choose_by_level(model).SerializeToString() == before


def test_a_part_that_is_an_output_is_not_taken_away() -> None:
    model = head(gives="likely1")
    expected = found(model)
    for before, after in zip(expected, found(choose_by_level(model)), strict=True):
        np.testing.assert_array_equal(after, before)

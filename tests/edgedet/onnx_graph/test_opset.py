"""Graphs of later opsets brought to ours compute the same, operator by operator, or are refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import OPSET
from edgedet.onnx_graph.opset import UnraisableError, opset_of, raise_opset, to_opset
from edgedet.onnx_graph.shape_inference import LARGEST_READ

PLANES = np.random.default_rng(0).normal(0, 1, (1, 6, 9, 10)).astype(np.float32)


def graph(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], *, opset: int, outputs: tuple[str, ...] = ("y",)
) -> onnx.ModelProto:
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, PLANES.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"x": PLANES})]


def node(kind: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), name=f"the_{kind}_{outputs[0]}", **attributes)


I64 = np.int64
CHANGED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], tuple[str, ...]]] = {
    "split evenly": ([node("Split", "x", outputs=("y", "z"), axis=1, num_outputs=2)], {}, ("y", "z")),
    "split with a smaller last part": (
        [node("Split", "x", outputs=("y", "z", "w", "v"), axis=-1, num_outputs=4)], {}, ("y", "z", "w", "v"),
    ),
    "split by sizes": ([node("Split", "x", "s", outputs=("y", "z"), axis=1)], {"s": np.array([2, 4])}, ("y", "z")),
    **{
        f"{kind} over axes": ([node(kind, "x", "axes", keepdims=0)], {"axes": np.array([-1, 1])}, ("y",))
        for kind in ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2",
                     "ReduceLogSumExp", "ReduceSumSquare")
    },
    "reduce everything": ([node("ReduceMean", "x")], {}, ("y",)),
    "reduce nothing": ([node("ReduceMax", "x", noop_with_empty_axes=1), ], {}, ("y",)),
    "resize two axes by scales": (
        [node("Resize", "x", "", "s", mode="nearest", axes=[2, 3], nearest_mode="floor",
              coordinate_transformation_mode="asymmetric")],
        {"s": np.array([2, 2], np.float32)}, ("y",),
    ),
    "resize two axes to sizes": (
        [node("Resize", "x", "", "", "s", mode="linear", axes=[2, 3], antialias=0)],
        {"s": np.array([18, 25])}, ("y",),
    ),
    "pad two axes": (
        [node("Pad", "x", "p", "v", "axes")],
        {"p": np.array([1, 0, 2, 3]), "v": np.float32(0.5), "axes": np.array([-1, 2])}, ("y",),
    ),
    "average pool": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, dilations=[1, 1])], {}, ("y",)),
    "cast": (
        [node("Cast", "x", to=TensorProto.INT32, outputs=("i",), saturate=1), node("Cast", "i", to=1)], {}, ("y",),
    ),
    "sample a grid": (
        [node("GridSample", "x", "grid", mode="linear", align_corners=0)],
        {"grid": np.random.default_rng(1).uniform(-1, 1, (1, 4, 5, 2)).astype(np.float32)}, ("y",),
    ),
    "gelu": ([node("Gelu", "x")], {}, ("y",)),
    "gelu by tanh": ([node("Gelu", "x", approximate="tanh")], {}, ("y",)),
    "mish": ([node("Mish", "x")], {}, ("y",)),
    "group normalisation": (
        [node("GroupNormalization", "x", "scale", "bias", num_groups=3)],
        {"scale": np.arange(6, dtype=np.float32), "bias": np.ones(6, np.float32)}, ("y",),
    ),
    "types only": (
        [node("Reshape", "x", "shape", outputs=("flat",)), node("Transpose", "flat", perm=[1, 0], outputs=("t",)),
         node("Unsqueeze", "t", "zero", outputs=("u",)), node("Squeeze", "u", "zero")],
        {"shape": np.array([6, -1]), "zero": np.array([0])}, ("y",),
    ),
    "shapes of some axes": (
        [node("Shape", "x", start=2, outputs=("sides",)),
         node("Concat", "six", "sides", axis=0, outputs=("shape",)), node("Reshape", "x", "shape")],
        {"six": np.array([6])}, ("y",),
    ),
}  # fmt: skip
NEWER = {
    "gelu": 20,
    "gelu by tanh": 20,
    "group normalisation": 21,
    "sample a grid": 20,
    "average pool": 19,
    "cast": 19,
}


@pytest.mark.parametrize(
    ("what", "opset"), [(what, opset) for what in CHANGED for opset in range(max(18, NEWER.get(what, 0)), 23)]
)
def test_the_numbers_stay(what: str, opset: int) -> None:
    nodes, constants, outputs = CHANGED[what]
    model = graph([onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes], constants, opset=opset,
                  outputs=outputs)  # fmt: skip
    expected = run(model)
    lowered = to_opset(model, Path("net.onnx"))
    assert opset_of(lowered) == OPSET and lowered.ir_version == 8
    for ours, theirs in zip(run(lowered), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_operators_newer_still_are_written_out() -> None:
    """Swish is of opset 24, RMSNormalization of 23; their definitions hold operators to be lowered, too."""
    model = graph(
        [node("Swish", "x", alpha=1.5, outputs=("s",)), node("RMSNormalization", "s", "scale", axis=-1)],
        {"scale": np.arange(10, dtype=np.float32)},
        opset=24,
    )
    (found,) = run(to_opset(model, Path("net.onnx")))
    swish = PLANES / (1 + np.exp(-1.5 * PLANES))
    expected = swish / np.sqrt((swish**2).mean(-1, keepdims=True) + 1e-5) * np.arange(10)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "constants", "opset", "message"),
    [
        ([node("BitwiseNot", "x")], {}, 18, "BitwiseNot the_BitwiseNot_y has no equivalent in opset 17 .it did"),
        ([node("Resize", "x", "", "s", mode="linear", antialias=1)],
         {"s": np.array([1, 1, 0.5, 0.5], np.float32)}, 18, "its attribute antialias did not exist"),
        ([node("Pad", "x", "p", mode="wrap")], {"p": np.ones(8, I64)}, 19, "mode wrap"),
        ([node("AveragePool", "x", kernel_shape=[2, 2], dilations=[2, 2])], {}, 19, "dilations"),
        ([node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1,
               count_include_pad=1)], {}, 19, "ceil_mode with count_include_pad"),
        ([node("Relu", "x")], {}, 99, "uses opset 99, onnx .* update onnx"),
    ],
)  # fmt: skip
def test_what_has_no_equivalent_is_named(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], opset: int, message: str
) -> None:
    model = graph([onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes], constants, opset=opset)
    with pytest.raises(ArtifactError, match=message):
        to_opset(model, Path("net.onnx"))


def test_functions_of_the_graphs_own_are_written_out() -> None:
    """As PyTorch's newer exporter has them."""
    model = graph([node("Twice", "x", outputs=("t",)), node("Relu", "t")], {}, opset=18)
    model.graph.node[0].domain = "own"
    model.opset_import.append(helper.make_opsetid("own", 1))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    (found,) = run(to_opset(model, Path("net.onnx")))
    np.testing.assert_allclose(found, np.maximum(2 * PLANES, 0))


def test_what_a_computed_size_fills_gets_a_shape_in_old_opsets_too() -> None:
    """The converter notes the shape as unknown, and inference believes notes."""
    model = graph(
        [
            node("Shape", "x", outputs=("shape",)),
            node("Slice", "shape", "two", "four", outputs=("sides",)),
            node("Concat", "ones", "sides", axis=0, outputs=("wanted",)),
            node("ConstantOfShape", "wanted", outputs=("zeros",)),
            node("Concat", "x", "zeros", axis=1),
        ],
        {"two": np.array([2]), "four": np.array([4]), "ones": np.array([1, 1])},
        opset=12,
    )
    raised = to_opset(model, Path("net.onnx"))
    inferred = onnx.shape_inference.infer_shapes(raised, data_prop=True).graph.output[0]
    assert [size.dim_value for size in inferred.type.tensor_type.shape.dim] == [1, 7, 9, 10]
    assert [made.op_type for made in raised.graph.node] == ["Concat"]


def test_an_older_graph_is_raised_with_its_weights_though_the_converter_never_sees_them() -> None:
    long = np.random.default_rng(1).normal(size=(64, 6, 4, 4)).astype(np.float32)
    assert long.size > LARGEST_READ
    model = graph([node("Conv", "x", "w")], {"w": long}, opset=13)
    model.metadata_props.add(key="kept", value="yes")
    model.producer_name = "another tool"
    before = run(model)[0]
    raised = raise_opset(model, [19])
    assert opset_of(raised) == 19 and raised is model
    assert [value.name for value in raised.graph.input] == ["x"]
    assert [(one.key, one.value) for one in raised.metadata_props] == [("kept", "yes")]
    assert raised.producer_name == "another tool"
    np.testing.assert_array_equal(run(raised)[0], before)
    assert len(raised.graph.initializer) == 1


def test_a_graph_that_cannot_be_raised_stays_as_it_was() -> None:
    model = graph([node("Conv", "x", "w")], {"w": np.ones((4, 6, 1, 1), np.float32)}, opset=13)
    before = model.SerializeToString(deterministic=True)
    with pytest.raises(UnraisableError):
        raise_opset(model, [10_000])
    assert model.SerializeToString(deterministic=True) == before

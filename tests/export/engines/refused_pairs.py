"""Pairs of graphs: one that neither the operator check nor NVIDIA's builder takes, and one near it that both do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgedet.export.engines import operators
from edgedet.export.engines.operator_limits import ANY, DATA_DEPENDENT, LARGEST_K, LIMITS, OPERATORS
from edgedet.export.engines.operators import QUANTISING
from edgedet.export.engines.parser_versions import TENSORRT_RTX, VERSIONS
from tests.export.engines.operator_cases import (
    IMAGE,
    INT64,
    UINT8,
    Like,
    case,
    data,
    floats,
    ints,
    model_of,
    scalar,
)

FLOAT, FLOAT16, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8
(RTX,) = TENSORRT_RTX
Patch = pytest.MonkeyPatch
Maker = Callable[[], onnx.ModelProto]


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; names separated by spaces."""
    return helper.make_node(op, inputs.split(), outputs.split(), f"{outputs.partition(' ')[0]}_it", **attributes)


def suppression() -> onnx.ModelProto:
    constants = {"most": scalar(5), "iou": scalar(0.5, np.float32), "score": scalar(0.1, np.float32)}
    inputs = {"boxes": (FLOAT, (1, 10, 4)), "scores": (FLOAT, (1, 2, 10))}
    return model_of([node("NonMaxSuppression", "boxes scores most iou score", "kept")], inputs, constants)


def best_instead() -> onnx.ModelProto:
    """What --nms runtime leaves of it: boxes and scores."""
    inputs = {"boxes": (FLOAT, (1, 10, 4)), "scores": (FLOAT, (1, 2, 10))}
    return model_of([node("Mul", "boxes boxes", "b"), node("Sigmoid", "scores", "s")], inputs, {})


def pooled(kind: int = FLOAT) -> onnx.ModelProto:
    size = {"output_height": 7, "output_width": 7, "sampling_ratio": 2}
    return case("RoiAlign", IMAGE, data(2, 4), ints(0, 0), **size).graph(kind)


def deformed() -> onnx.ModelProto:
    return case("DeformConv", IMAGE, Like(np.ones((4, 3, 3, 3))), data(1, 18, 6, 6), opset=19).graph()


def best(k: int, among: int = 5000, kind: int = FLOAT) -> onnx.ModelProto:
    return case("TopK", data(1, among), ints(k), outputs=2).graph(kind)


def pixels(*, cast_first: bool, move: str = "Transpose", **attributes: Any) -> onnx.ModelProto:
    if cast_first:
        nodes = [node("Cast", "x", "c", to=FLOAT), node(move, "c", "y", **attributes)]
    else:
        nodes = [node(move, "x", "m", **attributes), node("Cast", "m", "y", to=FLOAT)]
    return model_of(nodes, {"x": (UINT8, (1, 8, 8, 3))}, {})


def scattered(op: str, reduction: str) -> onnx.ModelProto:
    places = (2,) if op == "ScatterElements" else (2, 1)
    return case(op, data(9), data(*places, kind=INT64), data(2), reduction=reduction, opset=18).graph()


def quantised(zero: np.generic | None, scale: float = 0.1, *, kind: int = FLOAT) -> onnx.ModelProto:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    more = "" if zero is None else " zero"
    constants = {"scale": np.array(scale, dtype)} | ({} if zero is None else {"zero": np.array(zero)})
    nodes = [node("QuantizeLinear", f"x scale{more}", "q"), node("DequantizeLinear", f"q scale{more}", "y")]
    return model_of(nodes, {"x": (kind, (1, 3, 8, 8))}, constants, opset=19)


def convolved(zero: int) -> onnx.ModelProto:
    """A convolution with int8 weights, each output channel with a scale and the zero point ``zero``."""
    weights = {"w": np.full((4, 3, 3, 3), 7, np.int8), "ws": np.full(4, 0.1, np.float32)}
    activation = {"s": scalar(0.1, np.float32), "z": np.array(0, np.int8), "wz": np.full(4, zero, np.int8)}
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("DequantizeLinear", "w ws wz", "wd", axis=0),
        node("Conv", "d wd", "y"),
    ]
    return model_of(nodes, {"x": (FLOAT, (1, 3, 8, 8))}, weights | activation)


def resized(mode: str, *factors: float) -> onnx.ModelProto:
    return case("Resize", IMAGE, None, floats(*factors), mode=mode).graph()


def normalised(training: int) -> onnx.ModelProto:
    fixed = [Like(np.ones(3))] * 4
    return case("BatchNormalization", IMAGE, *fixed, outputs=1 + 2 * training, training_mode=training).graph()


def named(second: str) -> onnx.ModelProto:
    """Two quantised tensors, the second's QuantizeLinear called ``second``."""
    constants = {"s": scalar(0.1, np.float32), "z": np.array(0, np.int8)}
    nodes = [
        node("QuantizeLinear", "x s z", "q1"),
        node("DequantizeLinear", "q1 s z", "d1"),
        node("Relu", "d1", "r"),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["q2"], second),
        node("DequantizeLinear", "q2 s z", "y"),
    ]
    return model_of(nodes, {"x": (FLOAT, (1, 3, 8, 8))}, constants)


def constant(kind: int) -> onnx.ModelProto:
    value = helper.make_tensor("value", kind, (2,), [1, 2])
    return model_of([node("Constant", "", "y", value=value)], {"x": (FLOAT, (1,))}, {})


def no_limit(op: str) -> Callable[[Patch], None]:
    return lambda patch: patch.delitem(LIMITS, op)


def not_missing(op: str) -> Callable[[Patch], None]:
    def take_out(patch: Patch) -> None:
        missing = {name: why for name, why in VERSIONS[RTX].missing.items() if name != op}
        patch.setitem(VERSIONS, RTX, replace(VERSIONS[RTX], missing=missing))
        if op in DATA_DEPENDENT:
            patch.delitem(DATA_DEPENDENT, op)
            any_shape(patch)  # its output has no fixed one, which is a reason of its own
        if op not in OPERATORS:
            patch.setitem(OPERATORS, op, ANY)

    return take_out


def no_quantisation(patch: Patch) -> None:
    for op in QUANTISING:
        patch.delitem(LIMITS, op)


def any_name(patch: Patch) -> None:
    patch.setattr(operators, "QUANTISING", ())


def no_types(patch: Patch) -> None:
    patch.setattr(operators, "_types", lambda *_: iter(()))


def any_rank(patch: Patch) -> None:
    patch.setattr(operators, "LARGEST_RANK", 99)


def any_shape(patch: Patch) -> None:
    patch.setattr(operators, "_static", lambda shape: True)


def like_tensorrt(**facts: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setitem(VERSIONS, RTX, replace(VERSIONS[RTX], **facts))


@dataclass(frozen=True)
class Pair:
    """A graph nobody builds, what the rules say of it, one near it that is built, and how the rule is taken out."""

    refused: Maker
    said: str
    built: Maker
    without: Callable[[Patch], None]
    stage: str = "parser"


def both(op: str, bad: Maker, said: str, good: Maker, stage: str = "parser") -> Pair:
    return Pair(bad, said, good, no_limit(op), stage)


PAIRS: dict[str, Pair] = {
    "NMS": Pair(
        suppression, "export with --nms runtime", best_instead, not_missing("NonMaxSuppression"), "builder"
    ),
    "RoiAlign": Pair(
        pooled,
        "writes it otherwise if its sampling ratio is above 0",
        lambda: resized("linear", 1, 1, 2, 2),
        not_missing("RoiAlign"),
    ),
    "NonZero": Pair(
        lambda: case("NonZero", IMAGE).graph(), "a mask and a TopK", lambda: best(5, 50), not_missing("NonZero")
    ),
    "DeformConv": Pair(
        deformed,
        "GridSample",
        lambda: case("GridSample", IMAGE, data(1, 5, 6, 2)).graph(),
        not_missing("DeformConv"),
    ),
    "more than 3,840 best": both(
        "TopK",
        lambda: best(LARGEST_K + 1),
        "K is 3841, TensorRT takes at most 3840; keep fewer candidates",
        lambda: best(LARGEST_K),
        "builder",
    ),
    "uint8 turned before it is cast": Pair(
        lambda: pixels(cast_first=False, perm=[0, 3, 1, 2]),
        "x is uint8, expected bool, float, float16, int32, int64; uint8 pixels must be cast before anything else",
        lambda: pixels(cast_first=True, perm=[0, 3, 1, 2]),
        no_types,
    ),
    "uint8 flattened before it is cast": Pair(
        lambda: pixels(cast_first=False, move="Flatten"),
        "must be cast before anything else",
        lambda: pixels(cast_first=True, move="Flatten"),
        no_types,
    ),
    "int16": Pair(
        lambda: case("Cast", IMAGE, to=FLOAT).graph(TensorProto.INT16),
        "in0 is int16",
        lambda: case("Cast", IMAGE, to=FLOAT).graph(TensorProto.INT32),
        no_types,
    ),
    "a uint8 constant": Pair(lambda: constant(UINT8), "it is uint8", lambda: constant(INT64), no_types, "builder"),
    "an int8 constant nobody dequantises": Pair(
        lambda: constant(INT8), "it is int8", lambda: constant(TensorProto.INT32), no_types, "builder"
    ),
    **{
        f"ScatterND that would {how}": both(
            "ScatterND",
            lambda how=how: scattered("ScatterND", how),  # type: ignore[misc]
            f"reduction {how} is not supported",
            lambda: scattered("ScatterND", "none"),
        )
        for how in ("add", "mul", "max", "min")
    },
    "ScatterElements that would add": Pair(
        lambda: scattered("ScatterElements", "add"),
        "reduction add needs a plugin",
        lambda: scattered("ScatterElements", "none"),
        like_tensorrt(reducing_scatter=True),
    ),
    "an activation's zero point": both(
        "QuantizeLinear",
        lambda: model_of(
            [node("QuantizeLinear", "x s z", "y")],
            {"x": (FLOAT, (1, 3))},
            {"s": scalar(0.1, np.float32), "z": np.array(128, np.uint8)},
        ),
        "zero point is uint8 128, expected int8 0 (symmetric): export with --int8 --target tensorrt",
        lambda: quantised(np.int8(0)),
    ),
    "a weight's zero point": both(
        "DequantizeLinear", lambda: convolved(1), "zero point is int8 1, expected int8 0", lambda: convolved(0)
    ),
    **{
        f"quantised under the name of {what}": Pair(
            lambda name=name: named(name),  # type: ignore[misc]
            "has the same name; give it one of its own",
            lambda: named("another"),
            any_name,
        )
        for what, name in (("its like", "q1_it"), ("a layer", "r_it"), ("a constant", "s"))
    },
    "a scale of 0": Pair(
        lambda: quantised(np.int8(0), 0.0),
        "the scale must be above 0",
        lambda: quantised(np.int8(0), 0.1),
        no_quantisation,
    ),
    "linear in four axes": both(
        "Resize",
        lambda: resized("linear", 2, 1, 2, 2),
        "linear along axis -4, expected the last 3 axes",
        lambda: resized("linear", 1, 2, 2, 2),
    ),
    "cubic in three axes": both(
        "Resize",
        lambda: resized("cubic", 1, 2, 2, 2),
        "cubic along axis -3, expected the last 2 axes",
        lambda: resized("cubic", 1, 1, 2, 2),
    ),
    "a factor that changes nothing": both(
        "Resize",
        lambda: resized("cubic", 1, 1.01, 2, 2),
        "cubic along axis -3",
        lambda: resized("nearest", 1, 1.01, 2, 2),
    ),
    "antialiasing": both(
        "Resize",
        lambda: case("Resize", IMAGE, None, floats(1, 1, 2, 2), mode="linear", antialias=1, opset=18).graph(),
        "antialias",
        lambda: case("Resize", IMAGE, None, floats(1, 1, 2, 2), mode="linear", antialias=0, opset=18).graph(),
    ),
    "points of another type": both(
        "GridSample",
        lambda: case("GridSample", IMAGE, data(1, 5, 6, 2, kind=FLOAT)).graph(FLOAT16),
        "points and features must have one type",
        lambda: case("GridSample", IMAGE, data(1, 5, 6, 2)).graph(FLOAT16),
    ),
    "where the largest was": both(
        "MaxPool",
        lambda: case("MaxPool", IMAGE, kernel_shape=[2, 2], outputs=2).graph(),
        "Indices",
        lambda: case("MaxPool", IMAGE, kernel_shape=[2, 2]).graph(),
    ),
    **{
        f"{op} of a vector": both(
            op,
            lambda op=op: case(op, data(5)).graph(),  # type: ignore[misc]
            "has rank 1, expected 2 or more; put an axis of 1 in front (Unsqueeze)",
            lambda op=op: case(op, data(1, 5)).graph(),  # type: ignore[misc]
        )
        for op in ("Softmax", "LogSoftmax", "ArgMax", "ArgMin")
    },
    "int32 ReLU": Pair(
        lambda: case("Relu", IMAGE).graph(TensorProto.INT32),
        "use Max with 0",
        lambda: case("Max", IMAGE, Like(0)).graph(TensorProto.INT32),
        like_tensorrt(int32_relu=True),
    ),
    "floats modulo as integers": both(
        "Mod",
        lambda: case("Mod", IMAGE, Like(3)).graph(),
        "fmod 0, expected 1",
        lambda: case("Mod", IMAGE, Like(3), fmod=1).graph(),
    ),
    "bounds without axes": both(
        "Slice",
        lambda: case("Slice", IMAGE, ints(0, 0), ints(1, 2)).graph(),
        "2 bounds for 4 axes, and none named; name the axes",
        lambda: case("Slice", IMAGE, ints(0, 0), ints(1, 2), ints(0, 1)).graph(),
    ),
    "int32 bounds without steps": both(
        "Slice",
        lambda: case("Slice", IMAGE, *(np.array([value], np.int32) for value in (1, 3, 2))).graph(),
        "use int64, or give the steps",
        lambda: case("Slice", IMAGE, *(np.array([value], np.int32) for value in (1, 3, 2, 1))).graph(),
    ),
    "uint8 numbers of classes": both(
        "OneHot",
        lambda: case("OneHot", data(3, kind=UINT8), scalar(5), Like([0, 1])).graph(),
        "cast it first",
        lambda: case("OneHot", data(3, kind=INT64), scalar(5), Like([0, 1])).graph(),
    ),
    "normalisation in training": both(
        "BatchNormalization",
        lambda: normalised(1),
        "training mode; export the network in evaluation mode",
        lambda: normalised(0),
    ),
    "dropout in training": both(
        "Dropout",
        lambda: case("Dropout", IMAGE, scalar(0.5, np.float32), np.array(True)).graph(),
        "training mode",
        lambda: case("Dropout", IMAGE, scalar(0.5, np.float32), np.array(False)).graph(),
    ),
    "a norm's mean": both(
        "LayerNormalization",
        lambda: case("LayerNormalization", IMAGE, Like(np.ones(8)), outputs=3).graph(),
        "only the first output",
        lambda: case("LayerNormalization", IMAGE, Like(np.ones(8))).graph(),
    ),
    "nine axes": Pair(
        lambda: case("Unsqueeze", data(*[2] * 8), ints(0)).graph(),
        "has rank 9, TensorRT takes at most 8",
        lambda: case("Unsqueeze", data(*[2] * 7), ints(0)).graph(),
        any_rank,
    ),
    "a batch of any size": Pair(
        lambda: case("Relu", data("n", 3, 8, 8)).graph(),
        "a dynamic shape",
        lambda: case("Relu", data(2, 3, 8, 8)).graph(),
        any_shape,
        "builder",
    ),
}

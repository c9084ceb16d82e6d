"""Graphs of one node, for every operator the operator check passes, in the ways detectors and exporters use it.

Each is written once and made in every element type that the check allows the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SOURCE = "it"


@dataclass(frozen=True)
class Data:
    """An input of the graph; ``kind`` None: of the type under test."""

    shape: tuple[int | str, ...]
    kind: int | None = None


@dataclass(frozen=True)
class Like:
    """A constant of the type under test."""

    value: Any


@dataclass(frozen=True)
class Case:
    """One node. ``inputs``: :class:`Data`, :class:`Like`, an array that keeps its type, or None where left out."""

    op: str
    inputs: tuple[Any, ...]
    attributes: dict[str, Any]
    outputs: tuple[str, ...]
    opset: int

    def __str__(self) -> str:
        said = [
            ""
            if x is None
            else str(list(x.shape))
            if isinstance(x, Data)
            else str(np.shape(getattr(x, "value", x)))
            for x in self.inputs
        ]
        return f"{self.op}({', '.join(said)}) {self.attributes} opset {self.opset}"

    def graph(self, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
        """The graph with ``kind`` as the type under test, not yet checked."""
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        inputs, constants, names = {}, {}, []
        for index, value in enumerate(self.inputs):
            names.append("" if value is None else f"in{index}")
            if isinstance(value, Data):
                inputs[names[-1]] = (value.kind or kind, value.shape)
            elif value is not None:
                constants[names[-1]] = np.asarray(value.value).astype(dtype) if isinstance(value, Like) else value
        attributes = {
            name: numpy_helper.from_array(np.asarray(value.value).astype(dtype))
            if isinstance(value, Like)
            else value
            for name, value in self.attributes.items()
        }
        node = helper.make_node(self.op, names, self.outputs, SOURCE, **attributes)
        return model_of([node], inputs, constants, opset=self.opset)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, tuple[int | str, ...]]],
    constants: dict[str, Any],
    *,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model whose outputs are what nobody reads, with the types and shapes that ONNX infers."""
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [
            helper.make_value_info(name, onnx.TypeProto())
            for node in nodes
            for name in node.output
            if name not in read
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9 + (opset > 20))
    outputs = list(onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output)
    for output in outputs:
        if not output.type.tensor_type.elem_type:  # normalisations are functions, which ONNX does not infer
            output.type.CopyFrom(graph.input[0].type)
    model.graph.ClearField("output")
    model.graph.output.extend(outputs)
    return model


def case(op: str, *inputs: Any, outputs: int = 1, opset: int = 17, **attributes: Any) -> Case:
    """``outputs``: how many the node has."""
    return Case(op, inputs, attributes, tuple(f"y{index}" for index in range(outputs)), opset)


def data(*shape: int | str, kind: int | None = None) -> Data:
    """An input of the graph."""
    return Data(shape, kind)


def ints(*values: int) -> np.ndarray:
    """int64 [n]."""
    return np.array(values, np.int64)


def scalar(value: float, dtype: Any = np.int64) -> np.ndarray:
    """A tensor without axes."""
    return np.array(value, dtype)


def floats(*values: float) -> np.ndarray:
    """float32 [n]."""
    return np.array(values, np.float32)


def weights(*shape: int) -> Like:
    """A constant of the type under test with values of both signs."""
    return Like(np.random.default_rng(0).normal(size=shape))


IMAGE = data(1, 3, 8, 8)
LINE = data(5)
POINT = data()
CUBE = data(1, 3, 4, 8, 8)
RANK_8 = data(*[2] * 8)
INT64, INT32, BOOL, UINT8 = TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.UINT8


def _element_wise() -> list[Case]:
    found = []
    for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum"):
        pairs = (
            (IMAGE, IMAGE),
            (IMAGE, Like(2)),
            (Like(3), IMAGE),
            (IMAGE, data(8)),
            (POINT, POINT),
            (RANK_8, RANK_8),
        )
        found += [case(op, *pair) for pair in pairs]
    found += [case(op, *[IMAGE] * many) for op in ("Min", "Max", "Sum") for many in (1, 3)]
    found += [case("Mod", IMAGE, other, fmod=fmod) for other in (IMAGE, Like(3)) for fmod in (0, 1)]
    for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        found += [case(op, *pair) for pair in ((IMAGE, IMAGE), (IMAGE, Like(2)), (data(3), data(2, 3)))]
    for op in ("And", "Or", "Xor"):
        found += [case(op, *pair) for pair in ((IMAGE, IMAGE), (IMAGE, Like(True)), (data(3), data(2, 3)))]
    unary = ("Neg", "Abs", "Sign", "Not", "Exp", "Log", "Sqrt", "Erf", "Floor", "Ceil", "Round", "Reciprocal")
    found += [case(op, x) for op in (*unary, "IsNaN", "Sin", "Cos") for x in (IMAGE, LINE, POINT)]
    found += [case("IsInf", IMAGE, opset=20), case("IsInf", IMAGE, detect_negative=0)]
    found += [case("Pow", *pair) for pair in ((IMAGE, Like(0.5)), (IMAGE, IMAGE), (Like(2), IMAGE))]
    flags = data(1, 3, 8, 8, kind=BOOL)
    found += [case("Where", flags, *pair) for pair in ((IMAGE, IMAGE), (IMAGE, Like(0)), (Like(1), Like(0)))]
    found += [case("Where", np.array(True), IMAGE, IMAGE), case("Where", data(3, 1, 1, kind=BOOL), IMAGE, data(8))]
    bounds = ((Like(0), Like(6)), (Like(0),), (None, Like(6)), (), (POINT, POINT))
    return [*found, *(case("Clip", IMAGE, *pair) for pair in bounds)]


def _activations() -> list[Case]:
    plain = ("Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "LeakyRelu", "Elu", "Selu", "Softplus", "Relu")
    found = [case(op, x) for op in (*plain, "ThresholdedRelu") for x in (IMAGE, LINE, POINT)]
    found += [case("Mish", IMAGE, opset=18), case("HardSigmoid", IMAGE, alpha=1 / 6, beta=0.5)]
    found += [case("LeakyRelu", IMAGE, alpha=0.1), case("Gelu", IMAGE, opset=20)]
    found += [case("Gelu", IMAGE, opset=20, approximate="tanh")]
    found += [case("PRelu", IMAGE, slope) for slope in (weights(3, 1, 1), Like(0.1), data(3, 1, 1))]
    for op in ("Softmax", "LogSoftmax"):
        found += [case(op, IMAGE, axis=axis) for axis in (-1, 0, 1)]
        found += [case(op, data(2, 5)), case(op, LINE), case(op, IMAGE, axis=1, opset=11)]
    return found


def _layers() -> list[Case]:
    found = [
        case("Conv", IMAGE, weights(4, 3, 3, 3)),
        case("Conv", IMAGE, weights(4, 3, 3, 3), weights(4), pads=[1, 1, 1, 1], strides=[2, 2]),
        case("Conv", IMAGE, weights(3, 1, 3, 3), group=3, dilations=[2, 2]),
        case("Conv", IMAGE, weights(4, 3, 3, 3), auto_pad="SAME_UPPER"),
        case("Conv", IMAGE, weights(4, 3, 1, 5), pads=[0, 1, 0, 2]),
        case("Conv", CUBE, weights(4, 3, 3, 3, 3)),
        case("Conv", IMAGE, data(4, 3, 3, 3)),
        case("Conv", data(1, 3, 8), weights(4, 3, 3)),
        case("ConvTranspose", IMAGE, weights(3, 4, 2, 2), strides=[2, 2]),
        case("ConvTranspose", IMAGE, weights(3, 4, 3, 3), weights(4), strides=[2, 2], output_padding=[1, 1]),
        case("ConvTranspose", IMAGE, weights(3, 1, 2, 2), group=3),
        case("ConvTranspose", IMAGE, weights(3, 4, 3, 3), strides=[2, 2], output_shape=[16, 16]),
        case("Gemm", data(2, 4), weights(5, 4), weights(5), transB=1),
        case("Gemm", data(4, 2), weights(4, 5), transA=1, alpha=0.5, beta=2.0),
        case("Gemm", data(2, 4), data(4, 5), data(2, 5)),
    ]
    shapes = (((2, 3, 4), (4, 5)), ((1, 2, 3, 4), (1, 2, 4, 5)), ((4,), (4, 5)), ((2, 3, 4), (4,)), ((4,), (4,)))
    found += [case("MatMul", data(*left), data(*right)) for left, right in shapes]
    found += [case("MatMul", data(2, 3, 4), weights(4, 5))]
    for shape in ((1, 3), (1, 3, 8), (1, 3, 8, 8), (1, 3, 4, 8, 8)):
        fixed = (weights(3), weights(3), weights(3), Like([1, 1, 1]))
        found += [case("BatchNormalization", data(*shape), *fixed)]
        found += [case("InstanceNormalization", data(*shape), weights(3), weights(3))] * (len(shape) > 2)
    found += [case("BatchNormalization", IMAGE, *fixed, outputs=3, training_mode=1)]
    found += [case("LayerNormalization", IMAGE, weights(8), weights(8), outputs=many) for many in (1, 3)]
    found += [
        case("LayerNormalization", data(2, 5, 8), data(8), data(8)),
        case("LayerNormalization", IMAGE, weights(8)),
    ]
    found += [case("LayerNormalization", IMAGE, weights(3, 8, 8), axis=1)]
    found += [case("GroupNormalization", data(1, 4, 8, 8), weights(4), weights(4), num_groups=2, opset=21)]
    return found


def _sampling() -> list[Case]:
    found = []
    for op in ("MaxPool", "AveragePool"):
        window = {"kernel_shape": [3, 3], "strides": [2, 2]}
        found += [case(op, IMAGE, kernel_shape=[2, 2]), case(op, IMAGE, pads=[1, 1, 1, 1], **window)]
        found += [case(op, IMAGE, ceil_mode=1, **window), case(op, IMAGE, auto_pad="SAME_UPPER", **window)]
        found += [case(op, CUBE, kernel_shape=[2, 2, 2]), case(op, data(1, 3, 8), kernel_shape=[2])]
        found += [case(op, IMAGE, kernel_shape=[2, 2], dilations=[step, step], opset=19) for step in (1, 2)]
    found += [case("MaxPool", IMAGE, kernel_shape=[2, 2], outputs=2)]
    found += [case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)]
    found += [case(op, x) for op in ("GlobalAveragePool", "GlobalMaxPool") for x in (IMAGE, CUBE, data(1, 3, 8))]
    places = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
    for mode in ("nearest", "linear", "cubic"):
        for place in (*places, "tf_crop_and_resize"):
            rule = {"mode": mode, "coordinate_transformation_mode": place, "opset": 19}
            found += [case("Resize", IMAGE, None, floats(1, 1, 2, 2), **rule)]
        found += [case("Resize", IMAGE, None, None, ints(1, 3, 5, 4), mode=mode)]
        factors = (
            (1, 1, 1, 2),
            (1, 2, 1, 1),
            (2, 1, 1, 1),
            (1, 2, 2, 2),
            (2, 2, 2, 2),
            (1, 1, 0.5, 0.5),
            (1, 1.01, 1, 1),
        )
        found += [case("Resize", IMAGE, None, floats(*factor), mode=mode) for factor in factors]
        found += [case("Resize", data(*[4] * rank), None, floats(*[2] * rank), mode=mode) for rank in (1, 2, 3, 5)]
        found += [case("Resize", IMAGE, None, floats(2, 2), mode=mode, axes=[2, 3], opset=18)]
        found += [case("Resize", IMAGE, None, None, ints(2, 6, 16, 16), mode=mode)]
    nearest = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    found += [case("Resize", IMAGE, None, floats(1, 1, 2, 2), nearest_mode=mode) for mode in nearest]
    found += [case("Resize", IMAGE, None, floats(1, 1, 2, 2), mode="linear", antialias=1, opset=18)]
    sampled = (IMAGE, data(1, 5, 6, 2))
    found += [case("GridSample", *sampled, mode=mode) for mode in ("bilinear", "nearest", "bicubic")]
    found += [case("GridSample", *sampled, padding_mode=mode) for mode in ("zeros", "border", "reflection")]
    found += [case("GridSample", *sampled, align_corners=1), case("GridSample", *sampled, mode="linear", opset=20)]
    found += [case("GridSample", IMAGE, data(1, 5, 6, 2, kind=TensorProto.FLOAT))]
    return found


def _reductions() -> list[Case]:
    found = []
    for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"):
        for opset in (13, 17, 18, 20):
            as_input = opset >= 18 or op == "ReduceSum"
            for axes, keep in (([1], 1), ([-1], 0), ([2, 3], 0), ([0, 1, 2, 3], 1)):
                more = (ints(*axes),) if as_input else ()
                found += [
                    case(op, IMAGE, *more, keepdims=keep, opset=opset, **({} if as_input else {"axes": axes}))
                ]
        found += [case(op, IMAGE, keepdims=0), case(op, LINE, keepdims=0)]
    for op in ("ArgMax", "ArgMin"):
        found += [case(op, IMAGE, axis=1), case(op, IMAGE, axis=-1, keepdims=0), case(op, data(1, 5000), axis=1)]
        found += [case(op, IMAGE, axis=1, select_last_index=1), case(op, LINE, axis=0)]
    for shape, k, axis in (
        ((1, 50), 5, 1),
        ((50,), 5, 0),
        ((1, 3, 8, 8), 3, 1),
        ((1, 5000), 3840, 1),
        ((50, 4), 50, 0),
    ):
        found += [case("TopK", data(*shape), ints(k), outputs=2, axis=axis)]
    found += [case("TopK", data(1, 50), ints(5), outputs=2, largest=0)]
    found += [case("CumSum", IMAGE, scalar(axis), exclusive=axis % 2, reverse=axis // 2) for axis in (0, 1, 2, 3)]
    return found


def _moves() -> list[Case]:
    found = [
        *(case("Concat", *[IMAGE] * many, axis=axis) for many, axis in ((1, 0), (2, 1), (3, -1))),
        case("Concat", data(3), Like([1, 2]), axis=0),
        case("Split", IMAGE, ints(1, 2), outputs=2, axis=1),
        case("Split", IMAGE, outputs=2, axis=2),
        case("Split", IMAGE, outputs=3, axis=2, num_outputs=3, opset=18),
        case("Slice", IMAGE, ints(1), ints(3), ints(2)),
        case("Slice", IMAGE, ints(0, 0), ints(8, 8), ints(2, 3), ints(2, 2)),
        case("Slice", IMAGE, ints(-1), ints(-9), ints(3), ints(-1)),
        case("Slice", IMAGE, ints(1), ints(2**62), ints(-1)),
        case("Slice", IMAGE, ints(0, 0), ints(1, 2)),
        case("Slice", IMAGE, *(np.array([value], np.int32) for value in (1, 3, 2))),
        case("Slice", IMAGE, *(np.array([value], np.int32) for value in (1, 3, 2, 1))),
        *(case("Expand", x, ints(2, 3, 4)) for x in (data(3, 1), POINT, Like([[1], [2], [3]]))),
        *(case("Tile", *pair) for pair in ((data(2, 3), ints(2, 2)), (IMAGE, ints(1, 1, 2, 1)))),
        *(case("Reshape", IMAGE, ints(*to)) for to in ((1, -1), (0, 0, 64), (-1,), (3, 8, 8))),
        *(case("Reshape", *pair) for pair in ((data(1), ints()), (POINT, ints(1)), (RANK_8, ints(256)))),
        *(case("Transpose", IMAGE, perm=perm) for perm in ([0, 2, 3, 1], [3, 2, 1, 0])),
        case("Transpose", RANK_8),
        *(case("Flatten", IMAGE, axis=axis) for axis in (0, 1, -1, 4)),
        case("Squeeze", data(1, 3, 1), ints(0, -1)),
        case("Squeeze", data(1, 3, 1)),
        *(case("Unsqueeze", *pair) for pair in ((data(3), ints(0, -1)), (POINT, ints(0)))),
        *(case("Gather", IMAGE, where, axis=1) for where in (ints(0, 2), scalar(-1), ints(0, 1).reshape(2, 1))),
        *(case("Gather", x, data(2, 3, kind=INT64)) for x in (data(5, 4), Like(np.arange(10)))),
        *(case("GatherElements", data(2, 5), data(2, 3, kind=kind), axis=1) for kind in (INT64, INT32)),
        case("GatherND", data(2, 5), data(3, 2, kind=INT64)),
        case("GatherND", data(2, 5, 4), data(2, 3, 1, kind=INT64), batch_dims=1),
        *(case(op, x) for op in ("Identity", "Shape", "Size") for x in (IMAGE, LINE)),
        case("Constant", value=Like(np.ones((2, 3)))),
        case("ConstantOfShape", ints(2, 3), value=Like([1])),
        *(case("Cast", x, to=to) for x in (IMAGE, POINT) for to in (1, 10, INT32, INT64, BOOL)),
        *(case("Dropout", IMAGE, scalar(0.5, np.float32), np.array(flag)) for flag in (False, True)),
        case("Dropout", IMAGE),
        *(case("Trilu", data(2, 4, 5), scalar(k), upper=upper) for k, upper in ((0, 1), (-1, 0))),
        *(case("Range", Like(start), Like(end), Like(step)) for start, end, step in ((0, 5, 1), (5, 0, -2))),
        *(case("OneHot", data(2, 3, kind=kind), scalar(5), Like([0, 1])) for kind in (INT64, INT32, UINT8)),
        *(case("DepthToSpace", data(1, 8, 4, 4), blocksize=2, mode=mode) for mode in ("DCR", "CRD")),
        case("SpaceToDepth", IMAGE, blocksize=2),
    ]  # fmt: skip
    for opset in (16, 18):
        for reduction in ("none", "add", *(("max",) if opset == 18 else ())):
            places = data(2, 1, kind=INT64)
            found += [case("ScatterND", data(9), places, data(2), reduction=reduction, opset=opset)]
            places = data(2, 4, kind=INT64)
            found += [case("ScatterElements", data(3, 4), places, data(2, 4), reduction=reduction, opset=opset)]
    found += [case("ScatterND", data(3, 4), ints(0).reshape(1, 1), Like(np.ones((1, 4))))]
    for mode in ("constant", "reflect", "edge", "wrap"):
        for pads in ((0, 0, 1, 1, 0, 0, 1, 1), (0, 1, 0, 0, 0, 1, 0, 0), (0, 0, -1, 0, 0, 0, 0, 0)):
            found += [case("Pad", IMAGE, ints(*pads), mode=mode, opset=19)]
    found += [case("Pad", IMAGE, ints(0, 0, 1, 1, 0, 0, 1, 1), value) for value in (Like(3), POINT)]
    equations = ("ij,jk->ik", "bij,bjk->bik", "bhqd,bhkd->bhqk", "ij->ji", "ij,j->i", "ij,jk,kl->il")
    for equation in equations:
        terms = equation.split("->", maxsplit=1)[0].split(",")
        found += [
            case("Einsum", *(data(*(ord(letter) % 4 + 2 for letter in term)) for term in terms), equation=equation)
        ]
    return found


CASES = [*_element_wise(), *_activations(), *_layers(), *_sampling(), *_reductions(), *_moves()]
"""RoiAlign and quantisation have graphs of their own in the tests of both sides."""

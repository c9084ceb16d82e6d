"""Layers that compute with numbers where they are: two tensors, one, a sum along axes, matrix products."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from .conversion_state import Blob, Conversion
from .param_bin import LARGEST, Setting

BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5, "Pow": 6}
TURNED_ROUND = {"Sub": 7, "Div": 8, "Pow": 9}
"""Numbers of ncnn's BinaryOp; the second operand comes first in those turned round."""
UNARY = {"Abs": 0, "Neg": 1, "Floor": 2, "Ceil": 3, "Sqrt": 5, "Exp": 7, "Log": 8, "Reciprocal": 15, "Tanh": 16}
REDUCTIONS = {"ReduceSum": 0, "ReduceMean": 3, "ReduceMax": 4, "ReduceMin": 5, "ReduceL2": 8}

FUSED = {"Relu": 1, "LeakyRelu": 2, "Clip": 3, "HardSwish": 6}
"""What a convolution or product does to its sums itself."""
FUSING = ("Convolution", "ConvolutionDepthWise", "InnerProduct", "Deconvolution", "DeconvolutionDepthWise")
ACTIVATION = 9
"""Key of its number among their settings; its own settings come next."""
HARD_SWISH = (1 / 6, 0.5)


def binary(to: Conversion, node: onnx.NodeProto) -> None:
    """Two tensors, number by number; one may be a constant, and sizes of 1 are spread."""
    if len(node.input) != 2:
        raise to.refused(node, f"of {len(node.input)} tensors")
    kind, shape = node.op_type, to.shape(node.output[0])
    first, second = node.input
    for constant, other, turned in ((second, first, False), (first, second, True)):
        if to.is_constant(constant) and not to.is_constant(other):
            value = to.constant(constant)
            if value.size and (value == value.flat[0]).all() and value.ndim <= len(to.shapes[other]):
                number = TURNED_ROUND.get(kind, BINARY[kind]) if turned else BINARY[kind]
                settings: dict[int, Setting] = {0: number, 1: 1, 2: float(value.flat[0])}
                source = to.read(other)
                if source.shape != shape:
                    break
                (found,) = to.add("BinaryOp", [source], shape, settings=settings)
                to.hold(node.output[0], found)
                return
    operands = [_operand(to, name, len(shape)) for name in (first, second)]
    (found,) = to.add("BinaryOp", operands, shape, settings={0: BINARY[kind]})
    to.hold(node.output[0], found)


def _operand(to: Conversion, tensor: str, axes: int) -> Blob:
    """With as many axes as the other operand: what ncnn makes of fewer is not what ONNX does."""
    if not to.is_constant(tensor):
        blob = to.read(tensor)
        return to.reshaped(blob, (1,) * (axes - len(blob.shape)) + blob.shape)
    value = to.constant(tensor)
    sizes = (1,) * (axes + 1 - value.ndim) + value.shape
    return to.memory(value.reshape(sizes[-axes:]), tensor)


def unary(to: Conversion, node: onnx.NodeProto) -> None:
    """A function of each number."""
    _each(to, node, "UnaryOp", {0: UNARY[node.op_type]})


def activation(to: Conversion, node: onnx.NodeProto) -> None:
    """A function of each number, done by the convolution before it where that can."""
    settings = to.settings(node)
    layer = "ReLU"
    values: tuple[float, ...] = ()
    if node.op_type == "Clip":
        layer, values = "Clip", clip_bounds(to, node)
    elif node.op_type == "LeakyRelu":
        values = (float(settings.get("alpha", 0.01)),)
    elif node.op_type == "HardSwish":
        layer, values = "HardSwish", HARD_SWISH
    maker = to.maker(node.input[0])
    alone = to.network.only_reader(node.input[0]) is not None
    if alone and maker is not None and maker.kind in FUSING and ACTIVATION not in maker.settings:
        maker.settings[ACTIVATION] = FUSED[node.op_type]
        if values:
            maker.settings[ACTIVATION + 1] = values
        to.hold(node.output[0], to.read_flat(node.input[0]) or to.read(node.input[0]))
        return
    _each(to, node, layer, dict(enumerate(values)))


def clip_bounds(to: Conversion, node: onnx.NodeProto) -> tuple[float, float]:
    """Both bounds of a ``Clip``, the largest numbers where there are none."""
    settings = to.settings(node)
    bounds = [float(settings.get("min", -LARGEST)), float(settings.get("max", LARGEST))]
    for place, name in enumerate(node.input[1:3]):
        if name:
            if not to.is_constant(name):
                raise to.refused(node, "with bounds that the graph computes")
            bounds[place] = float(to.constant(name))
    return bounds[0], bounds[1]


def hard_sigmoid(to: Conversion, node: onnx.NodeProto) -> None:
    """``HardSigmoid``."""
    settings = to.settings(node)
    _each(to, node, "HardSigmoid", {0: float(settings.get("alpha", 0.2)), 1: float(settings.get("beta", 0.5))})


def elu(to: Conversion, node: onnx.NodeProto) -> None:
    """``Elu``."""
    _each(to, node, "ELU", {0: float(to.settings(node).get("alpha", 1.0))})


def prelu(to: Conversion, node: onnx.NodeProto) -> None:
    """``PRelu`` with one slope, or one for each channel."""
    if not to.is_constant(node.input[1]):
        raise to.refused(node, "with slopes that the graph computes")
    slopes, shape = to.constant(node.input[1]), to.shape(node.output[0])
    if slopes.size != 1 and slopes.shape[-len(shape) :] != (shape[0],) + (1,) * (len(shape) - 1):
        raise to.refused(node, f"with slopes {list(slopes.shape)}")
    (found,) = to.add(
        "PReLU", [to.read(node.input[0])], shape, settings={0: slopes.size}, plain=[slopes.reshape(-1)]
    )
    to.hold(node.output[0], found)


def named(kind: str) -> Callable[[Conversion, onnx.NodeProto], None]:
    """The converter of an operator without settings that ncnn has as the layer ``kind``."""
    return lambda to, node: _each(to, node, kind, {})


def softmax(to: Conversion, node: onnx.NodeProto) -> None:
    """``Softmax`` along one axis."""
    rank = len(to.shapes[node.input[0]])
    if to.network.opset < 13 and int(to.settings(node).get("axis", 1)) % rank != rank - 1:
        raise to.refused(node, "over several axes")
    axis = int(to.settings(node).get("axis", -1)) % rank
    if not axis:
        raise to.refused(node, "over images")
    (found,) = to.add("Softmax", [to.read(node.input[0])], to.shape(node.output[0]), settings={0: axis - 1, 1: 1})
    to.hold(node.output[0], found)


def reduction(to: Conversion, node: onnx.NodeProto) -> None:
    """Sums, means and extremes along axes."""
    rank = len(to.shapes[node.input[0]])
    axes = to.ints(node, 1, "axes")
    numbers = tuple(sorted(axis % rank - 1 for axis in axes)) if axes else tuple(range(rank - 1))
    if -1 in numbers or not axes:
        raise to.refused(node, "over images")
    source = to.read(node.input[0])
    kept = tuple(1 if axis in numbers else size for axis, size in enumerate(source.shape))
    settings: dict[int, Setting] = {0: REDUCTIONS[node.op_type], 1: 0, 3: numbers, 4: 1, 5: 1}
    (found,) = to.add("Reduction", [source], kept, settings=settings)
    to.hold(node.output[0], to.reshaped(found, to.shape(node.output[0])))


def matmul(to: Conversion, node: onnx.NodeProto) -> None:
    """``MatMul`` of two tensors, or of one with a constant matrix."""
    shape = to.shape(node.output[0])
    operands = []
    for name in node.input:
        if to.is_constant(name):
            value = to.constant(name)
            sizes = (1,) * (len(shape) + 1 - value.ndim) + value.shape
            operands.append(to.memory(value.reshape(sizes[-len(shape) :]), name))
        else:
            operands.append(to.read(name))
    if len({len(blob.shape) for blob in operands}) != 1 or len(shape) < 2:
        raise to.refused(node, f"of {' and '.join(str(list(blob.shape)) for blob in operands)}")
    (found,) = to.add("MatMul", operands, shape)
    to.hold(node.output[0], found)


def _each(to: Conversion, node: onnx.NodeProto, kind: str, settings: dict[int, Setting]) -> None:
    """A layer that keeps the shape, flat where its input is."""
    source = to.read_flat(node.input[0]) or to.read(node.input[0])
    (found,) = to.add(kind, [source], source.shape, settings=settings)
    to.hold(node.output[0], found)

"""What TensorRT's ONNX parser takes: versions, operators, element types, and the limits of single operators.

From the parser's own list of operators (github.com/onnx/onnx-tensorrt, docs/operators.md, releases 10.1 and 11.x),
TensorRT's ONNX opset guide and release notes, and NvInfer.h. Only what detectors use is listed: an operator that
is missing here is refused, which is the safe side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

FLOATS = frozenset([TensorProto.FLOAT, TensorProto.FLOAT16])
NUMBERS = FLOATS | {TensorProto.INT32, TensorProto.INT64}
BOOLS = frozenset([TensorProto.BOOL])
ANY = NUMBERS | BOOLS


@dataclass(frozen=True)
class ParserVersion:
    """One TensorRT release. ``scatter_reduction``: whether ScatterND may carry the attribute at all."""

    name: str
    first_opset: int
    last_opset: int
    scatter_reduction: bool


VERSIONS: dict[str, ParserVersion] = {
    "10.3": ParserVersion("10.3", 9, 20, scatter_reduction=False),
    # Later opsets are parsed in part; what edgedet writes ends at 20 for the sake of 10.3.
    "10.16": ParserVersion("10.16", 9, 20, scatter_reduction=True),
    "11.4": ParserVersion("11.4", 9, 25, scatter_reduction=True),
}
"""JetPack 6 has 10.3 and stays there; 10.16 is JetPack 7's; 11.4 is the newest."""

OPERATORS: dict[str, frozenset[int]] = {
    # element-wise
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Min", "Max", "Neg", "Abs", "Sum", "Mod"), NUMBERS),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), NUMBERS),
    **dict.fromkeys(("And", "Or", "Not", "Xor"), BOOLS),
    **dict.fromkeys(("Exp", "Log", "Sqrt", "Pow", "Erf", "Floor", "Ceil", "Round", "Reciprocal"), FLOATS),
    **dict.fromkeys(("IsNaN", "IsInf", "Sin", "Cos"), FLOATS),
    "Sign": NUMBERS,
    "Where": ANY,
    "Clip": NUMBERS,
    # activations
    **dict.fromkeys(
        ("Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "LeakyRelu", "PRelu", "Elu", "Selu", "Softplus", "Gelu"),
        FLOATS,
    ),
    **dict.fromkeys(("Mish", "ThresholdedRelu", "Softmax", "LogSoftmax"), FLOATS),
    "Relu": NUMBERS,
    # layers
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), FLOATS),
    **dict.fromkeys(tuple(f"{kind}Normalization" for kind in ("Batch", "Instance", "Layer", "Group")), FLOATS),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "RoiAlign"), FLOATS),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), FLOATS),
    # reductions and order
    **dict.fromkeys(
        ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ArgMax", "ArgMin", "TopK"), NUMBERS
    ),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "CumSum"), FLOATS),
    # moving things about
    **dict.fromkeys(("Concat", "Split", "Slice", "Expand", "Tile"), ANY),
    **dict.fromkeys(("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"), ANY),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterND", "ScatterElements"), ANY),
    **dict.fromkeys(("Identity", "Constant", "ConstantOfShape", "Shape", "Size", "Cast", "Dropout", "Trilu"), ANY),
    "Pad": NUMBERS,
    "Range": NUMBERS,
    "OneHot": NUMBERS,
    "DepthToSpace": FLOATS | {TensorProto.INT32},
    "SpaceToDepth": FLOATS | {TensorProto.INT32},
    "Einsum": FLOATS,
}  # fmt: skip
"""Operator to the element types of its tensors; indices, shapes and quantised values have rules of their own."""

DATA_DEPENDENT: dict[str, str] = {
    "NonMaxSuppression": "its output depends on the picture, which stops CUDA graphs; export with --nms runtime",
    "NonZero": "its output's size depends on the picture; write a mask and a TopK instead",
    "If": "a branch at run time stops a CUDA graph, and 10.3 wants equal shapes on both sides; decide it at export",
    "Loop": "a loop at run time stops a CUDA graph; unroll it at export",
    "Scan": "a loop at run time stops a CUDA graph; unroll it at export",
}
"""What the parser would take, but an engine of fixed shapes that is replayed as one CUDA graph cannot hold."""

UNSUPPORTED: dict[str, str] = {
    "Compress": "write a mask and a TopK instead",
    "Unique": "do it after the network",
    "MaxRoiPool": "use RoiAlign",
    "MaxUnpool": "use Resize",
    "QLinearConv": "use QuantizeLinear and DequantizeLinear (export with --int8 --target tensorrt)",
    "QLinearMatMul": "use QuantizeLinear and DequantizeLinear (export with --int8 --target tensorrt)",
    "ConvInteger": "use QuantizeLinear and DequantizeLinear (export with --int8 --target tensorrt)",
    "DynamicQuantizeLinear": "TensorRT knows constant scales only; export with --int8 --target tensorrt",
    "EfficientNMS_TRT": "the plugin is no ONNX operator since TensorRT 10.16; export with --nms runtime",
    "EfficientNMS_ONNX_TRT": "the plugin is gone since TensorRT 10.16; export with --nms runtime",
    "BatchedNMS_TRT": "the plugin is gone since TensorRT 11; export with --nms runtime",
}
"""What a user may well come with, and what to do about it."""

LARGEST_K = 3840
LARGEST_RANK = 8


@dataclass(frozen=True)
class GraphFacts:
    """Element type and static shape of every tensor (None: unknown), and the values of constants."""

    types: dict[str, int]
    shapes: dict[str, tuple[int | None, ...]]
    constants: dict[str, NDArray[np.generic]]
    opset: int


Limit = Callable[[onnx.NodeProto, GraphFacts, ParserVersion], Iterator[str]]


def attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    """An attribute's value, strings decoded."""
    for item in node.attribute:
        if item.name == name:
            value = helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return default


def _top_k(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    k = facts.constants.get(node.input[1]) if len(node.input) > 1 else None
    if len(node.input) > 1 and k is None:
        yield "K is computed, expected a constant"
    elif k is not None and int(k.reshape(-1)[0]) > LARGEST_K:
        yield f"K is {int(k.reshape(-1)[0])}, TensorRT takes at most {LARGEST_K}"
    if attribute(node, "sorted", 1) != 1:
        yield "sorted is 0, expected 1"


def _resize(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    mode = attribute(node, "mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        yield f"mode {mode}, expected nearest, linear or cubic"
    if attribute(node, "antialias", 0):
        yield "antialias is not supported"
    if attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        yield "keep_aspect_ratio_policy is not supported"
    coordinates = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if coordinates in ("tf_crop_and_resize", "half_pixel_symmetric"):
        yield f"coordinate_transformation_mode {coordinates} is not supported"
    if not any(name in facts.constants for name in node.input[1:] if name):
        yield "scales or sizes are computed, expected constants"


def _scatter_nd(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    if not version.scatter_reduction and any(item.name == "reduction" for item in node.attribute):
        yield "the attribute reduction is refused, even as none"
    elif attribute(node, "reduction", "none") != "none":
        yield f"reduction {attribute(node, 'reduction', 'none')} is not supported"


def _convolution(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    shape = facts.shapes.get(node.input[0])
    if shape is not None and len(shape) not in (4, 5):
        yield f"input of rank {len(shape)}, expected two or three spatial dimensions"


def _max_pool(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    if len(node.output) > 1 and node.output[1]:
        yield "the second output (Indices) is not supported"
    if any(step != 1 for step in attribute(node, "dilations", ()) or ()):  # type: ignore[attr-defined]
        yield "dilations are not supported"
    yield from _convolution(node, facts, version)


def _average_pool(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    if any(step != 1 for step in attribute(node, "dilations", ()) or ()):  # type: ignore[attr-defined]
        yield "dilations are not supported"
    yield from _convolution(node, facts, version)


def _roi_align(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    features, rois = (facts.types.get(name) for name in node.input[:2])
    if features != rois:
        yield "rois and features must have one type"
    if attribute(node, "mode", "avg") not in ("avg", "max"):
        yield f"mode {attribute(node, 'mode', 'avg')}, expected avg or max"


def _pad(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    mode = attribute(node, "mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        yield f"mode {mode}, expected constant, reflect or edge"
    if len(node.input) > 1 and node.input[1] not in facts.constants:
        yield "pads are computed, expected constants"


def _constant_second(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    if len(node.input) > 1 and node.input[1] and node.input[1] not in facts.constants:
        yield f"{node.input[1]} is computed, expected a constant"


def _one_hot(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    yield from _constant_second(node, facts, version)


def _quantisation(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    scale = facts.constants.get(node.input[1])
    if scale is None:
        yield "the scale is computed, expected a constant"
    elif not (np.isfinite(scale.astype(np.float32)).all() and (scale.astype(np.float32) > 0).all()):
        yield "the scale must be above 0"
    zero = facts.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if zero is None:
        yield "no zero point, so the type is uint8; expected int8 zeros"
    elif zero.dtype != np.int8 or np.any(zero):
        yield f"zero point is {zero.dtype} {zero.reshape(-1)[0]}, expected int8 0 (symmetric)"
    weights = node.input[0] in facts.constants
    if scale is not None and scale.size > 1 and node.op_type == "QuantizeLinear" and not weights:
        yield "an activation with one scale per channel; expected one scale"


LIMITS: dict[str, Limit] = {
    "TopK": _top_k,
    "Resize": _resize,
    "ScatterND": _scatter_nd,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "RoiAlign": _roi_align,
    "Pad": _pad,
    "CumSum": _constant_second,
    "OneHot": _one_hot,
    "Expand": _constant_second,
    "Tile": _constant_second,
    "Reshape": _constant_second,
    "QuantizeLinear": _quantisation,
    "DequantizeLinear": _quantisation,
}
"""Operator to the check of its attributes and inputs."""

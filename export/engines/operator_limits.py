"""What TensorRT's ONNX parser and builder take: operators, element types, and the limits of single operators.

From the parser's own list of operators (github.com/onnx/onnx-tensorrt, docs/operators.md, releases 10.1 and 11.x),
TensorRT's ONNX opset guide and release notes, NvInfer.h, and what TensorRT-RTX 1.7 refuses
(``tests/export/engines/test_real_builder.py``). Only what detectors use is listed: an operator that is missing here
is refused, which is the safe side. Where libraries differ is said in :mod:`edgedet.export.engines.parser_versions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .parser_versions import ParserVersion

FLOATS = frozenset([TensorProto.FLOAT, TensorProto.FLOAT16])
NUMBERS = FLOATS | {TensorProto.INT32, TensorProto.INT64}
BOOLS = frozenset([TensorProto.BOOL])
ANY = NUMBERS | BOOLS

OPERATORS: dict[str, frozenset[int]] = {
    # element-wise
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Min", "Max", "Neg", "Abs", "Mod"), NUMBERS),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), NUMBERS),
    **dict.fromkeys(("And", "Or", "Not", "Xor"), BOOLS),
    **dict.fromkeys(("Exp", "Log", "Sqrt", "Pow", "Erf", "Floor", "Ceil", "Round", "Reciprocal"), FLOATS),
    **dict.fromkeys(("IsNaN", "IsInf", "Sin", "Cos", "Sum"), FLOATS),
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
    "GridSample": FLOATS,
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
    **dict.fromkeys(("Identity", "Constant", "ConstantOfShape", "Shape", "Size", "Cast", "Trilu"), ANY),
    "Pad": NUMBERS,
    "Range": NUMBERS - {TensorProto.FLOAT16},
    "Dropout": FLOATS,
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

SYMMETRIC = "export with --int8 --target tensorrt"

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
        # The parser takes it; the builder does not.
        yield (
            f"K is {int(k.reshape(-1)[0])}, TensorRT takes at most {LARGEST_K}; keep fewer candidates, or choose "
            "from parts and then from those"
        )
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
    interpolated = {"linear": 3, "cubic": 2}.get(str(mode))
    changed = _resized_axes(node, facts)
    if interpolated is not None and changed and changed[-1] > interpolated:
        yield f"{mode} along axis -{changed[-1]}, expected the last {interpolated} axes only"


def _resized_axes(node: onnx.NodeProto, facts: GraphFacts) -> list[int]:
    """Axes that change their size, counted from the back (1 is the last), in order."""
    before, after = (facts.shapes.get(name) for name in (node.input[0], node.output[0]))
    if before is None or after is None or len(before) != len(after):
        return []
    changed = {
        len(before) - axis for axis, pair in enumerate(zip(before, after, strict=True)) if len(set(pair)) > 1
    }
    scales = facts.constants.get(node.input[2]) if len(node.input) > 2 else None
    if scales is not None and scales.size == len(before):
        # The parser looks at the factors: 1.01 may leave a size as it is.
        changed |= {len(before) - axis for axis, factor in enumerate(scales.reshape(-1)) if factor != 1}
    return sorted(changed)


def _grid_sample(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    features, grid = node.input[:2]
    if facts.types.get(features) != facts.types.get(grid):
        yield "points and features must have one type"
    shape = facts.shapes.get(features)
    if shape is not None and len(shape) != 4:
        yield f"input of rank {len(shape)}, expected 4"
    if attribute(node, "mode", "bilinear") not in ("bilinear", "nearest", "bicubic"):
        # 10.1 reads opset 20's names, "linear" and "cubic", as nearest, and says nothing.
        yield f"mode {attribute(node, 'mode', '')} is opset 20's name, which 10.x takes for nearest; use opset 16"


def _scatter_nd(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    reduction = attribute(node, "reduction", "none")
    if reduction != "none":
        yield f"reduction {reduction} is not supported; add, multiply or compare what is scattered in its own nodes"
    elif not version.names_scatter_reduction and any(item.name == "reduction" for item in node.attribute):
        yield "the attribute reduction is refused, even as none"


def _scatter_elements(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    reduction = attribute(node, "reduction", "none")
    if reduction != "none" and not version.reducing_scatter:
        yield f"reduction {reduction} needs a plugin that is not in this library; reduce in nodes of its own"


def _relu(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    if facts.types.get(node.input[0]) == TensorProto.INT32 and not version.int32_relu:
        yield f"{node.input[0]} is int32; use Max with 0"


def _mod(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    if facts.types.get(node.input[0]) in FLOATS and not attribute(node, "fmod", 0):
        yield "of floats with fmod 0, expected 1"


def _two_axes(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    shape = facts.shapes.get(node.input[0])
    if shape is not None and len(shape) < 2:
        yield f"{node.input[0]} has rank {len(shape)}, expected 2 or more; put an axis of 1 in front (Unsqueeze)"


def _slice(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    """Constant int32 bounds have a way of their own through the parser, which expects a step for every axis."""
    starts, shape = (facts.constants.get(name) for name in node.input[1:2]), facts.shapes.get(node.input[0])
    found = next(starts, None)
    if found is None or shape is None or found.size == len(shape):
        return
    if len(node.input) < 4 or not node.input[3]:
        yield f"{found.size} bounds for {len(shape)} axes, and none named; name the axes"
    elif found.dtype == np.int32 and (len(node.input) < 5 or not node.input[4]):
        yield "bounds are int32 and no steps are given; use int64, or give the steps"


def _no_training(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    training = attribute(node, "training_mode", 0)
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        training = facts.constants.get(node.input[2], np.array(True)).any()
    if training:
        yield "it is in training mode; export the network in evaluation mode"


def _one_output(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    if any(node.output[1:]):
        yield "only the first output is supported"


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
    if facts.types.get(node.input[0], TensorProto.INT64) not in NUMBERS:
        yield f"{node.input[0]} is neither a float nor int32 or int64; cast it first"


def _quantisation(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion) -> Iterator[str]:
    scale = facts.constants.get(node.input[1])
    if scale is None:
        yield "the scale is computed, expected a constant"
    elif not (np.isfinite(scale.astype(np.float32)).all() and (scale.astype(np.float32) > 0).all()):
        yield "the scale must be above 0"
    zero = facts.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    # A uint8 zero of 0 is taken with a warning, and quantised as int8: everything above half the range is cut off.
    if zero is None:
        yield f"no zero point, so the type is uint8; expected int8 zeros: {SYMMETRIC}"
    elif zero.dtype != np.int8 or np.any(zero):
        worst = max(zero.reshape(-1).tolist(), key=abs, default=0)
        yield f"zero point is {zero.dtype} {worst}, expected int8 0 (symmetric): {SYMMETRIC}"
    weights = node.input[0] in facts.constants
    if scale is not None and scale.size > 1 and node.op_type == "QuantizeLinear" and not weights:
        yield "an activation with one scale per channel; expected one scale"


LIMITS: dict[str, Limit] = {
    "TopK": _top_k,
    "Resize": _resize,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "GridSample": _grid_sample,
    "Relu": _relu,
    "Mod": _mod,
    "Slice": _slice,
    **dict.fromkeys(("Softmax", "LogSoftmax", "ArgMax", "ArgMin"), _two_axes),
    **dict.fromkeys(("BatchNormalization", "Dropout"), _no_training),
    "LayerNormalization": _one_output,
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

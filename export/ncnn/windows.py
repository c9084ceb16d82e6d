"""Layers that look through a window or change the size of maps: convolutions, pooling, resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .conversion_state import Conversion
from .param_bin import Setting


def convolution(to: Conversion, node: onnx.NodeProto) -> None:
    """``Conv`` of maps, grouped or not."""
    weight, bias = _weights(to, node)
    settings = to.settings(node)
    group = int(settings.get("group", 1))
    top, left, bottom, right = _pads(to, node, settings)
    strides, dilations = _pair(settings, "strides"), _pair(settings, "dilations")
    shape = to.shape(node.output[0])
    flat = to.read_flat(node.input[0])
    if flat is not None and group == 1 and weight.shape[2:] == (1, 1) and (top, left, bottom, right) == (0,) * 4:
        values: dict[int, Setting] = {0: shape[0], 1: int(bias is not None), 2: weight.size}
        (found,) = to.add("InnerProduct", [flat], shape[:1], settings=values, tagged=weight, plain=_some(bias))
        to.hold(node.output[0], found)
        return
    values = {
        **{0: shape[0], 1: weight.shape[3], 11: weight.shape[2], 2: dilations[1], 12: dilations[0]},
        **{3: strides[1], 13: strides[0], 4: left, 14: top, 15: right, 16: bottom},
        **{5: int(bias is not None), 6: weight.size},
    }
    kind = "Convolution"
    if group > 1:
        kind, values[7] = "ConvolutionDepthWise", group
    (found,) = to.add(kind, [to.read(node.input[0])], shape, settings=values, tagged=weight, plain=_some(bias))
    to.hold(node.output[0], found)


def transposed_convolution(to: Conversion, node: onnx.NodeProto) -> None:
    """``ConvTranspose`` of maps, grouped or not."""
    weight, bias = _weights(to, node)
    settings = to.settings(node)
    if "output_shape" in settings:
        raise to.refused(node, "to a given size")
    group = int(settings.get("group", 1))
    top, left, bottom, right = _pads(to, node, settings)
    strides, dilations = _pair(settings, "strides"), _pair(settings, "dilations")
    more = _pair(settings, "output_padding", 0)
    shape = to.shape(node.output[0])
    # ONNX has inputs first, ncnn the outputs of each group.
    inputs, outputs = weight.shape[:2]
    grouped = weight.reshape(group, inputs // group, outputs, *weight.shape[2:]).swapaxes(1, 2)
    values: dict[int, Setting] = {
        **{0: shape[0], 1: weight.shape[3], 11: weight.shape[2], 2: dilations[1], 12: dilations[0]},
        **{3: strides[1], 13: strides[0], 4: left, 14: top, 15: right, 16: bottom},
        **{5: int(bias is not None), 6: weight.size, 18: more[1], 19: more[0]},
    }
    kind = "Deconvolution"
    if group > 1:
        kind, values[7] = "DeconvolutionDepthWise", group
    (found,) = to.add(kind, [to.read(node.input[0])], shape, settings=values, tagged=grouped, plain=_some(bias))
    to.hold(node.output[0], found)


def pooling(to: Conversion, node: onnx.NodeProto) -> None:
    """``MaxPool`` and ``AveragePool``; windows beyond the edge (``ceil_mode``) of maxima alone."""
    settings = to.settings(node)
    kernel = _pair(settings, "kernel_shape")
    top, left, bottom, right = _pads(to, node, settings)
    strides = _pair(settings, "strides")
    if _pair(settings, "dilations") != (1, 1) or len(node.output) > 1:
        raise to.refused(node, "with dilations or places")
    source, shape = to.read(node.input[0]), to.shape(node.output[0])
    average = node.op_type == "AveragePool"
    sizes = (source.shape[1] + top + bottom, source.shape[2] + left + right)
    steps = [divmod(size - window, step) for size, window, step in zip(sizes, kernel, strides, strict=True)]
    inside = shape[1:] == tuple(whole + 1 for whole, _ in steps)
    # ncnn fills up the last windows of maxima with the smallest number, as ONNX does; those of means otherwise.
    if not inside and (average or shape[1:] != tuple(whole + 1 + (more > 0) for whole, more in steps)):
        raise to.refused(node, "with windows beyond the edge (ceil_mode)")
    values: dict[int, Setting] = {
        **{0: int(average), 1: kernel[1], 11: kernel[0], 2: strides[1], 12: strides[0], 5: int(inside)},
        **{3: left, 13: top, 14: right, 15: bottom, 6: int(settings.get("count_include_pad", 0))},
    }
    (found,) = to.add("Pooling", [source], shape, settings=values)
    to.hold(node.output[0], found)


def global_pooling(to: Conversion, node: onnx.NodeProto) -> None:
    """``GlobalAveragePool`` and ``GlobalMaxPool``: a flat blob."""
    values: dict[int, Setting] = {0: int(node.op_type == "GlobalAveragePool"), 4: 1}
    source = to.read(node.input[0])
    (found,) = to.add("Pooling", [source], source.shape[:1], settings=values)
    to.hold(node.output[0], found)


def resize(to: Conversion, node: onnx.NodeProto) -> None:
    """``Resize`` of maps, to the nearest pixel or bilinear, where ncnn's rule and ONNX's give the same."""
    settings = to.settings(node)
    mode = settings.get("mode", b"nearest").decode()
    places = settings.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = settings.get("nearest_mode", b"round_prefer_floor").decode()
    before, after = to.shape(node.input[0]), to.shape(node.output[0])
    if len(before) != 3 or before[0] != after[0] or int(settings.get("antialias", 0)):
        raise to.refused(node, "of other axes than height and width, or with antialias")
    whole = all(big % small == 0 for small, big in zip(before[1:], after[1:], strict=True))
    values: dict[int, Setting] = {3: after[1], 4: after[2]}
    if mode == "nearest":
        # By a whole factor these all repeat each pixel.
        same = (places, rounding) in {
            ("asymmetric", "floor"),
            ("half_pixel", "round_prefer_floor"),
            ("half_pixel", "round_prefer_ceil"),
        }
        if not (whole and same):
            raise to.refused(node, f"to the nearest pixel by {places}, {rounding}")
        values[0] = 1
    elif mode == "linear" and places in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        if places == "pytorch_half_pixel" and 1 in after[1:]:
            raise to.refused(node, "to a single row")
        values |= {0: 2, 6: int(places == "align_corners")}
    else:
        raise to.refused(node, f"{mode} by {places}")
    (found,) = to.add("Interp", [to.read(node.input[0])], after, settings=values)
    to.hold(node.output[0], found)


def space_to_depth(to: Conversion, node: onnx.NodeProto) -> None:
    """``SpaceToDepth``: blocks become channels, the place in the block before the channel."""
    values: dict[int, Setting] = {0: int(to.settings(node)["blocksize"]), 1: 1}
    (found,) = to.add("Reorg", [to.read(node.input[0])], to.shape(node.output[0]), settings=values)
    to.hold(node.output[0], found)


def pad(to: Conversion, node: onnx.NodeProto) -> None:
    """``Pad`` of height and width."""
    settings = to.settings(node)
    mode = settings.get("mode", b"constant").decode()
    pads = to.ints(node, 1, "pads") or []
    value = settings.get("value", 0.0)
    if len(node.input) > 2 and node.input[2]:
        value = float(to.constant(node.input[2]))
    if len(node.input) > 3 and node.input[3]:
        raise to.refused(node, "of chosen axes")
    kinds = {"constant": 0, "edge": 1, "reflect": 2}
    if mode not in kinds or len(pads) != 8 or any(pads[axis] for axis in (0, 1, 4, 5)) or min(pads) < 0:
        raise to.refused(node, f"{mode} of {pads}")
    values: dict[int, Setting] = {0: pads[2], 1: pads[6], 2: pads[3], 3: pads[7], 4: kinds[mode], 5: float(value)}
    (found,) = to.add("Padding", [to.read(node.input[0])], to.shape(node.output[0]), settings=values)
    to.hold(node.output[0], found)


def _weights(to: Conversion, node: onnx.NodeProto) -> tuple[Any, Any]:
    """Weights and biases, None where there are none."""
    names = [name for name in node.input[1:] if name]
    if not all(map(to.is_constant, names)):
        raise to.refused(node, "with weights that the graph computes")
    weight = to.constant(names[0])
    if weight.ndim != 4:
        raise to.refused(node, f"of {weight.ndim - 2} axes")
    return weight, to.constant(names[1]) if len(names) > 1 else None


def _some(bias: Any) -> tuple[Any, ...]:
    return () if bias is None else (bias,)


def _pair(settings: dict[str, Any], name: str, otherwise: int = 1) -> tuple[int, int]:
    first, second = settings.get(name, (otherwise, otherwise))
    return int(first), int(second)


def _pads(to: Conversion, node: onnx.NodeProto, settings: dict[str, Any]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right."""
    if settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise to.refused(node, "with auto_pad")
    top, left, bottom, right = np.array(settings.get("pads", (0, 0, 0, 0))).tolist()
    return top, left, bottom, right

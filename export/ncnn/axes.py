"""Layers that move numbers and compute nothing: axes, shapes, parts and joins of tensors."""

from __future__ import annotations

import onnx

from .conversion_state import Blob, Conversion
from .param_bin import Setting

ORDERS = {
    2: "wh hw",
    3: "whc hwc wch cwh hcw chw",
    4: "whdc hwdc wdhc dwhc hdwc dhwc whcd hwcd wchd cwhd hcwd chwd "
    "wdch dwch wcdh cwdh dcwh cdwh hdcw dhcw hcdw chdw dchw cdhw",
}
"""ncnn's ways to order axes, by their number: what becomes width, height, (depth,) channels."""
AXES = {2: "hw", 3: "chw", 4: "cdhw"}
"""Axes of blobs in the order of the tensor's."""


def transpose(to: Conversion, node: onnx.NodeProto) -> None:
    """``Transpose``; several in a row are done at once, and none where they undo each other."""
    rank = len(to.shapes[node.input[0]])
    order = list(to.settings(node).get("perm", range(rank)[::-1]))
    if order[0] != 0:
        raise to.refused(node, "of images")
    to.hold(node.output[0], moved(to, to.read(node.input[0]), tuple(axis - 1 for axis in order[1:])))


def moved(to: Conversion, blob: Blob, order: tuple[int, ...]) -> Blob:
    """``blob`` with its axes in another order: axis ``i`` was ``order[i]``."""
    source = blob
    if blob.moved is not None:
        source, before = blob.moved
        order = tuple(before[axis] for axis in order)
    if order == tuple(range(len(order))):
        return source
    shape = tuple(source.shape[axis] for axis in order)
    if [axis for axis in order if source.shape[axis] > 1] == [
        axis for axis in range(len(order)) if source.shape[axis] > 1
    ]:
        return to.reshaped(source, shape)
    letters = "".join(AXES[len(order)][axis] for axis in order[::-1])
    number = ORDERS[len(order)].split().index(letters)
    (found,) = to.add("Permute", [source], shape, settings={0: number})
    return Blob(found.name, shape, (source, order))


def reshape(to: Conversion, node: onnx.NodeProto) -> None:
    """``Reshape``, ``Flatten``, ``Squeeze`` and ``Unsqueeze``: the shape is the graph's."""
    to.hold(node.output[0], to.reshaped(to.read(node.input[0]), to.shape(node.output[0])))


def same(to: Conversion, node: onnx.NodeProto) -> None:
    """``Identity``, and ``Cast`` of what is read as floats anyway.

    Raises:
        ExportError: a cast to anything else.
    """
    if node.op_type == "Cast" and int(to.settings(node)["to"]) != onnx.TensorProto.FLOAT:
        raise to.refused(node, "to another type than float")
    to.hold(node.output[0], to.read(node.input[0]))


def concat(to: Conversion, node: onnx.NodeProto) -> None:
    """``Concat`` along any axis but that of the images."""
    shape = to.shape(node.output[0])
    axis = int(to.settings(node)["axis"]) % (len(shape) + 1) - 1
    if axis < 0:
        raise to.refused(node, "of images")
    (found,) = to.add("Concat", [to.read(name) for name in node.input], shape, settings={0: axis})
    to.hold(node.output[0], found)


def split(to: Conversion, node: onnx.NodeProto) -> None:
    """``Split`` along any axis but that of the images."""
    source = to.read(node.input[0])
    axis = int(to.settings(node).get("axis", 0)) % (len(source.shape) + 1) - 1
    if axis < 0:
        raise to.refused(node, "of images")
    shapes = [to.shape(name) for name in node.output]
    sizes = tuple(shape[axis] for shape in shapes)
    if len(shapes) == 1:
        to.hold(node.output[0], source)
        return
    found = to.add("Slice", [source], *shapes, settings={0: sizes, 1: axis})
    for name, blob in zip(node.output, found, strict=True):
        to.hold(name, blob)


def cut(to: Conversion, node: onnx.NodeProto) -> None:
    """``Slice`` without steps."""
    source = to.read(node.input[0])
    starts, ends = to.ints(node, 1, "starts"), to.ints(node, 2, "ends")
    assert starts is not None and ends is not None
    axes = to.ints(node, 3, "axes") or list(range(len(starts)))
    steps = to.ints(node, 4) or [1] * len(starts)
    if set(steps) != {1}:
        raise to.refused(node, f"with steps {steps}")
    places = [axis % (len(source.shape) + 1) - 1 for axis in axes]
    shape = to.shape(node.output[0])
    if -1 in places:
        raise to.refused(node, "of images")
    begins, stops, kept = [], [], []
    for axis, start, end in zip(places, starts, ends, strict=True):
        size = source.shape[axis]
        begin = max(min(start + size if start < 0 else start, size), 0)
        stop = max(min(end + size if end < 0 else end, size), 0)
        if (begin, stop) != (0, size):
            begins.append(begin)
            stops.append(stop)
            kept.append(axis)
    if not kept:
        to.hold(node.output[0], source)
        return
    settings: dict[int, Setting] = {9: tuple(begins), 10: tuple(stops), 11: tuple(kept)}
    (found,) = to.add("Crop", [source], shape, settings=settings)
    to.hold(node.output[0], found)

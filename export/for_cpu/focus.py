"""YOLOX's first layer without its slices: a convolution of four slices is one of the picture, in steps of two.

"Focus" puts every second pixel of every second row into planes of their own, for the four places where to begin,
and convolves the twelve planes 3 x 3. That is a convolution of the picture 6 x 6 in steps of two: the same
products, summed in another order. YOLOv5 went that way itself; without slices the first convolution reads the
pixels as they lie in memory (:mod:`~edgedet.export.for_cpu.interleaved`).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.onnx_graph.network import Network, attributes
from edgedet.onnx_graph.rewriting import with_nodes

STEP = 2
ROWS, COLUMNS = 2, 3
"""Axes of [N, C, H, W]."""


def convolve_picture(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take the slices away, in place; graphs without such a layer stay as they are.

    The shapes of ``model`` must be inferred and static.
    """
    network = Network(model)
    shapes = network.shapes()
    for convolution in model.graph.node:
        joined = network.producer.get(convolution.input[0]) if convolution.op_type == "Conv" else None
        if joined is None or joined.op_type != "Concat" or attributes(joined).get("axis") != 1:
            continue
        found = [_begins(network, shapes, name) for name in joined.input]
        places = [each[1] for each in found if each is not None]
        images = {each[0] for each in found if each is not None}
        if len(images) != 1 or sorted(places) != [(0, 0), (0, 1), (1, 0), (1, 1)] or len(found) != len(places):
            continue
        (image,) = images
        _, channels, height, width = shapes[image]
        if height % STEP or width % STEP or not _is_plain(network, convolution, len(places) * channels):
            continue
        return _exchanged(network, convolution, image, places)
    return model


def _begins(network: Network, shapes: dict[str, tuple[int, ...]], name: str) -> tuple[str, tuple[int, int]] | None:
    """Source of a slice of every second pixel of every second row, and its first row and column."""
    begins: dict[int, int] = {}
    while (node := network.producer.get(name)) is not None and node.op_type == "Slice":
        given = [network.constant(each).tolist() for each in node.input[1:] if each in network.constants]
        if len(node.input) != 5 or len(given) != 4:
            return None
        sizes = shapes.get(node.input[0], ())
        for start, end, axis, step in zip(*given, strict=True):
            if axis in begins or axis not in (ROWS, COLUMNS) or len(sizes) != 4:
                return None
            if step != STEP or start not in range(STEP) or end < sizes[axis]:
                return None
            begins[axis] = start
        name = node.input[0]
    if begins.keys() != {ROWS, COLUMNS} or not all(shapes.get(name, (0,))):
        return None
    return name, (begins[ROWS], begins[COLUMNS])


def _is_plain(network: Network, convolution: onnx.NodeProto, channels: int) -> bool:
    settings = attributes(convolution)
    weight = network.constants.get(convolution.input[1])
    return (
        weight is not None
        and weight.data_type == onnx.TensorProto.FLOAT
        and len(weight.dims) == 4
        and weight.dims[1] == channels
        and settings.get("group", 1) == 1
        and set(settings.get("strides", [1])) == {1}
        and set(settings.get("dilations", [1])) == {1}
        and settings.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def _exchanged(
    network: Network, convolution: onnx.NodeProto, image: str, places: list[tuple[int, int]]
) -> onnx.ModelProto:
    model = network.model
    kernel = network.constant(convolution.input[1])
    outputs, planes, height, width = kernel.shape
    channels = planes // len(places)
    whole = np.zeros((outputs, channels, STEP * height, STEP * width), np.float32)
    for number, (row, column) in enumerate(places):
        whole[:, :, row::STEP, column::STEP] = kernel[:, number * channels : (number + 1) * channels]
    name = f"{convolution.input[1]}/whole"
    model.graph.initializer.append(numpy_helper.from_array(whole, name))
    pads = attributes(convolution).get("pads", [0, 0, 0, 0])
    node = helper.make_node(
        "Conv",
        [image, name, *convolution.input[2:]],
        list(convolution.output),
        name=convolution.name,
        dilations=[1, 1],
        group=1,
        kernel_shape=list(whole.shape[2:]),
        strides=[STEP, STEP],
        pads=[STEP * number for number in pads],
    )
    nodes = [node if each is convolution else each for each in model.graph.node]
    # Slices, and what joined them, that serve nobody any more: readers come after what they read.
    read = {output.name for output in model.graph.output}
    kept = []
    for each in reversed(nodes):
        if each.op_type not in ("Slice", "Concat") or read.intersection(each.output):
            kept.append(each)
            read.update(each.input)
    return with_nodes(model, kept[::-1])

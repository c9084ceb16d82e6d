"""The first convolution on the pixels as they lie in memory, for CPUs: no transposition to colour planes.

A row of W pixels of three colours is a row of 3 W numbers, and a convolution of three colour planes is one of a
single plane of those rows: its kernel three times as wide, the colours of a pixel beside each other, moved by three
times the stride. Same multiplications, same sums; what goes is a transposition that on two cores takes as long as
the first convolution of a light backbone (docs/decisions/007). TensorRT has kernels for three planes, so its graphs
keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.onnx_graph.network import Array, Network, attributes
from edgedet.onnx_graph.rewriting import with_nodes

COLOURS = 3
PLANES, ROWS = "input/nchw", "input/interleaved"
"""The node that makes colour planes of the image, and the one that takes its place."""
MARK = "/interleaved"
"""Constants of theirs have this behind their name."""


def read_interleaved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let the first convolution read rows of pixels, in place, where only centring and padding lie before it.

    The shapes of ``model`` must be inferred and static. Graphs that begin otherwise stay as they are.
    """
    path = _path(model, PLANES)
    if not path:
        return model
    sizes = _shape(model, path[0].input[0])
    if len(sizes) != 4 or not all(sizes):
        return model
    batch, height, width, _ = sizes
    shape = numpy_helper.from_array(np.array([batch, 1, height, COLOURS * width]), ROWS + "/shape")
    model.graph.initializer.append(shape)
    start = helper.make_node("Reshape", [path[0].input[0], shape.name], list(path[0].output), name=ROWS)
    return _exchange(
        model,
        path,
        start,
        rename=lambda name: name + MARK,
        columns=lambda number: number * COLOURS,
        centre=lambda value: np.tile(value.ravel(), width),
        kernel=lambda value: value.transpose(0, 2, 3, 1).reshape(len(value), 1, value.shape[2], -1),
    )


def read_planes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Undo :func:`read_interleaved` in place: for what must see a convolution of three colours."""
    path = _path(model, ROWS)
    if not path:
        return model
    start = helper.make_node("Transpose", path[0].input[:1], list(path[0].output), name=PLANES, perm=[0, 3, 1, 2])
    return _exchange(
        model,
        path,
        start,
        rename=lambda name: name.removesuffix(MARK),
        columns=lambda number: number // COLOURS,
        centre=lambda value: value[:COLOURS].reshape(COLOURS, 1, 1),
        kernel=lambda value: value.reshape(len(value), value.shape[2], -1, COLOURS).transpose(0, 3, 1, 2),
    )


def _shape(model: onnx.ModelProto, name: str) -> tuple[int, ...]:
    """The sizes of a tensor, 0 where one is not known."""
    for value in (*model.graph.value_info, *model.graph.input):
        if value.name == name:
            return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
    return ()


def _path(model: onnx.ModelProto, first: str) -> list[onnx.NodeProto]:
    """The nodes from the one called ``first`` to the first convolution; none where another kind lies between."""
    network = Network(model)
    path = [node for node in model.graph.node if node.name == first]
    while path and path[-1].op_type != "Conv":
        following = network.only_reader(path[-1].output[0])
        if following is None or not _is_simple(following, path[-1].output[0], network.constants):
            return []
        path.append(following)
    return path


def _is_simple(node: onnx.NodeProto, source: str, weights: dict[str, onnx.TensorProto]) -> bool:
    """Whether ``node`` subtracts a constant from ``source``, pads it with zeros, or convolves it plainly."""
    settings = attributes(node)
    if len(node.input) < 2 or node.input[0] != source or node.input[1] not in weights:
        return False
    if node.op_type == "Conv":
        return (
            weights[node.input[1]].data_type == onnx.TensorProto.FLOAT
            and {"strides", "pads", "kernel_shape"} <= settings.keys()
            and settings.get("group", 1) == 1
            and list(settings.get("dilations", [1, 1])) == [1, 1]
        )
    if node.op_type == "Pad":
        pads = numpy_helper.to_array(weights[node.input[1]])
        zeros = len(node.input) == 2 and settings.get("mode", b"constant") == b"constant"
        return zeros and pads.size == 8 and not pads[[0, 1, 4, 5]].any()
    return node.op_type == "Sub"


def _exchange(
    model: onnx.ModelProto,
    path: Sequence[onnx.NodeProto],
    start: onnx.NodeProto,
    *,
    rename: Callable[[str], str],
    columns: Callable[[int], int],
    centre: Callable[[Array], Array],
    kernel: Callable[[Array], Array],
) -> onnx.ModelProto:
    """Put ``start`` in place of the first of ``path``, and change the constants and columns of the others."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [start]
    for old in path[1:]:
        node = onnx.NodeProto.FromString(old.SerializeToString())
        value = numpy_helper.to_array(weights[old.input[1]])
        if node.op_type == "Conv":
            value = kernel(value)
            _set_columns(node, columns)
        elif node.op_type == "Pad":
            value = np.array(
                [columns(int(n)) if place in (3, 7) else n for place, n in enumerate(value)], value.dtype
            )
        elif value.size > 1:
            value = centre(value)
        node.input[1] = rename(old.input[1])
        if node.input[1] not in weights:
            tensor = numpy_helper.from_array(np.asarray(value, order="C"), node.input[1])
            model.graph.initializer.append(tensor)
        nodes.append(node)
    replaced = {node.output[0] for node in path}
    return with_nodes(model, [*nodes, *(node for node in model.graph.node if node.output[0] not in replaced)])


def _set_columns(node: onnx.NodeProto, columns: Callable[[int], int]) -> None:
    """Change kernel, stride and padding of a convolution along the rows."""
    for attribute in node.attribute:
        if attribute.name in ("kernel_shape", "strides"):
            attribute.ints[1] = columns(attribute.ints[1])
        elif attribute.name == "pads":
            attribute.ints[1], attribute.ints[3] = columns(attribute.ints[1]), columns(attribute.ints[3])

"""3 x 3 convolutions with fewer multiplications, for CPUs: Winograd's minimal filtering, as matrix products.

F(2 x 2, 3 x 3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308): 16
multiplications give four outputs where the plain sum takes 36. ONNX Runtime's CPU convolutions do not use it. On
middling maps of many channels it saves a quarter to a third of their time (256 channels on 20 x 36: 3.8 to 2.6
ms on two cores). On the smallest, fetching the weights, which grow by 16 / 9, costs what it saves; on large ones,
moving the tiles through memory. TensorRT chooses such algorithms itself. Results differ from the plain sum by
some 1e-7 of the largest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.onnx_graph.network import Array, Network
from edgedet.onnx_graph.rewriting import with_nodes

from .minimal_filtering import OUTPUT_TRANSFORM, kernel_from, kernel_places, tiling
from .winograd_chains import add_chains, is_plain, remove_chains

SUFFIX = "/winograd/"
"""Nodes that stand for the convolution ``NAME`` are called ``NAME/winograd/STEP``."""

MIN_CHANNELS = 128
MIN_TILES = 24
MAX_TILE_BYTES = 12 << 20
"""Limits within which it pays, as measured: minimum channels in and out and tiles of 2 x 2 outputs, and tiles that
the caches still hold."""


@dataclass(frozen=True)
class _Convolution:
    """One use of a 3 x 3 kernel: the node, its kernel, the shape [N, C, H, W] it reads, and the ReLU that alone
    reads what it gives, if one does."""

    node: onnx.NodeProto
    weight: onnx.TensorProto
    source: tuple[int, ...]
    relu: onnx.NodeProto | None

    @property
    def tiles(self) -> int:
        """How many 2 x 2 blocks of outputs it has, over the batch."""
        batch, _, height, width = self.source
        return batch * -(-height // 2) * -(-width // 2)


def add_winograd(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace, in place, the convolutions of ``model`` that this makes quicker; its shapes must be inferred.

    Those are dense 3 x 3 convolutions of stride 1 that keep the map's size, with constant float32 weights. Where
    several share their weights, as a head over feature levels does, all their tiles go through one product. Rows of
    convolutions over many small maps stay in the products' layout
    (:mod:`edgedet.export.for_cpu.winograd_chains`).
    """
    add_chains(model)
    graph = model.graph
    groups = [group for group in _groups(model) if _pays(group)]
    if not groups:
        return model
    replaced = {node.output[0] for group in groups for use in group for node in (use.node, use.relu) if node}
    nodes = [node for node in graph.node if node.output[0] not in replaced]
    for group in groups:
        nodes.extend(_replacement(graph, group))
    return with_nodes(model, nodes)


def remove_winograd(model: onnx.ModelProto) -> onnx.ModelProto:
    """Undo :func:`add_winograd` in place, weights exact up to rounding: for what must see the convolutions."""
    remove_chains(model)
    if not any(SUFFIX in node.name for node in model.graph.node):
        return model
    network = Network(model)
    weights, producer = network.constants, network.producer
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        name, separator, step = node.name.rpartition(SUFFIX)
        if not separator:
            nodes.append(node)
        if step != "channels_first":
            continue
        steps = {step: node}
        source, output = node.input[0], node.output[0]
        while step != "channels_last":
            above = producer[source]
            step = above.name.rpartition(SUFFIX)[2]
            if SUFFIX not in above.name:
                # The ReLU of add_winograd, under its own name.
                output, above.output[0] = above.input[0], output
            steps[step] = above
            # Of shared steps, the way up is through this convolution's own nodes.
            inputs = [tensor for tensor in above.input if tensor in producer]
            source = next((tensor for tensor in inputs if tensor.startswith(name + SUFFIX)), (*inputs, "")[0])
        kernel = steps["product"].input[1]
        if f"{kernel}/back" not in weights:
            tiles = numpy_helper.to_array(weights[kernel])
            restored = kernel_from(tiles.reshape(4, 4, *tiles.shape[1:]))
            weights[f"{kernel}/back"] = numpy_helper.from_array(restored, f"{kernel}/back")
            model.graph.initializer.append(weights[f"{kernel}/back"])
        inputs = [steps["channels_last"].input[0], f"{kernel}/back", steps["bias"].input[1]]
        nodes.append(helper.make_node("Conv", inputs, [output], name=name, kernel_shape=[3, 3], pads=[1] * 4))
    return with_nodes(model, nodes)


def _groups(model: onnx.ModelProto) -> list[list[_Convolution]]:
    """The convolutions that could be replaced, those together that share their weights and need not wait for one
    another."""
    graph, network = model.graph, Network(model)
    shapes = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    groups: dict[str, list[_Convolution]] = {}
    ancestors: dict[str, set[str]] = {}
    for node in graph.node:
        above = set().union(*(ancestors.get(name, set()) for name in node.input))
        tensor = network.constants.get(node.input[1]) if node.op_type == "Conv" else None
        source = shapes.get(node.input[0])
        if tensor is not None and source is not None and is_plain(node, tensor):
            key = tensor.name
            while key in above:
                key += "/later"
            only = network.only_reader(node.output[0])
            relu = only if only is not None and only.op_type == "Relu" else None
            groups.setdefault(key, []).append(_Convolution(node, tensor, source, relu))
            above.add(key)
        ancestors.update((name, above) for name in node.output)
    return list(groups.values())


def _pays(group: list[_Convolution]) -> bool:
    least, most = sorted(group[0].weight.dims[:2])
    tiles = sum(convolution.tiles for convolution in group)
    return least >= MIN_CHANNELS and tiles >= MIN_TILES and 16 * 4 * tiles * most <= MAX_TILE_BYTES


class _Steps:
    """Adds the nodes ``PREFIX/winograd/STEP`` and the constants they read."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.prefix = ""
        self._graph = graph
        self._known = {tensor.name for tensor in graph.initializer}

    def constant(self, value: Array, name: str) -> str:
        """Store ``value`` unless a constant of that name is there."""
        if name not in self._known:
            self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
            self._known.add(name)
        return name

    def op(self, op_type: str, *inputs: str, step: str, to: Iterable[str] = (), **settings: Any) -> str:
        """A node whose output is called as itself unless ``to`` says otherwise."""
        name = f"{self.prefix}{SUFFIX}{step}"
        outputs = list(to) or [name]
        self.nodes.append(helper.make_node(op_type, list(inputs), outputs, name=name, **settings))
        return outputs[0]

    def reshape(self, tensor: str, *sizes: int, step: str) -> str:
        """``tensor`` with another shape."""
        name = "winograd/shape_" + "x".join(map(str, sizes))
        return self.op("Reshape", tensor, self.constant(np.array(sizes, np.int64), name), step=step)


def _replacement(graph: onnx.GraphProto, group: list[_Convolution]) -> list[onnx.NodeProto]:
    """Convolutions that share their weights, as one product over the channels-last tiles of all."""
    steps = _Steps(graph)
    weight = numpy_helper.to_array(group[0].weight)
    outputs, channels = weight.shape[:2]
    places = []
    for convolution in group:
        batch, _, height, width = convolution.source
        down, across = -(-height // 2), -(-width // 2)
        steps.prefix = convolution.node.name
        x = steps.op("Transpose", convolution.node.input[0], step="channels_last", perm=[0, 2, 3, 1])
        x = steps.reshape(x, batch, height, width * channels, step="rows")
        x = steps.op("MatMul", steps.constant(tiling(height), f"winograd/tiling_{height}"), x, step="tile_rows")
        x = steps.reshape(x, batch * 4 * down, width, channels, step="columns")
        x = steps.op("MatMul", steps.constant(tiling(width), f"winograd/tiling_{width}"), x, step="tile_columns")
        x = steps.reshape(x, batch, 4, down, 4, across * channels, step="tiles")
        x = steps.op("Transpose", x, step="by_place", perm=[1, 3, 0, 2, 4])
        places.append(steps.reshape(x, 16, convolution.tiles, channels, step="places"))

    steps.prefix = group[0].node.name
    kernel = kernel_places(weight).reshape(16, channels, outputs).astype(np.float32)
    x = places[0] if len(group) == 1 else steps.op("Concat", *places, step="together", axis=1)
    x = steps.op("MatMul", x, steps.constant(kernel, f"{group[0].weight.name}/winograd"), step="product")
    products = [x]
    if len(group) > 1:
        products = [f"{convolution.node.name}{SUFFIX}own_product" for convolution in group]
        shares = np.array([convolution.tiles for convolution in group], np.int64)
        sizes = steps.constant(shares, f"{group[0].weight.name}/winograd_tiles")
        steps.op("Split", x, sizes, step="apart", to=products, axis=1)

    transform = steps.constant(OUTPUT_TRANSFORM.astype(np.float32), "winograd/output")
    for convolution, product in zip(group, products, strict=True):
        node, tiles = convolution.node, convolution.tiles
        batch, _, height, width = convolution.source
        down, across = -(-height // 2), -(-width // 2)
        steps.prefix = node.name
        bias = node.input[2] if len(node.input) > 2 else ""
        bias = bias or steps.constant(np.zeros(outputs, np.float32), f"winograd/no_bias_{outputs}")
        x = steps.reshape(product, 4, 4 * tiles * outputs, step="product_rows")
        x = steps.op("MatMul", transform, x, step="output_rows")
        x = steps.reshape(x, 2, 4, tiles * outputs, step="product_columns")
        x = steps.op("MatMul", transform, x, step="output_columns")
        x = steps.reshape(x, 2, 2, batch, down, across, outputs, step="outputs")
        x = steps.op("Transpose", x, step="by_tile", perm=[2, 3, 0, 4, 1, 5])
        x = steps.reshape(x, batch, 2 * down, 2 * across, outputs, step="map")
        if height % 2 or width % 2:
            ends = steps.constant(np.array([height, width], np.int64), f"winograd/ends_{height}x{width}")
            starts = steps.constant(np.zeros(2, np.int64), "winograd/starts")
            x = steps.op("Slice", x, starts, ends, steps.constant(np.array([1, 2]), "winograd/axes"), step="cut")
        x = steps.op("Add", x, bias, step="bias")
        output = node.output
        if convolution.relu is not None:
            # In front of the transposition, which the runtime then merges with its own reordering of channels.
            relu = helper.make_node("Relu", [x], [f"{node.name}{SUFFIX}relu"], name=convolution.relu.name)
            steps.nodes.append(relu)
            x, output = relu.output[0], convolution.relu.output
        steps.op("Transpose", x, step="channels_first", to=output, perm=[0, 3, 1, 2])
    return steps.nodes

"""Rows of 3 x 3 convolutions over many small maps, as a mask head has them for a hundred objects, by minimal
filtering.

The maps lie [H, W, N, C] from the first convolution to the last, so that of all steps of
:mod:`edgedet.export.for_cpu.minimal_filtering` each is a product with a long right side, and nothing is moved
between them: rows to tiles, columns to tiles, 36 or 49 products with the transformed kernel, columns and rows back.
Tiles are of four outputs a side or of five, whichever take fewer multiplications. Maps go through all convolutions
in parts of :data:`PART`, whose tiles the caches hold (docs/decisions/006).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.onnx_graph.network import Array, Network, attributes
from edgedet.onnx_graph.rewriting import with_nodes

from .minimal_filtering import FIVE, FOUR, MinimalFilter

SUFFIX = "/winograd_chain/"
"""Nodes that stand for the convolution ``NAME`` are called ``NAME/winograd_chain/PART/STEP``."""

PART = 6000
"""Places, over all maps, that go through all convolutions together, about."""
MIN_MAPS = 8
MIN_TILES = 16
"""Over all maps, below which fetching the kernels of all products costs what is gained."""
MIN_CHANNELS = 128
MIN_CONVOLUTIONS = 2
MAX_WORK_SHARE = 0.5
"""Maximum share of the plain sum's multiplications: above it, tiles that reach over a map's edge cost the gain."""
FILTERS = {each.places: each for each in (FOUR, FIVE)}
"""By the places of their tiles, as the kernels of a graph have them."""


@dataclass(frozen=True)
class _Link:
    """A convolution, its kernel, and the ReLU that alone reads what it gives."""

    node: onnx.NodeProto
    weight: onnx.TensorProto
    bias: onnx.TensorProto | None
    relu: onnx.NodeProto


def is_plain(node: onnx.NodeProto, weight: onnx.TensorProto) -> bool:
    """Whether it is a dense 3 x 3 convolution of stride 1 that keeps the map's size, in float32."""
    settings = attributes(node)
    return (
        weight.data_type == onnx.TensorProto.FLOAT
        and tuple(weight.dims[2:]) == (3, 3)
        and settings.get("group", 1) == 1
        and list(settings.get("pads", [0] * 4)) == [1] * 4
        and list(settings.get("strides", [1, 1])) == [1, 1]
        and list(settings.get("dilations", [1, 1])) == [1, 1]
        and settings.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def add_chains(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace, in place, the rows of convolutions of ``model`` that this makes quicker; shapes must be inferred."""
    found = _chains(model)
    if not found:
        return model
    replaced = {node.output[0] for _, chain in found for link in chain for node in (link.node, link.relu)}
    nodes = [node for node in model.graph.node if node.output[0] not in replaced]
    for shape, chain in found:
        nodes.extend(_Replacement(model.graph, shape, chain).nodes)
    return with_nodes(model, nodes)


def remove_chains(model: onnx.ModelProto) -> onnx.ModelProto:
    """Undo :func:`add_chains` in place, weights exact up to rounding."""
    if not any(SUFFIX in node.name for node in model.graph.node):
        return model
    network = Network(model)
    nodes: list[onnx.NodeProto] = []
    source, last = "", onnx.NodeProto()
    for node in model.graph.node:
        name, separator, step = node.name.rpartition(SUFFIX)
        if not separator:
            nodes.append(node)
        elif step == "0/maps_inside":
            source = node.input[0]
        elif step == "0/product":
            places = numpy_helper.to_array(network.constants[node.input[1]])[:, 0]
            by = FILTERS[len(places)]
            kernel = f"{node.input[1]}/back"
            if kernel not in network.constants:
                network.constants[kernel] = numpy_helper.from_array(by.kernel_from(places), kernel)
                model.graph.initializer.append(network.constants[kernel])
            bias = _untiled_bias(network, f"{name}{SUFFIX}0/rows_back", places.shape[-1])
            settings: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4}
            nodes.append(helper.make_node("Conv", [source, kernel, bias], [name], name=name, **settings))
            source = name
        elif step == "0/relu":
            last = helper.make_node("Relu", [source], [name], name=name)
            nodes.append(last)
            source = name
        elif step == "0/maps_outside":
            # The last of the row, under the name that its readers know.
            last.output[0] = node.output[0]
    return with_nodes(model, nodes)


def _untiled_bias(network: Network, rows_back: str, outputs: int) -> str:
    """The bias of a convolution, from what its ``rows_back`` adds; a constant of the graph."""
    tiled = network.nodes[rows_back].input[2]
    name = tiled.rpartition(SUFFIX)[0]
    if name not in network.constants:
        value = numpy_helper.to_array(network.constants[tiled])[:outputs]
        network.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        network.graph.initializer.append(network.constants[name])
    return name


def _chains(model: onnx.ModelProto) -> list[tuple[tuple[int, ...], list[_Link]]]:
    """The shape [N, C, H, W] that each row of convolutions reads, and its links."""
    network = Network(model)
    shapes = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*model.graph.value_info, *model.graph.input)
    }
    seen: set[str] = set()
    found: list[tuple[tuple[int, ...], list[_Link]]] = []
    for node in model.graph.node:
        shape = shapes.get(node.input[0], ()) if node.op_type == "Conv" else ()
        if len(shape) != 4 or not _pays(shape) or node.name in seen:
            continue
        chain: list[_Link] = []
        following: onnx.NodeProto | None = node
        while following is not None and (link := _link(network, following)) is not None:
            chain.append(link)
            following = network.only_reader(link.relu.output[0])
        seen.update(link.node.name for link in chain)
        if len(chain) >= MIN_CONVOLUTIONS:
            found.append((shape, chain))
    return found


def _pays(shape: tuple[int, ...]) -> bool:
    maps, _, height, width = shape
    if maps < MIN_MAPS or not height * width:
        return False
    by = _best(height, width)
    enough = maps * by.tiles(height) * by.tiles(width) >= MIN_TILES
    return enough and _products(by, height, width) <= MAX_WORK_SHARE * 9 * height * width


def _products(by: MinimalFilter, height: int, width: int) -> int:
    """Multiplications of a map, for each pair of channels."""
    return by.places**2 * by.tiles(height) * by.tiles(width)


def _best(height: int, width: int) -> MinimalFilter:
    """The filter of fewest multiplications; of two alike, the one that rounds less."""
    return min(FILTERS.values(), key=lambda by: (_products(by, height, width), by.places))


def _link(network: Network, node: onnx.NodeProto) -> _Link | None:
    weight = network.constants.get(node.input[1]) if node.op_type == "Conv" else None
    if weight is None or not is_plain(node, weight) or min(weight.dims[:2]) < MIN_CHANNELS:
        return None
    relu = network.only_reader(node.output[0])
    bias = network.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    unknown = len(node.input) > 2 and node.input[2] and bias is None
    return None if relu is None or relu.op_type != "Relu" or unknown else _Link(node, weight, bias, relu)


def _places(by: MinimalFilter, weight: onnx.TensorProto) -> Array:
    """The kernel of each of the products, for every row of tiles the same: [places, 1, places, C, O]."""
    return by.kernel_places(numpy_helper.to_array(weight))[:, None].astype(np.float32)


class _Replacement:
    """``nodes`` in place of a row of convolutions over maps of ``shape`` [N, C, H, W]."""

    def __init__(self, graph: onnx.GraphProto, shape: tuple[int, ...], chain: list[_Link]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._known = {tensor.name for tensor in graph.initializer}
        maps, channels, self._height, self._width = shape
        self._by = _best(self._height, self._width)
        first, last = chain[0], chain[-1]
        parts = min(-(-maps * self._height * self._width // PART), maps)
        sizes = [maps // parts + (part < maps % parts) for part in range(parts)]
        name = first.node.name
        inside = self._op("Transpose", first.node.input[0], name=f"{name}{SUFFIX}0/maps_inside", perm=[2, 3, 0, 1])
        split = [inside]
        if parts > 1:
            split = [f"{name}{SUFFIX}{part}/maps" for part in range(parts)]
            self._op("Split", inside, self._ints(*sizes), name=f"{name}{SUFFIX}0/parts", to=split, axis=2)
        done = []
        for part, (x, size) in enumerate(zip(split, sizes, strict=True)):
            depth = channels
            for link in chain:
                x = self._filtered(x, link, part=part, size=size, depth=depth)  # noqa: PLW2901
                depth = int(link.weight.dims[0])
            done.append(x)
        name = last.relu.name
        joined = done[0]
        if parts > 1:
            joined = self._op("Concat", *done, name=f"{name}{SUFFIX}0/together", axis=2)
        self._op(
            "Transpose",
            joined,
            name=f"{name}{SUFFIX}0/maps_outside",
            to=[last.relu.output[0]],
            perm=[2, 3, 0, 1],
        )

    def _filtered(self, x: str, link: _Link, *, part: int, size: int, depth: int) -> str:
        """One convolution and its ReLU over ``x`` [H, W, size, depth]."""
        height, width, by = self._height, self._width, self._by
        down, across, places = by.tiles(height), by.tiles(width), by.places
        outputs = int(link.weight.dims[0])
        prefix = f"{link.node.name}{SUFFIX}{part}/"
        into, back = (
            {side: self._constant(partial(make, side), f"winograd/{name}_{side}") for side in (height, width)}
            for make, name in ((by.tiling, f"tiling_{by.step}"), (by.untiling, f"untiling_{by.step}"))
        )
        kernel = self._constant(lambda: _places(by, link.weight), f"{link.weight.name}/winograd_chain")
        x = self._reshape(x, height, width * size * depth, name=f"{prefix}rows")
        x = self._op("MatMul", into[height], x, name=f"{prefix}tile_rows")
        x = self._reshape(x, places * down, width, size * depth, name=f"{prefix}columns")
        x = self._op("MatMul", into[width], x, name=f"{prefix}tile_columns")
        x = self._reshape(x, places, down, places, across * size, depth, name=f"{prefix}tiles")
        x = self._op("MatMul", x, kernel, name=f"{prefix}product")
        x = self._reshape(x, places * down, places * across, size * outputs, name=f"{prefix}products")
        x = self._op("MatMul", back[width], x, name=f"{prefix}columns_back")
        x = self._reshape(x, places * down, width * size * outputs, name=f"{prefix}row_products")
        x = self._op("Gemm", back[height], x, self._biases(link, width * size), name=f"{prefix}rows_back")
        x = self._op("Relu", x, name=f"{link.relu.name}{SUFFIX}{part}/relu")
        return self._reshape(x, height, width, size, outputs, name=f"{prefix}filtered")

    def _biases(self, link: _Link, times: int) -> str:
        """The bias of every place of a row."""
        outputs = int(link.weight.dims[0])
        if link.bias is None:
            name, value = f"winograd/no_bias_{outputs}", np.zeros(outputs, np.float32)
        else:
            name, value = link.bias.name, numpy_helper.to_array(link.bias)
        return self._constant(lambda: np.tile(value, times), f"{name}{SUFFIX}{times}")

    def _op(self, op_type: str, *inputs: str, name: str, to: list[str] | None = None, **settings: Any) -> str:
        outputs = to or [name]
        self.nodes.append(helper.make_node(op_type, list(inputs), outputs, name=name, **settings))
        return outputs[0]

    def _constant(self, value: Callable[[], Array], name: str) -> str:
        """Store what ``value`` gives, unless a constant of that name is there."""
        if name not in self._known:
            self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value()), name))
            self._known.add(name)
        return name

    def _ints(self, *values: int) -> str:
        return self._constant(lambda: np.array(values, np.int64), "winograd/ints_" + "x".join(map(str, values)))

    def _reshape(self, tensor: str, *sizes: int, name: str) -> str:
        return self._op("Reshape", tensor, self._ints(*sizes), name=name)

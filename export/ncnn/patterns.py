"""Groups of nodes that ncnn has as one layer, or that are quicker in another form; the numbers stay the same.

What is found is written in place of the last node, as an operator that is ONNX's own or, in the domain
:data:`DOMAIN`, one of ncnn's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from edgedet.onnx_graph.network import Network, attributes

DOMAIN = "ncnn"
SPREADING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
"""Operators that spread sizes of 1 themselves."""

Shapes = Mapping[str, tuple[int, ...]]


def with_patterns(network: Network) -> list[onnx.NodeProto]:
    """The nodes of a graph in order, with groups exchanged; nodes that nobody reads any more are among them.

    Weights of the convolution behind a focus are put in another order, in ``network`` itself.
    """
    shapes = network.shapes()
    found: list[onnx.NodeProto] = []
    for node in network.graph.node:
        exchanged = _swish(network, node) or _mish(network, node) or _focus(network, shapes, node)
        found.append(exchanged or _unexpanded(network, shapes, node) or node)
    return found


def living(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """Those whose results are read."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    return kept[::-1]


def _product(network: Network, node: onnx.NodeProto, kind: str) -> tuple[str, onnx.NodeProto] | None:
    """The tensor and the node ``kind`` whose result it is multiplied with; None for other nodes."""
    if node.op_type != "Mul":
        return None
    for source, gate in (node.input, node.input[::-1]):
        maker = network.producer.get(gate)
        if maker is not None and maker.op_type == kind:
            return source, maker
    return None


def _swish(network: Network, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """x times its own sigmoid."""
    product = _product(network, node, "Sigmoid")
    if product is None or product[1].input[0] != product[0]:
        return None
    return helper.make_node("Swish", [product[0]], list(node.output), name=node.name, domain=DOMAIN)


def _mish(network: Network, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """x times the hyperbolic tangent of its own softplus."""
    product = _product(network, node, "Tanh")
    inner = None if product is None else network.producer.get(product[1].input[0])
    if product is None or inner is None or inner.op_type != "Softplus" or inner.input[0] != product[0]:
        return None
    return helper.make_node("Mish", [product[0]], list(node.output), name=node.name, domain=DOMAIN)


def _unexpanded(network: Network, shapes: Shapes, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Arithmetic with a tensor that was expanded for it, without that."""
    if node.op_type not in SPREADING or len(node.input) != 2:
        return None
    makers = [network.producer.get(name) for name in node.input]
    inputs = [
        maker.input[0] if maker is not None and maker.op_type == "Expand" else name
        for maker, name in zip(makers, node.input, strict=True)
    ]
    sizes = [shapes.get(name, ()) for name in inputs]
    if inputs == list(node.input) or np.broadcast_shapes(*sizes) != shapes[node.output[0]]:
        return None
    return helper.make_node(node.op_type, inputs, list(node.output), name=node.name)


def _focus(network: Network, shapes: Shapes, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Every second pixel of every second row, four times over, joined as channels (YOLOX, YOLOv5)."""
    reader = network.only_reader(node.output[0])
    if node.op_type != "Concat" or len(node.input) != 4 or attributes(node).get("axis") != 1:
        return None
    if reader is None or reader.op_type != "Conv" or attributes(reader).get("group", 1) != 1:
        return None
    phases = [_phase(network, shapes, name) for name in node.input]
    sources = {phase[0] for phase in phases if phase is not None}
    places = [phase[1] for phase in phases if phase is not None]
    if len(sources) != 1 or sorted(places) != [(0, 0), (0, 1), (1, 0), (1, 1)] or reader.input[0] != node.output[0]:
        return None
    if reader.input[1] not in network.constants or len(network.consumers[reader.input[1]]) != 1:
        return None
    weight = network.constant(reader.input[1])
    channels = weight.shape[1] // 4
    parts = weight.reshape(len(weight), 4, channels, *weight.shape[2:])
    ordered = parts[:, [places.index((row, column)) for row in (0, 1) for column in (0, 1)]]
    network.set_constant(reader.input[1], np.ascontiguousarray(ordered.reshape(weight.shape)))
    return helper.make_node("SpaceToDepth", list(sources), list(node.output), name=node.name, blocksize=2)


def _phase(network: Network, shapes: Shapes, tensor: str) -> tuple[str, tuple[int, int]] | None:
    """The tensor of which ``tensor`` is every second row and column, and the first of each."""
    begins: dict[int, int] = {}
    for _ in range(2):
        node = network.producer.get(tensor)
        if node is None or node.op_type != "Slice" or len(node.input) != 5:
            return None
        if not all(name in network.constants for name in node.input[1:]):
            return None
        starts, ends, axes, steps = (network.constant(name).reshape(-1).tolist() for name in node.input[1:])
        if axes not in ([2], [3]) or axes[0] in begins or steps != [2] or starts[0] not in (0, 1):
            return None
        if ends[0] < shapes[node.input[0]][axes[0]]:
            return None
        begins[axes[0]] = starts[0]
        tensor = node.input[0]
    return tensor, (begins[2], begins[3])

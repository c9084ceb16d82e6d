"""Which part of a detector is network and which is decoding: boxes, scores and NMS stay in fp32 everywhere."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto

from edgedet.onnx_graph.network import WEIGHTED, Layer, Network

SELECTING = ("TopK", "NonMaxSuppression", "ArgMax", "ArgMin", "Softmax", "LogSoftmax", "NonZero", "Where")
"""Operators whose inputs are scores or boxes, where rounding changes what is detected."""
DATA_INPUTS = {
    "RoiAlign": (0,), "GridSample": (0,), "Gather": (0,), "GatherND": (0,), "GatherElements": (0,), "Where": (1, 2),
    "Softmax": (), "LogSoftmax": (), "TopK": (), "NonMaxSuppression": (), "ArgMax": (), "ArgMin": (), "NonZero": (),
}  # fmt: skip
"""Inputs through which image features flow; all of them for operators not named."""


def feature_layers(network: Network) -> list[Layer]:
    """The weighted layers that work on image features, in order of execution.

    Constant matrices in box decoding and NMS look like layers, too; no float path leads to them from the image
    without a comparison or a selection on the way.
    """
    types = network.element_types()
    features = set(network.inputs)
    for node in network.graph.node:
        slots = DATA_INPUTS.get(node.op_type, range(len(node.input)))
        if any(node.input[i] in features for i in slots if i < len(node.input)):
            features.update(
                name
                for name in node.output
                if types.get(name) in (TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8)
            )
    return [layer for layer in network.layers() if layer.input in features]


def decoding(network: Network) -> frozenset[str]:
    """Names of the nodes between the last weighted layers and outputs, selections and places that are looked at.

    Walking up from graph outputs, score selections, RoiAlign's boxes and GridSample's points stops at the first
    layer of :func:`feature_layers`; everything met on the way turns predictions into boxes and scores.
    """
    layers = {layer.name for layer in feature_layers(network)} | _quantised_layers(network)
    pooled = _pooled(network)
    starts: list[str] = list(network.outputs)
    for node in network.graph.node:
        if node.op_type in SELECTING and not any(name in pooled for name in node.output):
            starts.extend((*node.input, *node.output))
        elif node.op_type in ("RoiAlign", "GridSample"):
            starts.extend(node.input[1:])
        elif node.op_type == "Where":
            starts.append(node.input[0])
        elif (
            node.op_type == "MatMul"
            and node.name not in layers
            and not any(name in network.constants for name in node.input)
        ):
            # Products of two activations: the overlap matrices of a static NMS.
            starts.extend(node.input)
    return frozenset(_ancestors(network, starts, layers))


def prediction_layers(network: Network) -> list[Layer]:
    """The last layers: those whose output is decoded into boxes and scores."""
    last = decoding(network)
    return [
        layer
        for layer in feature_layers(network)
        if layer.output in network.outputs
        or any(node.name in last for node in network.consumers.get(layer.output, []))
    ]


def _quantised_layers(network: Network) -> set[str]:
    """Layers whose weights come through a Q/DQ pair: only feature layers are ever quantised."""
    found = set()
    for node in network.graph.node:
        source = network.producer.get(node.input[1]) if node.op_type in WEIGHTED and len(node.input) > 1 else None
        if source is not None and source.op_type == "DequantizeLinear":
            found.add(node.name)
    return found


def _pooled(network: Network) -> set[str]:
    """Tensors of pooled features: selecting between pyramid levels is no decoding."""
    found: set[str] = set()
    for node in network.graph.node:
        if node.op_type == "RoiAlign" or (node.op_type == "Where" and found.issuperset(node.input[1:])):
            found.update(node.output)
    return found


def _ancestors(network: Network, tensors: Iterable[str], layers: set[str]) -> set[str]:
    found: set[str] = set()
    queue = list(tensors)
    while queue:
        node: onnx.NodeProto | None = network.producer.get(queue.pop())
        if node is None or node.name in found or node.name in layers or node.op_type == "RoiAlign":
            continue
        found.add(node.name)
        queue.extend(node.input)
    return found

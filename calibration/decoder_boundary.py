"""Which part of a detector is network and which is decoding: boxes, scores and NMS stay in fp32 everywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx
from onnx import TensorProto

from edgedet.onnx_graph.network import WEIGHTED, Layer, Network

from .attention import attention, is_product

SELECTING = ("TopK", "NonMaxSuppression", "ArgMax", "ArgMin", "Softmax", "LogSoftmax", "NonZero")
"""Operators whose inputs are scores or boxes, where rounding changes what is detected; no Softmax of attention."""
PLACES = {"RoiAlign": (1, 2), "GridSample": (1,), "Sin": (0,), "Cos": (0,)}
"""Inputs that say where on the image: boxes, sampling points, coordinates on their way to a sine embedding."""
DATA_INPUTS = {
    "RoiAlign": (0,), "GridSample": (0,), "Gather": (0,), "GatherND": (0,), "GatherElements": (0,), "Where": (1, 2),
    "Softmax": (), "LogSoftmax": (), "TopK": (), "NonMaxSuppression": (), "ArgMax": (), "ArgMin": (), "NonZero": (),
}  # fmt: skip
"""Inputs through which image features flow; all of them for operators not named, and for a Softmax of attention."""


def feature_layers(network: Network) -> list[Layer]:
    """The weighted layers that work on image features, in order of execution.

    Constant matrices in box decoding and NMS look like layers, too; no float path leads to them from the image
    without a comparison or a selection on the way. What reads places (the head that makes a position embedding of
    reference points, as in DETR's descendants) is none either: INT8 would tell the queries where they look in 255
    steps.
    """
    reached = _reached(network)
    reading = _reading_places(network, reached)
    return [layer for layer in reached if layer.name not in reading]


def decoding(network: Network) -> frozenset[str]:
    """Names of the nodes between the last weighted layers and outputs, selections and places that are looked at.

    Walking up from graph outputs, score selections, RoiAlign's boxes, GridSample's points and the arguments of sine
    embeddings stops at the first layer of :func:`feature_layers`; everything met on the way turns predictions into
    boxes and scores. Products and Softmax of attention (:func:`edgedet.calibration.attention.attention`) are no
    selections, and the layers that read places belong to decoding.
    """
    reached = _reached(network)
    layers = {layer.name for layer in reached} | _quantised_layers(network)
    cores = attention(network)
    starts: list[str] = [*network.outputs, *_places(network)]
    for node in network.graph.node:
        if node.name in cores:
            continue
        if node.op_type in SELECTING:
            starts.extend((*node.input, *node.output))
        elif node.op_type == "Where":
            starts.append(node.input[0])
        elif node.name not in layers and is_product(network, node):
            # Products of two activations: the overlap matrices of a static NMS.
            starts.extend(node.input)
    return frozenset(_ancestors(network, starts, layers) | _reading_places(network, reached))


def _reached(network: Network) -> list[Layer]:
    """Layers to which a float path leads from the image."""
    types = network.element_types()
    cores = attention(network)
    features = set(network.inputs)
    for node in network.graph.node:
        slots = DATA_INPUTS.get(node.op_type, range(len(node.input)))
        if node.name in cores:
            slots = range(len(node.input))
        if any(node.input[i] in features for i in slots if i < len(node.input)):
            features.update(
                name
                for name in node.output
                if types.get(name) in (TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8)
            )
    return [layer for layer in network.layers() if layer.input in features]


def _places(network: Network) -> list[str]:
    return [
        node.input[i]
        for node in network.graph.node
        for i in PLACES.get(node.op_type, ())
        if i < len(node.input) and node.input[i]
    ]


def _reading_places(network: Network, layers: Collection[Layer]) -> set[str]:
    """Those of ``layers`` whose input is a place, or made of nothing but places and constants."""
    placing = _ancestors(network, _places(network), {layer.name for layer in layers} | _quantised_layers(network))
    made = {name for node in network.graph.node if node.name in placing for name in node.output}
    for node in network.graph.node:
        inputs = [name for name in node.input if name and name not in network.constants]
        if inputs and node.op_type not in WEIGHTED and made.issuperset(inputs):
            made.update(node.output)
    return {layer.name for layer in layers if layer.input in made}


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

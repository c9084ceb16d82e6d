"""Which part of a detector is network and which is decoding: boxes, scores and NMS stay in fp32 everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from edgedet.calibration.network import WEIGHTED, Network

SELECTING = ("TopK", "NonMaxSuppression", "ArgMax", "ArgMin", "Softmax", "LogSoftmax", "NonZero", "Where")
"""Operators that end a feature path: their inputs are scores or boxes, where rounding changes what is detected."""


def decoding(network: Network) -> frozenset[str]:
    """Names of the nodes between the last weighted layers and outputs, selections and regions of interest.

    Walking up from graph outputs, score selections and RoiAlign's boxes stops at the first convolution or matrix
    product with constant weights; everything met on the way turns predictions into boxes and scores.
    """
    starts: list[str] = list(network.outputs)
    for node in network.graph.node:
        if node.op_type in SELECTING:
            starts.extend(node.input)
            starts.extend(node.output)
        elif node.op_type == "RoiAlign":
            starts.extend(node.input[1:])
        elif node.op_type == "MatMul" and not any(name in network.constants for name in node.input):
            # Products of two activations: the overlap matrices of a static NMS, attention scores.
            starts.extend(node.input)
    found = _ancestors(network, starts)
    return frozenset(found)


def _ancestors(network: Network, tensors: Iterable[str]) -> set[str]:
    found: set[str] = set()
    queue = list(tensors)
    while queue:
        node = network.producer.get(queue.pop())
        if node is None or node.name in found or _weighted(network, node) or node.op_type == "RoiAlign":
            continue
        found.add(node.name)
        queue.extend(node.input)
    return found


def _weighted(network: Network, node) -> bool:  # type: ignore[no-untyped-def]
    return (
        node.op_type in WEIGHTED
        and len(node.input) > 1
        and (node.input[1] in network.constants or node.op_type == "Conv")
    )

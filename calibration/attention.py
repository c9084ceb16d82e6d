"""Attention, normalisation and GELU, told by how their nodes hang together, never by an operator's name alone.

A Softmax may be the core of attention, the weights of deformable attention, the bins of a box edge (DFL) or class
scores. What it multiplies tells them apart: activations, sampled features, a constant, or nothing.

What stays in float, and why. Projections (query, key, value, output, feed-forward) are ordinary layers, and INT8
serves them well. The cores are another matter. Attention maps are most uneven, and the inputs of LayerNorm have
channels that reach 40 times the median's range, so that these two are what quantised vision transformers lose most
by (FQ-ViT, arXiv:2111.13824); Softmax, LayerNorm and GELU in integers take approximations of their own (I-BERT,
arXiv:2101.01321); at 4 bits DETR loses more to its decoder's attention than to its encoder or its other layers
(Q-DETR, arXiv:2304.00253). TensorRT fuses product, Softmax and product into one kernel ("Fused Attention" in
NVIDIA's manual, https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/transformers-fused-attention.html),
so the three have one type. docs/int8.md has what each of them costs in INT8, as measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import onnx

from edgedet.onnx_graph.network import Network

MOVES = frozenset(
    [
        "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Expand", "Tile",
        "Identity", "Cast", "Pad", "Gather", "GatherElements", "QuantizeLinear", "DequantizeLinear",
    ]
)  # fmt: skip
"""Operators that put values elsewhere and leave them what they are."""
ELEMENTWISE = frozenset(["Mul", "Div", "Add", "Sub", "Where", "Clip", "Min", "Max", "Tanh"])
"""Operators between a product and its Softmax: scales, masks, relative positions, soft caps."""
PRODUCTS = ("MatMul", "Einsum")
ROOTS = ("Sqrt", "Pow", "Reciprocal")
MEANS = ("ReduceMean", "ReduceSum")

Test = Callable[[onnx.NodeProto], bool]


def attention(network: Network) -> frozenset[str]:
    """Names of the nodes of attention cores: between products and Softmax, and where its weights are used.

    A core is ``product -> scale, mask -> Softmax -> product``; one of the first and the second operand of the last
    may be constant (queries that are learned, and read no image). In deformable attention (arXiv:2010.04159) the
    Softmax weighs features that GridSample took: ``Softmax -> Mul -> ReduceSum``.
    """
    found: set[str] = set()
    for node in network.graph.node:
        if node.op_type == "Softmax":
            found |= _dot_product(network, node) or _deformable(network, node)
    return frozenset(found)


def normalisations(network: Network) -> frozenset[str]:
    """Names of LayerNormalization nodes, and of the nodes of norms that are spelled out.

    Those divide by the root of a mean square: ``Pow -> ReduceMean -> Add -> Sqrt -> Div``, with or without the mean
    taken away before.
    """
    found: set[str] = set()
    for node in network.graph.node:
        if node.op_type == "LayerNormalization":
            found.add(node.name)
        elif node.op_type in ROOTS:
            found |= _spelled_norm(network, node)
    return frozenset(found)


def gelus(network: Network) -> frozenset[str]:
    """Names of Gelu nodes, and of the nodes of ``x / 2 * (1 + erf(x / sqrt 2))`` and its form with tanh."""
    found: set[str] = set()
    for node in network.graph.node:
        if node.op_type == "Gelu":
            found.add(node.name)
        elif node.op_type in ("Erf", "Tanh"):
            found |= _spelled_gelu(network, node)
    return frozenset(found)


def float_core(network: Network, layers: Collection[str]) -> frozenset[str]:
    """Names of the nodes that stay in float beside decoding: attention, norms, GELU, GridSample, and their inputs.

    Args:
        network: the graph.
        layers: names of weighted layers; what lies between the nearest of them and a core is the core's input.
    """
    samples = {node.name for node in network.graph.node if node.op_type == "GridSample"}
    norms = normalisations(network)
    cores = attention(network) | samples | gelus(network)
    before = _before(network, cores, lambda node: _moves(network, node), layers)
    # The residual stream in front of a norm: its channels differ most.
    residual = _before(
        network, norms, lambda node: _moves(network, node) or node.op_type in ("Add", "LayerNormalization"), layers
    )
    return frozenset(norms | cores | before | residual)


def is_product(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node multiplies two matrices of activations."""
    return node.op_type in PRODUCTS and not any(_constant(network, name) for name in node.input)


def _dot_product(network: Network, softmax: onnx.NodeProto) -> set[str]:
    """The core around a Softmax, or nothing."""
    into = _way_up(
        network, softmax.input[0], lambda node: is_product(network, node), MOVES | ELEMENTWISE
    )  # fmt: skip
    out = _way_down(network, softmax.output[0], lambda node: node.op_type in PRODUCTS, MOVES | {"Where", "IsNaN"})
    uses = [network.nodes[name] for name in out if network.nodes[name].op_type in PRODUCTS]
    # Bins of a box edge are multiplied with a constant, too; but no product of activations made them.
    if uses and (into or any(is_product(network, node) for node in uses)):
        return into | out | {softmax.name}
    return set()


def _deformable(network: Network, softmax: onnx.NodeProto) -> set[str]:
    """The weighing of sampled features by a Softmax, or nothing."""
    found: set[str] = set()

    def weighs_samples(node: onnx.NodeProto) -> bool:
        if node.op_type not in ("Mul", *PRODUCTS):
            return False
        sampled: set[str] = set()
        for name in node.input:
            sampled |= _way_up(network, name, lambda source: source.op_type == "GridSample", MOVES)
        found.update(sampled)
        return bool(sampled)

    out = _way_down(network, softmax.output[0], weighs_samples, MOVES)
    if not out:
        return set()
    for name in list(out):
        for reader in network.consumers.get(network.nodes[name].output[0], []):
            if network.nodes[name].op_type == "Mul" and reader.op_type == "ReduceSum":
                out.add(reader.name)
    return out | found | {softmax.name}


def _spelled_norm(network: Network, root: onnx.NodeProto) -> set[str]:
    if root.op_type == "Reciprocal" or (root.op_type == "Pow" and _number(network, root, 1) not in (0.5, -0.5)):
        return set()
    found = {root.name}
    mean = network.producer.get(root.input[0])
    if mean is not None and mean.op_type in ("Add", "Clip", "Max"):
        found.add(mean.name)
        mean = next((node for name in mean.input if (node := network.producer.get(name)) is not None), None)
    if mean is None or mean.op_type not in MEANS:
        return set()
    square = network.producer.get(mean.input[0])
    if square is None or not _is_square(network, square):
        return set()
    found |= {mean.name, square.name}
    centred = network.producer.get(square.input[0])
    if centred is not None and centred.op_type == "Sub":
        found.add(centred.name)
        found |= {
            node.name
            for name in centred.input
            if (node := network.producer.get(name)) is not None and node.op_type in MEANS
        }
    for reader in network.consumers.get(root.output[0], []):
        if reader.op_type in ("Div", "Mul"):
            found.add(reader.name)
        elif reader.op_type == "Reciprocal":
            found |= {reader.name, *(node.name for node in network.consumers.get(reader.output[0], []))}
    return found


def _is_square(network: Network, node: onnx.NodeProto) -> bool:
    if node.op_type == "Mul":
        return node.input[0] == node.input[1]
    return node.op_type == "Pow" and _number(network, node, 1) == 2


def _spelled_gelu(network: Network, gate: onnx.NodeProto) -> set[str]:
    plus = network.only_reader(gate.output[0])
    if plus is None or plus.op_type != "Add" or _number(network, plus, 0, 1) != 1:
        return set()
    times = network.only_reader(plus.output[0])
    if times is None or times.op_type != "Mul":
        return set()
    found = {gate.name, plus.name, times.name}
    before = network.producer.get(gate.input[0])
    if before is not None and before.op_type in ("Div", "Mul"):
        found.add(before.name)
    halves = [network.only_reader(times.output[0]), *(network.producer.get(name) for name in times.input)]
    found |= {node.name for node in halves if node is not None and _number(network, node, 0, 1) == 0.5}
    return found


def _number(network: Network, node: onnx.NodeProto, *places: int) -> float | None:
    """The one constant number among a node's inputs at ``places``; None where there is none."""
    for place in places:
        if place < len(node.input) and node.input[place] in network.constants:
            value = network.constant(node.input[place])
            if value.size == 1:
                return float(np.float32(value.reshape(-1)[0]))
    return None


def _constant(network: Network, tensor: str) -> bool:
    """Whether a tensor is a constant, stored as it is or in integers."""
    if tensor in network.constants:
        return True
    node = network.producer.get(tensor)
    return node is not None and node.op_type == "DequantizeLinear" and node.input[0] in network.constants


def _moves(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a node moves values, or scales and shifts them by constants (a bias, the root of the width)."""
    if node.op_type in MOVES:
        return True
    return node.op_type in ELEMENTWISE and sum(not _constant(network, name) for name in node.input if name) == 1


def _before(network: Network, names: Iterable[str], passes: Test, layers: Collection[str]) -> set[str]:
    """Nodes that ``passes`` lets through, going up from the nodes ``names`` to the nearest of ``layers``."""
    found: set[str] = set()
    queue = [tensor for name in names for tensor in network.nodes[name].input]
    while queue:
        node = network.producer.get(queue.pop())
        if node is None or node.name in found or node.name in layers or not passes(node):
            continue
        found.add(node.name)
        queue.extend(node.input)
    return found


def _way_up(network: Network, tensor: str, goal: Test, passing: Collection[str]) -> set[str]:
    """Names of the nodes between ``tensor`` and the makers of it that are a ``goal``, those included."""
    known: dict[str, set[str]] = {}

    def search(name: str) -> set[str]:
        node = network.producer.get(name)
        if node is None:
            return set()
        if node.name not in known:
            known[node.name] = set()
            if goal(node):
                known[node.name] = {node.name}
            elif node.op_type in passing:
                found = set().union(*(search(source) for source in node.input))
                known[node.name] = found | {node.name} if found else set()
        return known[node.name]

    return search(tensor)


def _way_down(network: Network, tensor: str, goal: Test, passing: Collection[str]) -> set[str]:
    """Names of the nodes between ``tensor`` and the readers of it that are a ``goal``, those included."""
    known: dict[str, set[str]] = {}

    def search(name: str) -> set[str]:
        found: set[str] = set()
        for node in network.consumers.get(name, []):
            if node.name not in known:
                known[node.name] = set()
                if goal(node):
                    known[node.name] = {node.name}
                elif node.op_type in passing:
                    further = set().union(*(search(output) for output in node.output))
                    known[node.name] = further | {node.name} if further else set()
            found |= known[node.name]
        return found

    return search(tensor)

"""The nodes of an ONNX file and the precision its layers compute in, read without the onnx package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts import onnx_fields as proto
from edgedet.artifacts.onnx_file import mapped_onnx
from edgedet.artifacts.protobuf import Content, fields, text

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with nearly all of a detector's arithmetic: where their weights are stored low, it pays."""

INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QGemm")
"""The same in the operator-oriented dialect of quantised ONNX."""

PASSING = ("Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten")
"""Operators between a weight and its layer that leave the precision alone."""


@dataclass(frozen=True)
class Node:
    """One node of the main graph."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class GraphLayers:
    """``opset``: of the main operator set. ``layers``: name of every layer with weights to its precision."""

    opset: int
    nodes: tuple[Node, ...]
    layers: dict[str, str]

    @property
    def operators(self) -> dict[str, int]:
        """How many nodes of each operator, the most frequent first."""
        return dict(Counter(node.op for node in self.nodes).most_common())

    @property
    def precisions(self) -> dict[str, int]:
        """How many layers compute in each precision, the most frequent first."""
        return dict(Counter(self.layers.values()).most_common())


def read_layers(path: str | Path, content: bytes | None = None) -> GraphLayers:
    """Read the nodes of an ONNX file's main graph; weights are not touched. ``content``: its bytes, where they are
    at hand.

    Raises:
        ArtifactError: not an ONNX file, or one that ends too early.
    """
    with mapped_onnx(path, content) as whole:
        return parse_layers(whole)


def parse_layers(content: Content) -> GraphLayers:
    """The same of an ONNX file's bytes.

    Raises:
        DamagedError: not an ONNX file.
    """
    opset, nodes, kinds = 0, [], {}
    for field, value in fields(content, 0, len(content)):
        if isinstance(value, int):
            continue
        if field == proto.MODEL_OPSET:
            domain, version = _opset(content, *value)
            opset = version if domain in ("", "ai.onnx") else opset
        elif field == proto.MODEL_GRAPH:
            for part, place in fields(content, *value):
                if isinstance(place, int):
                    continue
                if part == proto.GRAPH_NODE:
                    nodes.append(read_node(content, *place))
                elif part == proto.GRAPH_INITIALIZER:
                    name, kind = _initializer(content, *place)
                    kinds[name] = kind
    return GraphLayers(opset, tuple(nodes), layer_precisions(nodes, kinds))


def layer_precisions(nodes: list[Node], kinds: Mapping[str, int]) -> dict[str, str]:
    """Precision of every layer with weights.

    ``kinds``: data type of each initializer. A layer is ``int8`` when both its weights and its input come out of
    DequantizeLinear (runtimes fuse the three), ``int8 weights`` when only the weights do.
    """
    producers = {name: node for node in nodes for name in node.outputs}
    layers = {}
    for index, node in enumerate(nodes):
        name = node.name or f"{node.op}_{index}"
        if node.op in INTEGER:
            layers[name] = "int8"
        if node.op not in WEIGHTED or len(node.inputs) < 2:
            continue
        sources = [_source(tensor, producers) for tensor in node.inputs[:2]]
        quantised = [source is not None and source.op == "DequantizeLinear" for source in sources]
        weight = node.inputs[1]
        while weight not in kinds and weight in producers and producers[weight].op in (*PASSING, "Cast"):
            weight = producers[weight].inputs[0]
        if all(quantised):
            layers[name] = "int8"
        elif quantised[1]:
            layers[name] = "int8 weights"
        elif weight in kinds:
            layers[name] = "fp16" if proto.ELEMENT_TYPES.get(kinds[weight]) == "float16" else "fp32"
        # A product of two activations (attention) has no weights; its precision is that of its neighbours.
    return layers


def _source(tensor: str, producers: Mapping[str, Node]) -> Node | None:
    node = producers.get(tensor)
    while node is not None and node.op in PASSING:
        node = producers.get(node.inputs[0])
    return node


def read_node(content: Content, start: int, end: int) -> Node:
    inputs, outputs = [], []
    name = op = ""
    for field, value in fields(content, start, end):
        if isinstance(value, int):
            continue
        if field == proto.NODE_INPUT:
            inputs.append(text(content, *value))
        elif field == proto.NODE_OUTPUT:
            outputs.append(text(content, *value))
        elif field == proto.NODE_NAME:
            name = text(content, *value)
        elif field == proto.NODE_OP_TYPE:
            op = text(content, *value)
    return Node(name, op, tuple(inputs), tuple(outputs))


def _initializer(content: Content, start: int, end: int) -> tuple[str, int]:
    name, kind = "", 0
    for field, value in fields(content, start, end):
        if field == proto.TENSOR_DATA_TYPE and isinstance(value, int):
            kind = value
        elif field == proto.TENSOR_NAME and not isinstance(value, int):
            name = text(content, *value)
    return name, kind


def _opset(content: Content, start: int, end: int) -> tuple[str, int]:
    domain, version = "", 0
    for field, value in fields(content, start, end):
        if field == proto.OPSET_DOMAIN and not isinstance(value, int):
            domain = text(content, *value)
        elif field == proto.OPSET_VERSION and isinstance(value, int):
            version = value
    return domain, version

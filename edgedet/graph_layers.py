"""The nodes of an ONNX file and the precision its layers compute in, read without the onnx package."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import ArtifactError
from edgedet.protobuf import Content, DamagedError, fields, text

# Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
MODEL_GRAPH, MODEL_OPSET = 7, 8
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP_TYPE = 1, 2, 3, 4
TENSOR_DATA_TYPE, TENSOR_NAME = 2, 8
OPSET_DOMAIN, OPSET_VERSION = 1, 2
FLOAT16 = 10

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


def read_layers(path: str | Path) -> GraphLayers:
    """Read the nodes of an ONNX file's main graph; weights are not touched.

    Raises:
        ArtifactError: not an ONNX file, or one that ends too early.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return parse_layers(content)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except (DamagedError, ValueError) as error:  # ValueError: mmap of an empty file
        raise ArtifactError(f"{path} is not a complete ONNX file ({error}); copy or export it again") from None


def parse_layers(content: Content) -> GraphLayers:
    """The same of an ONNX file's bytes.

    Raises:
        DamagedError: not an ONNX file.
    """
    opset, nodes, kinds = 0, [], {}
    for field, value in fields(content, 0, len(content)):
        if isinstance(value, int):
            continue
        if field == MODEL_OPSET:
            domain, version = _opset(content, *value)
            opset = version if domain in ("", "ai.onnx") else opset
        elif field == MODEL_GRAPH:
            for part, place in fields(content, *value):
                if isinstance(place, int):
                    continue
                if part == GRAPH_NODE:
                    nodes.append(read_node(content, *place))
                elif part == GRAPH_INITIALIZER:
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
            layers[name] = "fp16" if kinds[weight] == FLOAT16 else "fp32"
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
        if field == NODE_INPUT:
            inputs.append(text(content, *value))
        elif field == NODE_OUTPUT:
            outputs.append(text(content, *value))
        elif field == NODE_NAME:
            name = text(content, *value)
        elif field == NODE_OP_TYPE:
            op = text(content, *value)
    return Node(name, op, tuple(inputs), tuple(outputs))


def _initializer(content: Content, start: int, end: int) -> tuple[str, int]:
    name, kind = "", 0
    for field, value in fields(content, start, end):
        if field == TENSOR_DATA_TYPE and isinstance(value, int):
            kind = value
        elif field == TENSOR_NAME and not isinstance(value, int):
            name = text(content, *value)
    return name, kind


def _opset(content: Content, start: int, end: int) -> tuple[str, int]:
    domain, version = "", 0
    for field, value in fields(content, start, end):
        if field == OPSET_DOMAIN and not isinstance(value, int):
            domain = text(content, *value)
        elif field == OPSET_VERSION and isinstance(value, int):
            version = value
    return domain, version

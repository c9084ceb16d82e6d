"""Whether TensorRT 10.3, 10.16, 11.4 or TensorRT-RTX 1.7 can build a graph and replay its engine as one CUDA graph.

An engine build takes minutes on a Jetson, and the parser's own message names an operator, not a remedy. This check
takes milliseconds on any machine, without TensorRT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto, numpy_helper

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.opset import opset_of

from .operator_limits import (
    DATA_DEPENDENT,
    LARGEST_RANK,
    LIMITS,
    OPERATORS,
    UNSUPPORTED,
    GraphFacts,
)
from .parser_versions import TENSORRT, VERSIONS, ParserVersion, spoken

NOT_CHECKED: dict[str, frozenset[int]] = {
    # Operator to the inputs whose type is fixed by ONNX and unlike the data's.
    "Where": frozenset([0]),
    "Gather": frozenset([1]),
    "GatherElements": frozenset([1]),
    "GatherND": frozenset([1]),
    "ScatterND": frozenset([1]),
    "ScatterElements": frozenset([1]),
    "TopK": frozenset([1]),
    "RoiAlign": frozenset([2]),
    "Resize": frozenset([1, 2, 3]),
    "Pad": frozenset([1, 3]),
    "CumSum": frozenset([1]),
    "ReduceSum": frozenset([1]),
    "ReduceL2": frozenset([1]),
    "ReduceL1": frozenset([1]),
    "QuantizeLinear": frozenset([1, 2]),
    "DequantizeLinear": frozenset([0, 1, 2]),
    "OneHot": frozenset([0, 1]),
    "Dropout": frozenset([1, 2]),
}

QUANTISING = ("QuantizeLinear", "DequantizeLinear")
"""Layers that keep their node's name, which must be new: all others are given another where it is taken."""

CAST_FIRST = "uint8 pixels must be cast before anything else reads them: Cast first, everything else behind it"


@dataclass(frozen=True)
class Finding:
    """Why one node keeps a graph from becoming an engine with one TensorRT version."""

    version: str
    node: str
    operator: str
    reason: str

    def __str__(self) -> str:
        return f"{spoken([self.version])}: {self.operator} {self.node}: {self.reason}"


def check_operators(model: onnx.ModelProto, versions: Iterable[str] = TENSORRT) -> list[Finding]:
    """Everything in ``model`` that cannot be built, or cannot run with fixed shapes; empty if all can.

    Args:
        model: the graph.
        versions: keys of :data:`edgedet.export.engines.parser_versions.VERSIONS`:
            :data:`~edgedet.export.engines.parser_versions.TENSORRT` or
            :data:`~edgedet.export.engines.parser_versions.TENSORRT_RTX`, by what is built.

    Returns:
        One finding for every version, node and reason.
    """
    facts = _facts(model)
    findings = []
    for name in versions:
        version = VERSIONS[name]
        findings += [Finding(name, *found) for found in _inspect(model, facts, version)]
    return findings


def require_parsable(model: onnx.ModelProto, versions: Iterable[str] = TENSORRT, *, where: str) -> None:
    """Insist on a graph that becomes an engine.

    Args:
        model: the graph.
        versions: as of :func:`check_operators`.
        where: what errors call it.

    Raises:
        ArtifactError: naming the nodes and what to do about them.
    """
    findings = check_operators(model, versions)
    if not findings:
        return
    by_node: dict[tuple[str, str, str], list[str]] = {}
    for finding in findings:
        by_node.setdefault((finding.operator, finding.node, finding.reason), []).append(finding.version)
    said = [
        f"{operator} {node} ({spoken(names)}): {reason}"
        for (operator, node, reason), names in list(by_node.items())[:4]
    ]
    more = f"; and {len(by_node) - 4} more" if len(by_node) > 4 else ""
    libraries = " or ".join(dict.fromkeys(VERSIONS[finding.version].library for finding in findings))
    raise ArtifactError(f"{where} cannot become a {libraries} engine: {'; '.join(said)}{more}")


def _inspect(model: onnx.ModelProto, facts: GraphFacts, version: ParserVersion) -> Iterator[tuple[str, str, str]]:
    if not version.first_opset <= facts.opset <= version.last_opset:
        yield "graph", "opset", f"{facts.opset}, expected {version.first_opset} to {version.last_opset}"
    network = Network(model)
    for name in network.inputs:
        if name not in network.constants and not _static(facts.shapes.get(name)):
            yield name, "input", "a dynamic shape; engines of edgedet have fixed ones: export it again"
    taken = set(network.constants)
    for node in model.graph.node:
        name = node.name or (node.output[0] if node.output else "")
        if node.op_type in QUANTISING and node.name in taken - {""}:
            yield name, node.op_type, "a node before it, or a constant, has the same name; give it one of its own"
        taken |= set(node.output) if node.op_type == "Constant" else {node.name}
        for reason in _node(node, facts, version, network):
            yield name, node.op_type, reason


def _node(node: onnx.NodeProto, facts: GraphFacts, version: ParserVersion, network: Network) -> Iterator[str]:
    for reasons in (version.missing, DATA_DEPENDENT):
        if node.op_type in reasons:
            yield reasons[node.op_type]
            return
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        domain = f" of domain {node.domain}" if node.domain not in ("", "ai.onnx") else ""
        yield f"not an operator{domain} that TensorRT is known to parse" + (
            f"; {UNSUPPORTED[node.op_type]}" if node.op_type in UNSUPPORTED else ""
        )
        return
    yield from _types(node, facts, network)
    for name in node.output:
        shape = facts.shapes.get(name)
        # Only where it begins: everything behind has no fixed shape either.
        fixed_before = all(_static(facts.shapes.get(source)) for source in node.input if source)
        if name and not _static(shape) and fixed_before:
            yield f"{name} has no fixed shape; export it again"
        elif shape is not None and len(shape) > LARGEST_RANK:
            yield f"{name} has rank {len(shape)}, TensorRT takes at most {LARGEST_RANK}"
    if node.op_type in LIMITS:
        yield from LIMITS[node.op_type](node, facts, version)


def _types(node: onnx.NodeProto, facts: GraphFacts, network: Network) -> Iterator[str]:
    """uint8 exists at the network's edge only: an input read by Cast, or an output written by one."""
    allowed = OPERATORS[node.op_type]
    unlike = NOT_CHECKED.get(node.op_type, frozenset())
    for index, name in enumerate(node.input):
        kind = facts.types.get(name)
        if not name or kind is None or index in unlike or kind in allowed:
            continue
        if node.op_type == "Cast" and kind == TensorProto.UINT8 and name in network.inputs:
            continue
        hint = f"; {CAST_FIRST}" if kind == TensorProto.UINT8 and name in network.inputs else ""
        yield f"{name} is {_type_name(kind)}, expected {', '.join(sorted(map(_type_name, allowed)))}{hint}"
    if node.op_type == "Constant":
        yield from _constant(node, facts, network)
    if node.op_type == "Cast":
        kind = facts.types.get(node.output[0], TensorProto.UNDEFINED)
        if kind == TensorProto.UINT8 and not network.consumers.get(node.output[0]):
            return
        if kind not in allowed:
            yield f"casts to {_type_name(kind)}, expected {', '.join(sorted(map(_type_name, allowed)))}"


def _constant(node: onnx.NodeProto, facts: GraphFacts, network: Network) -> Iterator[str]:
    """A node is built whether or not it is read; an initializer that nobody reads is not."""
    kind = facts.types.get(node.output[0], TensorProto.UNDEFINED)
    read_as_quantised = {reader.op_type for reader in network.consumers.get(node.output[0], [])} == {
        "DequantizeLinear"
    }
    if kind not in OPERATORS["Constant"] and not (kind == TensorProto.INT8 and read_as_quantised):
        yield f"it is {_type_name(kind)}, expected {', '.join(sorted(map(_type_name, OPERATORS['Constant'])))}"


def _facts(model: onnx.ModelProto) -> GraphFacts:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    types: dict[str, int] = {}
    shapes: dict[str, tuple[int | None, ...]] = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        types[value.name] = kind.elem_type
        if kind.HasField("shape"):
            shapes[value.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    constants = {}
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensor = TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            tensors.append(tensor)
    for tensor in tensors:
        types[tensor.name] = tensor.data_type
        shapes[tensor.name] = tuple(tensor.dims)
        constants[tensor.name] = numpy_helper.to_array(tensor)
    return GraphFacts(types, shapes, constants, opset_of(model))


def _static(shape: tuple[int | None, ...] | None) -> bool:
    return shape is not None and all(size is not None and size > 0 for size in shape)


def _type_name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower() if kind in TensorProto.DataType.values() else str(kind)

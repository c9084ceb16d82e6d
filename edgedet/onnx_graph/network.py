"""A float graph opened for quantisation: cleaned, indexed, and measured in multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.folding import fold_batch_norm

Array = NDArray[Any]

MINIMUM_OPSET = 13
"""Per-channel QuantizeLinear and DequantizeLinear begin here."""
QDQ_OPSET = 19
"""Quantised graphs are raised to this opset: from here on scales may be float16 too."""

CONVOLUTIONS = ("Conv", "ConvTranspose")
WEIGHTED = (*CONVOLUTIONS, "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product whose second operand is a constant: what INT8 is for."""

    name: str
    op_type: str
    input: str
    output: str
    weight: str
    bias: str | None
    channel_axis: int
    """The axis of ``weight`` that is the output channel (0 for Conv, 1 for ConvTranspose, by layout else)."""
    group: int
    multiply_adds: int
    """Per forward pass."""
    depthwise: bool


class Network:
    """A graph with unique node names, its constants as arrays, and indexes from tensors to nodes.

    The indexes describe the graph as it was when :meth:`refresh` last ran; call it after edits.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.refresh()

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))

    def refresh(self) -> None:
        """Rebuild the indexes after nodes were added, removed or rewired."""
        self.nodes: dict[str, onnx.NodeProto] = {node.name: node for node in self.graph.node}
        self.producer: dict[str, onnx.NodeProto] = {}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.output:
                if name:
                    self.producer[name] = node
            for name in dict.fromkeys(node.input):
                if name:
                    self.consumers.setdefault(name, []).append(node)
        self.constants: dict[str, onnx.TensorProto] = {c.name: c for c in self.graph.initializer}
        self.outputs = [o.name for o in self.graph.output]
        self.inputs = [i.name for i in self.graph.input]

    def constant(self, name: str) -> Array:
        """The value of a constant tensor."""
        return numpy_helper.to_array(self.constants[name])

    def set_constant(self, name: str, value: Array) -> None:
        """Replace or add a constant."""
        # ascontiguousarray would turn a scalar into a vector, and a scalar scale into a per-channel one.
        tensor = numpy_helper.from_array(np.asarray(value, order="C"), name)
        if name in self.constants:
            self.constants[name].CopyFrom(tensor)
        else:
            self.graph.initializer.append(tensor)
            self.constants[name] = self.graph.initializer[-1]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Static shapes of every tensor that inference can give one; zeros where a dimension is unknown."""
        inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        found = {c.name: tuple(c.dims) for c in inferred.initializer}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            found[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        return found

    def element_types(self) -> dict[str, int]:
        """ONNX element type of every tensor that inference can give one."""
        inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        found = {c.name: c.data_type for c in inferred.initializer}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            found[value.name] = value.type.tensor_type.elem_type
        return found

    def layers(self) -> list[Layer]:
        """Every weighted layer with constant float weights, in the order of execution."""
        shapes = self.shapes()
        return [layer for node in self.graph.node if (layer := self._layer(node, shapes)) is not None]

    def _layer(self, node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> Layer | None:
        if node.op_type not in WEIGHTED or len(node.input) < 2 or node.input[1] not in self.constants:
            return None
        weight = self.constants[node.input[1]]
        if weight.data_type != onnx.TensorProto.FLOAT:
            return None
        if len(weight.dims) != (2 if node.op_type in ("Gemm", "MatMul") else 4):
            return None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Gemm" and (
            attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0
        ):
            return None
        group = int(attributes.get("group", 1))
        axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1}.get(
            node.op_type, 0 if attributes.get("transB", 0) else 1
        )
        out = shapes.get(node.output[0], ())
        positions = int(
            np.prod(shapes.get(node.input[0], ()) if node.op_type == "ConvTranspose" else out, dtype=np.int64)
        )
        size = int(np.prod(weight.dims, dtype=np.int64))
        per_channel = weight.dims[0] if node.op_type == "ConvTranspose" else weight.dims[axis]
        return Layer(
            name=node.name,
            op_type=node.op_type,
            input=node.input[0],
            output=node.output[0],
            weight=node.input[1],
            bias=node.input[2] if len(node.input) > 2 and node.input[2] else None,
            channel_axis=axis,
            group=group,
            multiply_adds=positions * size // max(int(per_channel), 1),
            depthwise=node.op_type in CONVOLUTIONS and group > 1 and group == weight.dims[0],
        )

    def copy(self) -> Network:
        """An independent copy."""
        duplicate = onnx.ModelProto()
        duplicate.CopyFrom(self.model)
        return Network(duplicate)


def prepare(model: onnx.ModelProto, *, quantised: Literal["refuse", "allow"] = "refuse") -> Network:
    """Clean a float graph for quantisation; the argument is left untouched.

    Constants leave the list of inputs (opset 11 exporters put them there), ``Constant`` and ``Identity`` nodes
    become plain constants and wires, BatchNormalization is folded away, nodes get unique names. The operator set
    is raised to ``QDQ_OPSET`` where the converter manages it and never left below ``MINIMUM_OPSET``.

    Raises:
        ArtifactError: already quantised, or of an operator set that cannot be raised far enough.
    """
    duplicate = onnx.ModelProto()
    duplicate.CopyFrom(model)
    graph = duplicate.graph
    if quantised == "refuse" and any(
        node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv") for node in graph.node
    ):
        raise ArtifactError(
            "the graph is already quantised; calibration starts from a float graph: export it again"
        )
    constants = {c.name for c in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    _inline(graph)
    fold_batch_norm(graph)
    _name_nodes(graph)
    version = next((o.version for o in duplicate.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version < QDQ_OPSET:
        duplicate = _raise_opset(duplicate, version)
        _inline(duplicate.graph)
        _name_nodes(duplicate.graph)
    return Network(duplicate)


def _raise_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    metadata = list(model.metadata_props)
    failure: Exception | None = None
    for target in (QDQ_OPSET, 17, MINIMUM_OPSET):
        if version >= target:
            return model
        try:
            raised: onnx.ModelProto = onnx.version_converter.convert_version(model, target)
            onnx.checker.check_model(raised)
        except Exception as error:
            failure = error
            continue
        if not raised.metadata_props:
            raised.metadata_props.extend(metadata)
        return raised
    raise ArtifactError(
        f"the graph uses opset {version}; INT8 needs {MINIMUM_OPSET} or later and raising it failed ({failure}); "
        "export it again with a newer opset"
    )


def _inline(graph: onnx.GraphProto) -> None:
    """Turn ``Constant`` nodes into initialisers and remove ``Identity`` wires (kept where they name an output)."""
    outputs = {o.name for o in graph.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in renamed:
                node.input[index] = renamed[name]
        if node.op_type == "Constant" and node.output[0] not in outputs and node.attribute[0].name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        elif node.op_type == "Identity" and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for node in graph.node:
        name = stem = node.name or f"{node.op_type}_{node.output[0]}"
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        node.name = name
        taken.add(name)

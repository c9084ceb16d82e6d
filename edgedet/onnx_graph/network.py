"""A graph with its index: who makes a tensor, who reads it, what is constant, and which layers have weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from .shape_inference import inferred, without_constants

Array = NDArray[Any]

CONVOLUTIONS = ("Conv", "ConvTranspose")
WEIGHTED = (*CONVOLUTIONS, "Gemm", "MatMul")


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values: int, float, bytes, lists of them, tensors, graphs."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


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
    """Multiply-adds per forward pass."""
    depthwise: bool


class Network:
    """A graph and the indexes from tensors to nodes, by name.

    The indexes describe the graph as it was when :meth:`refresh` last ran; call it after edits.

    Attributes:
        model: the graph itself, changed in place by those who rewrite it.
        nodes: by name; of several with one name (:func:`edgedet.onnx_graph.preparing.prepare` makes them unique),
            the last.
        producer: the node that makes a tensor; not of graph inputs and constants.
        consumers: the nodes that read a tensor, each once, in order; not those inside branches and loops.
        constants: the initialisers.
        inputs, outputs: names of the graph's own, in order.
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
        self._inferred: onnx.GraphProto | None = None
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

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The one node that reads ``tensor``; None where several do, none does, or the graph gives it out."""
        readers = self.consumers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def constant(self, name: str) -> Array:
        """The value of a constant tensor."""
        return numpy_helper.to_array(self.constants[name])

    def set_constant(self, name: str, value: Array) -> None:
        """Replace or add a constant."""
        self._inferred = None
        # ascontiguousarray would turn a scalar into a vector, and a scalar scale into a per-channel one.
        tensor = numpy_helper.from_array(np.asarray(value, order="C"), name)
        if name in self.constants:
            self.constants[name].CopyFrom(tensor)
        else:
            self.graph.initializer.append(tensor)
            self.constants[name] = self.graph.initializer[-1]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Static shapes of every tensor that inference can give one; zeros where a dimension is unknown."""
        graph = self._with_shapes()
        found = {c.name: tuple(c.dims) for c in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            found[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        return found

    def element_types(self) -> dict[str, int]:
        """ONNX element type of every tensor that inference can give one."""
        graph = self._with_shapes()
        found = {c.name: c.data_type for c in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            found[value.name] = value.type.tensor_type.elem_type
        return found

    def _with_shapes(self) -> onnx.GraphProto:
        """What inference says of the graph as it is, asked once."""
        if self._inferred is None:
            self._inferred = inferred(self.model)
        return self._inferred

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
        settings = attributes(node)
        if node.op_type == "Gemm" and (
            settings.get("transA", 0) or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0
        ):
            return None
        group = int(settings.get("group", 1))
        axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1}.get(node.op_type, 0 if settings.get("transB", 0) else 1)
        out = shapes.get(node.output[0], ())
        positions = math.prod(shapes.get(node.input[0], ()) if node.op_type == "ConvTranspose" else out)
        size = math.prod(weight.dims)
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

    def parts(self) -> Iterator[bytes]:
        """What makes it this graph and no other: all but the constants, then one constant after the other."""
        yield without_constants(self.model).SerializeToString(deterministic=True)
        for tensor in self.graph.initializer:
            yield tensor.SerializeToString(deterministic=True)

    def copy(self) -> Network:
        """An independent copy."""
        duplicate = onnx.ModelProto()
        duplicate.CopyFrom(self.model)
        return Network(duplicate)

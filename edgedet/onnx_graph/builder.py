"""Writing ONNX graphs by hand: a small builder, and the joining of networks exported from torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""IR version of opset 17; newer ones keep older runtimes (JetPack 6) from reading the file."""

Array = NDArray[Any]
DTYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


class GraphBuilder:
    """Collects nodes and constants; every method returns names of tensors, to be used as inputs of others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._taken: set[str] = set()

    def input(self, name: str, dtype: str, shape: Sequence[int]) -> str:
        """Declare a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], list(shape)))
        self._taken.add(name)
        return name

    def output(self, tensor: str, name: str, dtype: str, shape: Sequence[int]) -> None:
        """Declare ``tensor`` a graph output, under ``name``."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=self._unique(f"output/{name}")))
        self.outputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], list(shape)))

    def constant(self, value: ArrayLike, dtype: Any = np.float32) -> str:
        """A constant; equal ones are stored once."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._unique("const")
            self.initializers[name] = numpy_helper.from_array(array, name)
            self._constants[key] = name
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """An int64 vector: shapes, axes, counts."""
        return self.constant(values, np.int64)

    def op(self, op_type: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node with one output; ``name`` is its path in the graph, as ``nms/topk``."""
        (result,) = self.ops(op_type, *inputs, name=name, outputs=1, **attributes)
        return result

    def ops(self, op_type: str, *inputs: str, name: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """Add a node with several outputs."""
        name = self._unique(name)
        results = (name,) if outputs == 1 else tuple(f"{name}:{i}" for i in range(outputs))
        self.nodes.append(helper.make_node(op_type, list(inputs), list(results), name=name, **attributes))
        return results

    def inline(self, model: onnx.ModelProto, inputs: Mapping[str, str], *, prefix: str) -> tuple[str, ...]:
        """Copy ``model``'s nodes in, its inputs replaced by tensors of this graph; returns its outputs."""
        renamed = dict(inputs)

        def rename(tensor: str) -> str:
            if tensor and tensor not in renamed:
                renamed[tensor] = self._unique(f"{prefix}/{tensor.strip('/')}")
            return renamed.get(tensor, "")

        for initializer in model.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(initializer)
            copy.name = rename(initializer.name)
            self.initializers[copy.name] = copy
        for node in model.graph.node:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            del copied.input[:], copied.output[:]
            copied.input.extend(rename(tensor) for tensor in node.input)
            copied.output.extend(rename(tensor) for tensor in node.output)
            copied.name = self._unique(f"{prefix}/{(node.name or node.op_type).strip('/')}")
            self.nodes.append(copied)
        return tuple(rename(tensor.name) for tensor in model.graph.output)

    def model(self, *, opset: int = OPSET) -> onnx.ModelProto:
        """The finished model, shapes not yet inferred."""
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, initializer=list(self.initializers.values())
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="edgedet"
        )

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._taken:
            candidate, count = f"{name}_{count}", count + 1
        self._taken.add(candidate)
        return candidate

"""Graphs in half precision brought back to float32, which every precision of ours starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgedet.errors import ArtifactError

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def to_full_precision(model: onnx.ModelProto, path: Path) -> int:
    """Make every float16 of ``model`` a float32, in place; returns how many weights there were.

    The numbers stay as they were rounded; what is computed of them is no longer rounded on the way.

    Raises:
        ArtifactError: weights that float16 could not hold when they were rounded.
    """
    halves = 0
    for graph in _graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in HALVES:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        for tensor in graph.initializer:
            halves += _widen(tensor, path)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    halves += _widen(attribute.t, path)
                if attribute.name in ("to", "dtype", "output_dtype") and attribute.i in HALVES:
                    attribute.i = TensorProto.FLOAT
    if halves:
        _drop_idle_casts(model.graph)
    return halves


def _widen(tensor: onnx.TensorProto, path: Path) -> int:
    if tensor.data_type not in HALVES:
        return 0
    array = numpy_helper.to_array(tensor).astype(np.float32)
    if array.size > 1 and not np.isfinite(array).all():
        lost = int((~np.isfinite(array)).sum())
        raise ArtifactError(
            f"{path} is in half precision, and {lost} of the {array.size} numbers of {tensor.name or 'a constant'} "
            "did not fit into it (they are infinite or not numbers); export it again in full precision, edgedet "
            "makes fp16 itself (--fp16)"
        )
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return 1


def _drop_idle_casts(graph: onnx.GraphProto) -> None:
    """Casts between the two precisions do nothing now: identities, which cleaning takes out."""
    floats = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    floats |= {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in graph.node:
        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)
        if node.op_type == "Cast" and to == TensorProto.FLOAT and node.input[0] in floats:
            identity = onnx.helper.make_node("Identity", list(node.input), list(node.output), name=node.name)
            node.CopyFrom(identity)
        if node.op_type in KEEPING and node.input and node.input[0] in floats:
            floats.update(node.output)


KEEPING = (
    "Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Sigmoid", "Relu", "LeakyRelu", "Clip",
    "MaxPool", "AveragePool", "Resize", "Concat", "Reshape", "Transpose", "Softmax", "Identity", "Cast", "Slice",
    "Split", "Unsqueeze", "Squeeze", "Exp", "Pow", "Sqrt", "HardSigmoid", "HardSwish", "Flatten",
)  # fmt: skip
"""Operators that give floats where their first input is floats (a cast to another type is looked at before)."""


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and those in its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)

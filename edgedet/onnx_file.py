"""What an ONNX file says of itself, read without the onnx package and without creating a session.

Walks ``ModelProto`` over a memory map, skipping what it does not need: about a millisecond, weights untouched.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import ArtifactError
from edgedet.protobuf import Content, DamagedError, fields, text

# Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
MODEL_IR_VERSION, MODEL_PRODUCER, MODEL_GRAPH, MODEL_METADATA = 1, 2, 7, 14
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 5, 11, 12
TENSOR_NAME = 8

ELEMENT_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""TensorProto.DataType to NumPy's names, those that detectors take or give."""


@dataclass(frozen=True)
class GraphTensor:
    """An input or output; a dimension the graph leaves open is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class OnnxFile:
    """``inputs`` leaves out initialisers that old files list as inputs."""

    metadata: dict[str, str]
    producer: str
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]


def read_onnx(path: str | Path) -> OnnxFile:
    """Read metadata, inputs and outputs of an ONNX file.

    Raises:
        ArtifactError: not an ONNX file, or one that ends too early.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _read_model(content)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except DamagedError as error:
        raise ArtifactError(f"{path} is not a complete ONNX file ({error}); copy or export it again") from None


def _read_model(content: Content) -> OnnxFile:
    metadata: dict[str, str] = {}
    producer = ""
    graph: tuple[int, int] | None = None
    for field, value in fields(content, 0, len(content)):
        if isinstance(value, int):
            continue
        if field == MODEL_METADATA:
            entry = dict(_strings(content, *value))
            metadata[entry.get(1, "")] = entry.get(2, "")
        elif field == MODEL_PRODUCER:
            producer = text(content, *value)
        elif field == MODEL_GRAPH:
            graph = value
    if graph is None:
        raise DamagedError("it holds no graph")
    inputs, outputs, initializers = [], [], set()
    for field, value in fields(content, *graph):
        if isinstance(value, int):
            continue
        if field == GRAPH_INPUT:
            inputs.append(read_tensor(content, *value))
        elif field == GRAPH_OUTPUT:
            outputs.append(read_tensor(content, *value))
        elif field == GRAPH_INITIALIZER:
            initializers.add(dict(_strings(content, *value, only=TENSOR_NAME)).get(TENSOR_NAME))
    if not outputs:
        raise DamagedError("its graph has no outputs")
    return OnnxFile(
        metadata, producer, tuple(tensor for tensor in inputs if tensor.name not in initializers), tuple(outputs)
    )


def _strings(content: Content, start: int, end: int, only: int | None = None) -> Iterator[tuple[int, str]]:
    for field, value in fields(content, start, end):
        if not isinstance(value, int) and (only is None or field == only):
            yield field, text(content, *value)


def _messages(content: Content, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    for field, value in fields(content, start, end):
        if field == wanted and not isinstance(value, int):
            yield value


def read_tensor(content: Content, start: int, end: int) -> GraphTensor:
    """ValueInfoProto: name = 1, type = 2 (tensor_type = 1: elem_type = 1, shape = 2: dim = 1: dim_value = 1)."""
    name, dtype = "", "unknown"
    shape: list[int | None] = []
    for field, value in fields(content, start, end):
        if isinstance(value, int):
            continue
        if field == 1:
            name = text(content, *value)
        elif field == 2:
            for tensor_type in _messages(content, *value, wanted=1):
                for inner, inner_value in fields(content, *tensor_type):
                    if isinstance(inner_value, int):
                        dtype = ELEMENT_TYPES.get(inner_value, "unknown") if inner == 1 else dtype
                    elif inner == 2:
                        for dimension in _messages(content, *inner_value, wanted=1):
                            sizes = [size for number, size in fields(content, *dimension) if number == 1]
                            shape.append(sizes[0] if sizes and isinstance(sizes[0], int) else None)
    return GraphTensor(name, dtype, tuple(shape))

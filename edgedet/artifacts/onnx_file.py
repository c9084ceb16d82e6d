"""What an ONNX file says of itself, read without the onnx package and without creating a session.

Walks ``ModelProto`` over a memory map, skipping what it does not need: about a millisecond, weights untouched.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts import onnx_fields as proto
from edgedet.artifacts.protobuf import Content, DamagedError, fields, text
from edgedet.errors import ArtifactError


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


@contextmanager
def mapped_onnx(path: str | Path, content: bytes | None = None) -> Iterator[Content]:
    """The bytes of an ONNX file, mapped and not read, for a block that walks them; or ``content`` in their place.

    Raises:
        ArtifactError: it cannot be opened or is empty, or the block found it damaged (``DamagedError``).
    """
    path = Path(path)
    try:
        if content is not None:
            yield content
            return
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # which cannot be mapped
                raise ArtifactError(f"{path} is empty; copy or export it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                yield mapped
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except DamagedError as error:
        raise ArtifactError(f"{path} is not a complete ONNX file ({error}); copy or export it again") from None


def read_onnx(path: str | Path, content: bytes | None = None) -> OnnxFile:
    """Read metadata, inputs and outputs of an ONNX file. ``content``: its bytes, where they are at hand.

    Raises:
        ArtifactError: not an ONNX file, or one that ends too early.
    """
    with mapped_onnx(path, content) as whole:
        return _read_model(whole)


def _read_model(content: Content) -> OnnxFile:
    metadata: dict[str, str] = {}
    producer = ""
    graph: tuple[int, int] | None = None
    for field, value in fields(content, 0, len(content)):
        if isinstance(value, int):
            continue
        if field == proto.MODEL_METADATA:
            entry = dict(_strings(content, *value))
            metadata[entry.get(proto.METADATA_KEY, "")] = entry.get(proto.METADATA_VALUE, "")
        elif field == proto.MODEL_PRODUCER:
            producer = text(content, *value)
        elif field == proto.MODEL_GRAPH:
            graph = value
    if graph is None:
        raise DamagedError("it holds no graph")
    inputs, outputs, initializers = [], [], set()
    for field, value in fields(content, *graph):
        if isinstance(value, int):
            continue
        if field == proto.GRAPH_INPUT:
            inputs.append(read_tensor(content, *value))
        elif field == proto.GRAPH_OUTPUT:
            outputs.append(read_tensor(content, *value))
        elif field == proto.GRAPH_INITIALIZER:
            initializers.add(dict(_strings(content, *value, only=proto.TENSOR_NAME)).get(proto.TENSOR_NAME))
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
    """The ValueInfoProto in ``content[start:end]``: name, element type and shape of an input, output or value."""
    name, dtype = "", "unknown"
    shape: list[int | None] = []
    for field, value in fields(content, start, end):
        if isinstance(value, int):
            continue
        if field == proto.VALUE_NAME:
            name = text(content, *value)
        elif field == proto.VALUE_TYPE:
            for tensor_type in _messages(content, *value, wanted=proto.TYPE_TENSOR):
                for inner, inner_value in fields(content, *tensor_type):
                    if isinstance(inner_value, int):
                        known = proto.ELEMENT_TYPES.get(inner_value, "unknown")
                        dtype = known if inner == proto.TENSOR_TYPE_ELEMENT else dtype
                    elif inner == proto.TENSOR_TYPE_SHAPE:
                        shape += _sides(content, *inner_value)
    return GraphTensor(name, dtype, tuple(shape))


def _sides(content: Content, start: int, end: int) -> Iterator[int | None]:
    for dimension in _messages(content, start, end, wanted=proto.SHAPE_DIMENSION):
        sizes = [size for number, size in fields(content, *dimension) if number == proto.DIMENSION_VALUE]
        yield sizes[0] if sizes and isinstance(sizes[0], int) else None

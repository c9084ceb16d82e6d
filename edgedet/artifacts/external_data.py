"""Weights that an ONNX file keeps in other files (``TensorProto.external_data``): which they are, and how they come
inside, so that a graph can be checked and opened as the one piece of memory it was read into.

https://github.com/onnx/onnx/blob/main/docs/ExternalData.md has the format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from edgedet.artifacts.protobuf import DamagedError, fields, record, records, text

MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING = range(8)

INSIDE: Mapping[int, Mapping[int, int]] = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    TRAINING: {1: GRAPH, 2: GRAPH},
}
"""Messages that may hold tensors: number of a field to the message in it (onnx.proto)."""

RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 9, 13, 14
KEY, VALUE = 1, 2
EXTERNAL = 1
DEEPEST = 48
"""Graphs inside graphs, in messages; a damaged file must not exhaust the interpreter."""

Change = Callable[[bytes, int, int], bytes | None]


def external_files(content: bytes) -> tuple[str, ...]:
    """Names of the files beside an ONNX file in which its tensors lie, as it states them, each once.

    Raises:
        DamagedError: not an ONNX file; or a name that leads out of the file's own folder.
    """
    if b"location" not in content:  # the key of every such tensor; looking for it takes no time
        return ()
    found: dict[str, None] = {}

    def note(whole: bytes, start: int, end: int) -> None:
        stated = _stated(whole, start, end)
        if stated is not None:
            found[_name(stated)] = None

    _walk(content, 0, len(content), MODEL, note, depth=0)
    return tuple(found)


def with_data_inside(content: bytes, files: Mapping[str, bytes]) -> bytes:
    """An ONNX file whose tensors all lie in itself.

    Args:
        content: the file.
        files: contents of the files that :func:`external_files` names.

    Raises:
        DamagedError: not an ONNX file; a file that is missing; or one that ends before a tensor does.
    """

    def take_in(whole: bytes, start: int, end: int) -> bytes | None:
        stated = _stated(whole, start, end)
        if stated is None:
            return None
        name = _name(stated)
        if name not in files:
            raise DamagedError(f"its weights lie in {name}, which is not there")
        data = files[name]
        offset = _number(stated.get("offset", "0"))
        length = _number(stated.get("length", str(max(len(data) - offset, 0))))
        if offset + length > len(data):
            raise DamagedError(f"a tensor of {length} bytes at byte {offset} of {name} runs past its {len(data)}")
        kept = [
            whole[begin:after]
            for field, begin, _, after in records(whole, start, end)
            if field not in (RAW_DATA, EXTERNAL_DATA, DATA_LOCATION)
        ]
        return b"".join([*kept, record(RAW_DATA, data[offset : offset + length])])

    return _rewritten(content, 0, len(content), MODEL, take_in, depth=0)


def _walk(
    content: bytes, start: int, end: int, kind: int, note: Callable[[bytes, int, int], None], *, depth: int
) -> None:
    if depth > DEEPEST:
        raise DamagedError("it holds graphs inside graphs without end")
    for field, value in fields(content, start, end):
        inner = INSIDE[kind].get(field)
        if inner is None or isinstance(value, int):
            continue
        if inner == TENSOR:
            note(content, *value)
        else:
            _walk(content, *value, inner, note, depth=depth + 1)


def _rewritten(content: bytes, start: int, end: int, kind: int, change: Change, *, depth: int) -> bytes:
    if depth > DEEPEST:
        raise DamagedError("it holds graphs inside graphs without end")
    pieces = []
    for field, begin, first, after in records(content, start, end):
        inner = INSIDE[kind].get(field)
        if inner is None or first == begin:
            pieces.append(content[begin:after])
            continue
        new = (
            change(content, first, after)
            if inner == TENSOR
            else _rewritten(content, first, after, inner, change, depth=depth + 1)
        )
        pieces.append(content[begin:after] if new is None else record(field, new))
    return b"".join(pieces)


def _stated(content: bytes, start: int, end: int) -> dict[str, str] | None:
    """What a tensor says of where its data lies; None where it lies in the tensor."""
    outside, stated = False, {}
    for field, value in fields(content, start, end):
        if field == DATA_LOCATION and isinstance(value, int):
            outside = value == EXTERNAL
        elif field == EXTERNAL_DATA and not isinstance(value, int):
            pair = {
                number: text(content, *place)
                for number, place in fields(content, *value)
                if not isinstance(place, int)
            }
            stated[pair.get(KEY, "")] = pair.get(VALUE, "")
    return stated if outside else None


def _name(stated: Mapping[str, str]) -> str:
    name = stated.get("location", "")
    return require_inside(name)


def require_inside(name: str) -> str:
    """A name that stays in the folder of the file that states it.

    Raises:
        DamagedError: an absolute one, one that leads upwards, or none.
    """
    parts = PurePosixPath(name).parts
    if not name or "\0" in name or "\\" in name or name.startswith("/") or ".." in parts or ":" in name:
        raise DamagedError(f"its weights lie in {name!r}, which is no place in the file's own folder")
    return name


def _number(stated: str) -> int:
    if not stated.isascii() or not stated.isdigit() or len(stated) > 15:
        raise DamagedError(f"{stated[:20]!r} is no place in a file")
    return int(stated)

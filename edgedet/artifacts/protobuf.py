"""Protocol buffers' wire format (https://protobuf.dev/programming-guides/encoding/), over a memory map or bytes."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Content = mmap.mmap | bytes

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class DamagedError(Exception):
    """The bytes are not those of a whole message."""


def fields(content: Content, start: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Every field of the message in ``content[start:end]``: number and value, byte strings as (start, end).

    Raises:
        DamagedError: the bytes break off, or are no message.
    """
    position = start
    while position < end:
        key, position = _varint(content, position, end)
        field, wire = key >> 3, key & 7
        if field == 0:  # also what a file of zeros is made of
            raise DamagedError(f"byte {position} starts no field of an ONNX model")
        if wire == VARINT:
            value, position = _varint(content, position, end)
            yield field, value
            continue
        if wire == BYTES:
            size, position = _varint(content, position, end)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise DamagedError(f"byte {position} starts no field of an ONNX model")
        if size > end - position:
            raise DamagedError(f"a field of {size} bytes at byte {position} runs past the end, at byte {end}")
        yield field, (position, position + size)
        position += size


def _varint(content: Content, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 64:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise DamagedError(f"a number breaks off at byte {position}")


def records(content: Content, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Every field of the message in ``content[start:end]`` with where it lies, its key and length included.

    Yields:
        Number of the field, its first byte, the first byte of its value, and the byte after it. The value of a
        number starts where the field does: only :func:`fields` reads it.

    Raises:
        DamagedError: as :func:`fields`.
    """
    position = start
    for field, value in fields(content, start, end):
        if isinstance(value, int):
            key = _varint(content, position, end)[1]
            after = _varint(content, key, end)[1]
            yield field, position, position, after
        else:
            after = value[1]
            yield field, position, value[0], after
        position = after


def record(field: int, value: bytes) -> bytes:
    """A field of bytes as it stands in a message: key, length, value.

    >>> record(1, b"ab").hex()
    '0a026162'
    """
    return _bytes_of(field << 3 | BYTES) + _bytes_of(len(value)) + value


def _bytes_of(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def text(content: Content, start: int, end: int) -> str:
    """The string in ``content[start:end]``."""
    return content[start:end].decode("utf-8", "replace")

"""Whether a JPEG file holds the data of its whole picture: decoders fill the rest with grey and say nothing.

The markers are those of ITU-T T.81, annex B. What follows the picture (the clip of a motion photo, a second
picture, a gain map) is not looked at, and neither are thumbnails, which lie inside a segment.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Decode = Callable[[bytes], NDArray[Any] | None]

START = b"\xff\xd8"
_END = b"\xff\xd9"
_EOI, _SOS, _DRI = 0xD9, 0xDA, 0xDD
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_ARITHMETIC = frozenset(range(0xC9, 0xD0))
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDB, 0xDC, _DRI, _SOS, 0xFE, *range(0xE0, 0xF0)})
# Within entropy-coded data FF is followed by 00, a restart marker or a fill byte.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FIRST_RESTART, _LAST_RESTART = 0xD0, 0xD7

_FILLING = bytes((index * 73 + 41) % 251 for index in range(256))
"""Stands for missing data: entropy-coded bits of no meaning, without a marker in them."""
_PADDING = 16
"""Zero bytes in a row at the end that are no picture data: it is padded with ones."""
_GREY = 128
"""The value of pixels without data."""
_BLOCK = 8
_ALL_SENT, _NOT_SENT = [0] * 64, 15
_CLIP = b"ftyp"
"""Begins a clip, behind four bytes of length (ISO/IEC 14496-12, 4.3)."""


@dataclass
class _Frame:
    """The start of frame: sides, and the sampling factors of every component."""

    marker: int
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]

    def units(self, components: list[int]) -> int:
        """Minimum coded units of a scan (T.81, A.2)."""
        widest = max(across for across, _ in self.sampling.values())
        highest = max(down for _, down in self.sampling.values())
        if len(components) > 1:
            return _up(self.width, _BLOCK * widest) * _up(self.height, _BLOCK * highest)
        across, down = self.sampling[components[0]]
        return _up(_up(self.width * across, widest), _BLOCK) * _up(_up(self.height * down, highest), _BLOCK)


@dataclass
class _Structure:
    """What the markers say. ``begin``, ``end``: of the last scan's data; ``ended``: an end mark follows it."""

    begin: int = 0
    end: int = 0
    ended: bool = False
    missing: bool = False
    """Restart intervals are fewer than the picture has."""
    lowest_bit: dict[int, list[int]] = field(default_factory=dict)
    """By component: the lowest bit that was sent of each of the 64 coefficients."""
    frame: _Frame | None = None

    @property
    def is_uncommon(self) -> bool:
        """Arithmetic coding fills with more than grey, and four inks mix to another one."""
        return self.frame is not None and (self.frame.marker in _ARITHMETIC or len(self.frame.sampling) == 4)

    @property
    def has_every_component(self) -> bool:
        return self.frame is not None and len(self.lowest_bit) == len(self.frame.sampling)

    @property
    def has_every_bit(self) -> bool:
        return self.has_every_component and not any(map(any, self.lowest_bit.values()))


def whole_jpeg(content: bytes, decode: Decode, unheard: Decode) -> NDArray[Any] | None:
    """Decode a JPEG (``content`` begins with :data:`START`) whose data cover the picture; None where they do not.

    A file that lacks nothing but its end mark is whole. ``decode`` gives the picture of a file's content, [H, W] or
    [H, W, C], or None where it cannot; so does this function. ``unheard`` does so for content that the decoder may
    have something to say about.
    """
    found = _structure(content, trusting=True)
    if found.missing or not found.has_every_component:
        return None
    if not found.ended:
        return _without_end_mark(content[found.begin : found.end], content[: found.begin], found, unheard)
    image = decode(content)
    # An end mark may stand behind half a picture, too. Looking closer takes a decoding, so not without cause.
    if image is None or (found.has_every_bit and not found.is_uncommon and not _has_empty_corner(image)):
        return image
    found = _structure(content, trusting=False)
    if not found.ended:
        return _without_end_mark(content[found.begin : found.end], content[: found.begin], found, unheard)
    return image if _is_covered(content[: found.end].rstrip(b"\xff"), image, unheard) else None


def _without_end_mark(data: bytes, head: bytes, found: _Structure, decode: Decode) -> NDArray[Any] | None:
    """The same for a file whose last scan, ``data``, has no end mark behind it."""
    if not found.has_every_bit:
        return None
    clip = data.find(_CLIP)
    if clip >= 4:
        data = data[: clip - 4]
    data = data.rstrip(b"\xff")  # half an end mark, or fill bytes before it
    bare = data.rstrip(b"\0")
    bare += b"\0" if bare.endswith(b"\xff") else b""  # FF 00 stands for FF
    padded = len(data) - len(bare) >= _PADDING
    image = _covered(head + (bare if padded else data), decode)
    # In a blank picture zeros are data; then not a few of them can be left out.
    if image is None and padded and _covered(head + data[:-_PADDING], decode) is None:
        image = _covered(head + data, decode)
    return image


def _covered(data: bytes, decode: Decode) -> NDArray[Any] | None:
    image = decode(data + _END)
    return image if image is not None and _is_covered(data, image, decode) else None


def _is_covered(data: bytes, image: NDArray[Any], decode: Decode) -> bool:
    """Whether the picture is the same whatever follows ``data``."""
    other = decode(data + _FILLING + _END)
    return other is not None and np.array_equal(image, other)


def _has_empty_corner(image: NDArray[Any]) -> bool:
    """Whether the last block has no data, as far as it looks; EXIF may have turned it to any corner."""
    height, width = image.shape[:2]
    side = min((height - 1) % _BLOCK, (width - 1) % _BLOCK) + 1
    rows, columns = (slice(0, side), slice(height - side, None)), (slice(0, side), slice(width - side, None))
    return any(bool((image[down, across] == _GREY).all()) for down in rows for across in columns)


def _structure(content: bytes, *, trusting: bool) -> _Structure:
    """``trusting``: a single scan is believed to reach to an end mark at the file's end. Searching it for another
    marker takes 2 % of the time of decoding, and the picture shows whether there was one.
    """
    found = _Structure()
    interval = 0
    position = len(START)
    try:
        while True:
            if not found.end:
                position = content.index(b"\xff", position)
            elif content[position] != 0xFF:
                return found
            while content[position] == 0xFF:
                position += 1
            marker = content[position]
            position += 1
            if marker == _EOI:
                found.ended = True
                return found
            # Behind the last scan of a picture without an end mark anything may follow, a clip for one.
            if found.end and marker not in _BETWEEN_SCANS:
                return found
            if marker in _ALONE or marker == 0:
                continue
            (length,) = struct.unpack_from(">H", content, position)
            body = content[position + 2 : position + length]
            if len(body) < length - 2:
                return found
            position += max(length, 2)
            if marker in _FRAMES:
                found.frame = _frame(marker, body)
            elif marker == _DRI:
                (interval,) = struct.unpack_from(">H", body)
            elif marker == _SOS and found.frame is not None:
                components = _note_scan(found.lowest_bit, found.frame, body)
                single = found.has_every_bit and not found.end and not interval
                if trusting and single and content.endswith(_END):
                    found.ended = True
                    return found
                following = _NEXT_MARKER.search(content, position)
                found.begin, found.end = position, following.start() if following else len(content)
                if interval:
                    expected = _up(found.frame.units(components), interval) - 1
                    restarts = _count_restarts(np.frombuffer(content, np.uint8)[position : found.end])
                    found.missing |= restarts < expected
                position = found.end
    except (IndexError, ValueError, KeyError, struct.error):  # it ends inside a segment, or says nonsense
        return found


def _frame(marker: int, body: bytes) -> _Frame:
    _, height, width, count = struct.unpack_from(">BHHB", body)
    sampling = {body[6 + 3 * i]: (body[7 + 3 * i] >> 4, body[7 + 3 * i] & 15) for i in range(count)}
    if not all(across and down for across, down in sampling.values()):
        raise ValueError("a sampling factor of 0")
    return _Frame(marker, width, height, sampling)


def _note_scan(lowest_bit: dict[int, list[int]], frame: _Frame, body: bytes) -> list[int]:
    """The components of a scan; which of their bits it sends is noted in ``lowest_bit``."""
    count = body[0]
    components = [body[1 + 2 * i] for i in range(count)]
    if len(body) != 4 + 2 * count or not count or not set(components) <= set(frame.sampling):
        raise ValueError("not the header of a scan")
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    for name in components:
        if frame.marker not in _PROGRESSIVE:
            lowest_bit[name] = _ALL_SENT
            continue
        # Without its first coefficient, a block's mean, there is no component to speak of.
        of_component = lowest_bit.setdefault(name, [_NOT_SENT] * 64) if not first else lowest_bit[name]
        of_component[first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
    return components


def _count_restarts(data: NDArray[np.uint8]) -> int:
    following = data[np.flatnonzero(data[:-1] == 0xFF) + 1]
    return int(((following >= _FIRST_RESTART) & (following <= _LAST_RESTART)).sum())


def _up(value: int, divisor: int) -> int:
    return -(-value // divisor)

"""A picture's size from its header: thousands per second, where decoding manages a hundred."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

# Start-of-frame markers; C4, C8 and CC lie in their range and mean other things (ITU-T T.81, table B.1).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Of an extended WebP: it may be turned by its EXIF data, or its frames may be smaller than its canvas.
_WEBP_EXIF, _WEBP_MOVES = 0x08, 0x02
_EXIF_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})


class ImageSize(NamedTuple):
    """Sides of the frame OpenCV decodes; ``turned``: EXIF swapped them against what the file stores."""

    width: int
    height: int
    turned: bool = False


def read_image_size(path: Path) -> ImageSize | None:
    """Size of the decoded frame, or None where the file is not a picture.

    JPEG (with the EXIF orientation OpenCV applies), PNG, WebP and BMP from their headers, so that one that is cut
    off has a size too, and is refused where it is decoded; anything else is decoded.
    """
    try:
        with path.open("rb") as file:
            start = file.read(32)
            if start[:2] == b"\xff\xd8":
                return _jpeg(file)
            # A PNG may carry an orientation too (eXIf); let OpenCV decide about those.
            if start[:8] == b"\x89PNG\r\n\x1a\n" and start[12:16] == b"IHDR" and b"eXIf" not in file.read(4096):
                return _sides(*struct.unpack(">II", start[16:24]))
            if start[:2] == b"BM" and start[14:18] == b"\x28\x00\x00\x00":
                width, height = struct.unpack("<ii", start[18:26])
                return _sides(width, abs(height))
            if start[:4] == b"RIFF" and start[8:12] == b"WEBP" and (size := _webp(start)) is not None:
                return size
    except (OSError, struct.error):
        return None
    return _decoded(path)


def _sides(width: int, height: int, turned: bool = False) -> ImageSize | None:
    if width <= 0 or height <= 0:
        return None
    return ImageSize(height, width, True) if turned else ImageSize(width, height)


def _webp(start: bytes) -> ImageSize | None:
    """From the first 32 bytes (RFC 9649, 2.5 to 2.7); None where only decoding tells."""
    kind = start[12:16]
    if kind == b"VP8 " and start[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", start, 26)
        return _sides(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L" and start[20:21] == b"\x2f":
        (sides,) = struct.unpack_from("<I", start, 21)
        return _sides((sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and len(start) >= 30 and not start[20] & (_WEBP_EXIF | _WEBP_MOVES):
        return _sides(int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1)
    return None


def _jpeg(file: BinaryIO) -> ImageSize | None:
    file.seek(2)
    turned = False
    while True:
        byte = file.read(1)
        if not byte:
            return None
        if byte != b"\xff":
            continue
        marker = 0xFF
        while marker == 0xFF:  # any number of fill bytes may stand before the marker
            (marker,) = struct.unpack("B", file.read(1))
        if marker in _JPEG_ALONE or marker == 0:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker in _JPEG_FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5))
            return _sides(width, height, turned)
        if marker in (0xD9, 0xDA):
            return None
        body = file.read(length - 2) if length >= 2 else b""
        if marker == 0xE1 and body[:6] == b"Exif\0\0":
            turned = _orientation(body[6:]) in _TURNED


def _orientation(tiff: bytes) -> int:
    """The orientation in an EXIF block (EXIF 2.32, 4.6.4): 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, offset)
        for index in range(entries):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, offset + 2 + 12 * index)
            if tag == _EXIF_ORIENTATION and kind == 3:
                return int(value)
    except struct.error:
        pass
    return 1


def _decoded(path: Path) -> ImageSize | None:
    # OpenCV takes a while to load, and most files do not need it.
    from edgedet.pictures.image_file import decoded_sides

    try:
        sides = decoded_sides(path.read_bytes())
    except OSError:
        return None
    return None if sides is None else ImageSize(*sides)

"""Image files to pixels: the one decoder of every command, so that all of them see the same and refuse the same."""

from __future__ import annotations

import os
import re
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.errors import SourceError
from edgedet.files import unnamed_file
from edgedet.machine.process_setting import ProcessSetting
from edgedet.pictures.frames import spread_over_16_bits, to_8_bits_hint
from edgedet.pictures.jpeg_truncation import START as JPEG_START
from edgedet.pictures.jpeg_truncation import whole_jpeg

_PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_JP2_SIZES = b"\xff\x4f\xff\x51"
# Netpbm's binary kinds; comments may stand anywhere in the header (netpbm.sourceforge.net/doc/pgm.html).
_NETPBM = re.compile(rb"P([56])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")
_WHOLE_RANGES = (255, 65535)
_LIBRARIES_SAY = (
    b"libpng error:",
    b"libpng warning:",
    b"Corrupt JPEG data",
    b"Premature end of JPEG",
    b"Invalid SOS parameters",
    b"Inconsistent progression",
)
_ONE_AT_A_TIME = threading.Lock()
# OpenCV 4 has these functions at the top.
_LOGGING: Any = getattr(cv2.utils, "logging", cv2)
_SILENT = 0
_UNHEARD = ProcessSetting(_LOGGING.getLogLevel, _LOGGING.setLogLevel, lambda before: _SILENT)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Decode an image file to uint8 [H, W, 3] BGR, turned upright as its EXIF data says.

    Palettes, grey of any depth and four inks become BGR; an alpha channel is dropped, as training pipelines do. Of
    16 bits a channel the upper 8 are taken, where the values are spread over the 16.

    Raises:
        SourceError: missing, empty, cut off, not an image OpenCV can decode, or with values that 8 bits would lose.
    """
    path = Path(path)
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise SourceError(f"the image {path} is a pipe; expected a file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"no such image: {path}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise SourceError(f"cannot read the image {path}: {reason or error}") from error
    return decode_image(content, str(path))


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """The same for a file's content; ``name`` is for messages.

    Raises:
        SourceError: as :func:`read_image`.
    """
    if not content:
        raise SourceError(f"the image {name} is empty; copy it again")
    try:
        with quiet():
            image = _decoded(content)
    except cv2.error as error:
        raise SourceError(f"cannot decode the image {name}: {error.err}") from error
    if image is None:
        if _is_cut_off(content):
            raise SourceError(f"the image {name} is cut off (part of the picture is missing); copy it again")
        raise SourceError(f"cannot decode the image {name}; it is damaged or of a kind OpenCV does not read")
    if image.dtype == np.uint8:
        return image
    _require_spread(image, name)
    in_8_bits = _by_opencv(content)
    assert in_8_bits is not None, "it was decoded just now"
    return in_8_bits.astype(np.uint8, copy=False)


def decoded_sides(content: bytes) -> tuple[int, int] | None:
    """Width and height of a file's picture, turned upright, whatever its values; None where it is not decoded."""
    try:
        with quiet():
            image = _decoded(content)
    except cv2.error:
        return None
    return None if image is None else (int(image.shape[1]), int(image.shape[0]))


def _decoded(content: bytes) -> NDArray[Any] | None:
    if content.startswith(JPEG_START):
        return whole_jpeg(content, _by_opencv, _by_opencv_unheard)
    header = _NETPBM.match(content[:4096])
    if header is not None and int(header[4]) not in _WHOLE_RANGES:
        return _netpbm(content, header)
    # Of the libraries of the other kinds only libpng writes to stderr. Whole files need not wait for one another.
    is_cut_png = content.startswith(_PNG_START) and not _has_png_end(content)
    decode = _by_opencv_unheard if is_cut_png else _by_opencv
    return decode(content, cv2.IMREAD_ANYDEPTH if _may_be_deep(content) else 0)


def _by_opencv(content: bytes, flags: int = 0) -> NDArray[Any] | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | flags)


def _by_opencv_unheard(content: bytes, flags: int = 0) -> NDArray[Any] | None:
    """The same without its libraries' word on stderr, for content that is known to be damaged."""
    with _libraries_unheard():
        return _by_opencv(content, flags)


def _may_be_deep(content: bytes) -> bool:
    """Whether values may be of more than 8 bits without the file saying how many of them are used."""
    if content.startswith(_PNG_START):
        return content[24:25] == b"\x10"
    place = content[:4096].find(_JP2_SIZES)
    if place >= 0:  # ISO/IEC 15444-1, A.5.1: the first component's precision, less one
        return content[place + 42 : place + 43] == b"\x0f"
    return content.startswith((*_TIFF_STARTS, b"P5", b"P6"))


def _netpbm(content: bytes, header: re.Match[bytes]) -> NDArray[Any] | None:
    """A binary PGM or PPM whose largest value is neither 255 nor 65535; OpenCV takes the values as they are."""
    channels, width, height, largest = 3 if header[1] == b"6" else 1, int(header[2]), int(header[3]), int(header[4])
    kind = np.dtype(np.uint8 if largest < 256 else ">u2")
    count = width * height * channels
    if not count or not 0 < largest < 65536 or len(content) - header.end() < count * kind.itemsize:
        return None
    values = np.frombuffer(content, kind, count, header.end()).reshape(height, width, channels)
    scaled = np.minimum((values.astype(np.float32) * (255 / largest)).round(), 255).astype(np.uint8)
    return np.repeat(scaled, 3, axis=2) if channels == 1 else np.ascontiguousarray(scaled[:, :, ::-1])


def _require_spread(image: NDArray[Any], name: str) -> None:
    """Check that 8 of its bits show what an image of other than 8 bits holds."""
    if image.dtype != np.uint16:
        raise SourceError(
            f"the image {name} holds {image.dtype} values; expected 8 or 16 bits a channel, without sign; convert "
            "it to 8 bits as the training pictures were"
        )
    low, high = int(image.min()), int(image.max())
    if not spread_over_16_bits(low, high):
        raise SourceError(
            f"the image {name} holds values from {low} to {high} in 16 bits, of which 8 would show next to nothing"
            f"; {to_8_bits_hint(low, high)}"
        )


def _is_cut_off(content: bytes) -> bool:
    """Whether a picture that cannot be decoded ends before its format says so."""
    size = len(content)
    try:
        if content.startswith(JPEG_START):
            return True
        if content.startswith(_PNG_START[:size]):
            return not _has_png_end(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return size < 8 + int(struct.unpack_from("<I", content, 4)[0])
        if content[:2] == b"BM":
            return size < int(struct.unpack_from("<I", content, 2)[0])
        if content[:4] == b"GIF8":
            return not content.rstrip(b"\0").endswith(b";")
        if content[:4] in _TIFF_STARTS:
            return _is_cut_tiff(content)
        if _JP2_SIZES in content[:4096]:
            return not content.rstrip(b"\0").endswith(b"\xff\xd9")
        header = _NETPBM.match(content[:4096])
        if header is not None:
            channels, deep = 3 if header[1] == b"6" else 1, int(header[4]) > 255
            return size - header.end() < int(header[2]) * int(header[3]) * channels * (1 + deep)
    except struct.error:
        return True
    return False


def _has_png_end(content: bytes) -> bool:
    position = len(_PNG_START)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind == b"IEND":
            return True
        position += 12 + length
    return False


def _is_cut_tiff(content: bytes) -> bool:
    """Whether the first directory, or the strips or tiles it lists, lie beyond the file's end (TIFF 6.0, 2)."""
    order = "<" if content[:2] == b"II" else ">"
    (place,) = struct.unpack_from(order + "I", content, 4)
    (entries,) = struct.unpack_from(order + "H", content, place)
    lists: dict[int, tuple[int, ...]] = {}
    for index in range(entries):
        tag, kind, count, _ = struct.unpack_from(order + "HHII", content, place + 2 + 12 * index)
        if tag in (273, 279, 324, 325) and kind in (3, 4):
            letter, width = ("H", 2) if kind == 3 else ("I", 4)
            at = place + 10 + 12 * index
            if count * width > 4:
                (at,) = struct.unpack_from(order + "I", content, at)
            lists[tag] = struct.unpack_from(f"{order}{count}{letter}", content, at)
    offsets, sizes = lists.get(273) or lists.get(324, ()), lists.get(279) or lists.get(325, ())
    return any(offset + length > len(content) for offset, length in zip(offsets, sizes, strict=False))


@contextmanager
def _libraries_unheard() -> Iterator[None]:
    """libjpeg and libpng write to the process's stderr. What others write in the meantime is passed on."""
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        with unnamed_file() as aside:
            os.dup2(aside.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                os.close(kept)
                aside.seek(0)
                said = [line for line in aside if not line.startswith(_LIBRARIES_SAY)]
                if said:
                    os.write(2, b"".join(said))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and FFmpeg from printing why they cannot open something: our error is the one to read.

    FFmpeg's level is read once, at the first video; a user's own setting stays.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _UNHEARD:
        yield

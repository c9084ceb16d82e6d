"""Labels of every pixel: PNGs whose values are class numbers, by the palette or as they are."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.errors import DatasetError

IGNORED = 255
"""The value of pixels that count for nothing."""
PNG_START = b"\x89PNG\r\n\x1a\n"
GREY, BY_PALETTE = 0, 3
"""The colour types of such PNGs, their 26th byte."""


def read_label_map(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The class numbers of a picture, uint8 or uint16 [H, W].

    Raises:
        DatasetError: missing, damaged, a picture of colours, or a palette with one colour for two numbers that are
            used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read the labels {path}: {error.strerror or error}") from error
    if not content.startswith(PNG_START):
        # A JPEG's values are not those that were written, and what is cut off of it is grey.
        raise DatasetError(f"the labels {path} are no PNG; expected a PNG of class numbers")
    pixels: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DatasetError(f"cannot decode the labels {path}, which are damaged or cut off; copy them again")
    depth, kind = content[24], content[25]
    if kind == BY_PALETTE:
        return _numbers(pixels[..., :3], _palette(content, path), path)
    if kind == GREY and depth < 8:
        # Decoders spread fewer bits over all of 0 to 255 (PNG specification, 13.12).
        pixels = pixels // (255 // (2**depth - 1))
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise DatasetError(
            f"the labels {path} are a picture of colours ({pixels.dtype} {list(pixels.shape)}); expected class "
            "numbers: grey values, or a palette"
        )
    found: NDArray[np.uint8] | NDArray[np.uint16] = pixels
    return found


def _palette(content: bytes, path: Path) -> NDArray[np.uint8]:
    """The colours of a PNG's numbers, uint8 [N, 3] BGR (PNG specification, 11.2.3)."""
    place = len(PNG_START)
    while place + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"PLTE":
            colours = np.frombuffer(content, np.uint8, size, place + 8)
            return colours.reshape(-1, 3)[:, ::-1]
        place += 12 + size
    raise DatasetError(f"the labels {path} have no palette, which their header promises; copy them again")


def _numbers(pixels: NDArray[np.uint8], palette: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """OpenCV gives colours; back to the numbers they stand for."""
    weights = np.array([1, 256, 65536], np.int64)
    keys, own = pixels.astype(np.int64) @ weights, palette.astype(np.int64) @ weights
    used, inverse = np.unique(keys, return_inverse=True)
    numbers = np.zeros(len(used), np.uint8)
    for index, key in enumerate(used.tolist()):
        places = np.flatnonzero(own == key)
        if len(places) != 1:
            raise DatasetError(
                f"the labels {path}: one colour stands for the class numbers {', '.join(map(str, places[:3]))}; "
                "write them as grey values"
            )
        numbers[index] = places[0]
    return numbers[inverse].reshape(keys.shape)

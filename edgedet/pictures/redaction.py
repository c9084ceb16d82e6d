"""Making parts of a picture unrecognisable before it is kept or shown."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 5
"""Blocks along a region's longer side. A trained network still identifies people through finer mosaics and through
blurs (arXiv:1609.00408), hence so few."""

MARGIN = 0.1
"""Boxes are widened by this share of their sides: they are rarely exact."""


def redact(frame: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A copy of ``frame`` (uint8 [H, W, 3]), every box (float32 [N, 4], frame pixels) reduced to a few blocks."""
    picture = frame.copy()
    height, width = frame.shape[:2]
    for box in boxes:
        left, top, right, bottom = _widened(box, width, height)
        if right <= left or bottom <= top:
            continue
        region: NDArray[Any] = frame[top:bottom, left:right]
        longer = max(region.shape[:2])
        cells = tuple(max(round(side / longer * CELLS), 1) for side in (right - left, bottom - top))
        blocks = cv2.resize(region, cells, interpolation=cv2.INTER_AREA)
        size = (right - left, bottom - top)
        picture[top:bottom, left:right] = cv2.resize(blocks, size, interpolation=cv2.INTER_NEAREST)
    return picture


def _widened(box: NDArray[np.float32], width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = (float(side) for side in box)
    across, down = (right - left) * MARGIN, (bottom - top) * MARGIN
    return (
        max(int(np.floor(left - across)), 0),
        max(int(np.floor(top - down)), 0),
        min(int(np.ceil(right + across)), width),
        min(int(np.ceil(bottom + down)), height),
    )

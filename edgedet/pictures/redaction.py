"""Making parts of a picture unrecognisable before it is kept or shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgedet.masks.base import Region

CELLS = 5
"""Blocks along a region's longer side. A trained network still identifies people through finer mosaics and through
blurs (arXiv:1609.00408), hence so few."""

MARGIN = 0.1
"""Boxes are widened by this share of their sides: they are rarely exact. Outlines by it of the shorter side."""

MIN_FILLED_SHARE = 0.05
"""Minimum share of a box that a mask fills: with less it is taken for a failure, and the whole box is made
unrecognisable."""


def redact(
    frame: NDArray[np.uint8], boxes: NDArray[np.float32], masks: Sequence[Region | None] | None = None
) -> NDArray[np.uint8]:
    """A copy of ``frame`` (uint8 [H, W, 3]), every box (float32 [N, 4], frame pixels) reduced to a few blocks.

    ``masks``: the outline of each, bool, within which that is done in place of the box; None where there is none.
    """
    picture = frame.copy()
    height, width = frame.shape[:2]
    for index, box in enumerate(boxes):
        left, top, right, bottom = _widened(box, width, height)
        if right <= left or bottom <= top:
            continue
        region: NDArray[Any] = frame[top:bottom, left:right]
        longer = max(region.shape[:2])
        cells = tuple(max(round(side / longer * CELLS), 1) for side in (right - left, bottom - top))
        blocks = cv2.resize(region, cells, interpolation=cv2.INTER_AREA)
        size = (right - left, bottom - top)
        coarse = cv2.resize(blocks, size, interpolation=cv2.INTER_NEAREST)
        hidden = None if masks is None else _outline(masks[index], box, (left, top, right, bottom))
        if hidden is None:
            picture[top:bottom, left:right] = coarse
        else:
            picture[top:bottom, left:right][hidden] = coarse[hidden]
    return picture


def _outline(
    mask: Region | None, box: NDArray[np.float32], place: tuple[int, int, int, int]
) -> NDArray[np.bool_] | None:
    """The pixels of ``place`` (left, top, right, bottom) that a mask hides, widened; None of one that is (almost)
    empty."""
    sides = box[2:] - box[:2]
    if mask is None or mask.values.sum() < MIN_FILLED_SHARE * float(sides.prod()):
        return None
    left, top, right, bottom = place
    within = np.zeros((bottom - top, right - left), np.uint8)
    height, width = mask.values.shape
    # The mask's region and the widened box overlap, and neither need hold the other.
    x0, y0 = max(mask.left, left), max(mask.top, top)
    x1, y1 = min(mask.left + width, right), min(mask.top + height, bottom)
    if x1 <= x0 or y1 <= y0:
        return None
    within[y0 - top : y1 - top, x0 - left : x1 - left] = mask.values[
        y0 - mask.top : y1 - mask.top, x0 - mask.left : x1 - mask.left
    ]
    reach = max(int(np.ceil(float(sides.min()) * MARGIN)), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    widened: NDArray[np.bool_] = cv2.dilate(within, kernel).astype(np.bool_)
    return widened


def _widened(box: NDArray[np.float32], width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = (float(side) for side in box)
    across, down = (right - left) * MARGIN, (bottom - top) * MARGIN
    return (
        max(int(np.floor(left - across)), 0),
        max(int(np.floor(top - down)), 0),
        min(int(np.ceil(right + across)), width),
        min(int(np.ceil(bottom + down)), height),
    )

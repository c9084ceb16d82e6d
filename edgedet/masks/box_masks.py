"""Outlines of objects as small bitmaps over their boxes, put into the frame only when somebody asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.masks.base import Index, Masks, Region
from edgedet.masks.run_lengths import coco_rle

BORDER = 1
"""Cells of nothing that torchvision puts around a bitmap before it is stretched, so that outlines end inside."""


@dataclass(frozen=True, eq=False)
class BoxMasks(Masks):
    """Probabilities of as many cells over every box, as Mask R-CNN gives them.

    Pixels are exactly those of torchvision's ``paste_masks_in_image``. Until they are asked for an object takes
    ``4 * h * w`` bytes, 3,136 for Mask R-CNN.

    Args:
        bitmaps: float32 [N, h, w] in [0, 1], the probability of h x w cells over each box to be the object's.
        boxes: float32 [N, 4], x1, y1, x2, y2, pixels of the frame.
        frame_size: (height, width) in pixels.
        threshold: probability above which a pixel is the object's.

    >>> BoxMasks(np.ones((2, 28, 28), np.float32), [[2, 1, 6, 5], [0, 0, 3, 3]], (8, 10))[1:].region(0).values.shape
    (4, 4)

    Raises:
        ValueError: arrays that do not fit one another.
    """

    bitmaps: NDArray[np.float32]
    boxes: NDArray[np.float32]
    frame_size: tuple[int, int]
    threshold: float = 0.5

    def __post_init__(self) -> None:
        bitmaps = np.asarray(self.bitmaps, np.float32)
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        if bitmaps.ndim != 3 or len(bitmaps) != len(boxes):
            raise ValueError(f"bitmaps {bitmaps.shape}, boxes {boxes.shape}: expected [N, h, w] and [N, 4]")
        object.__setattr__(self, "bitmaps", bitmaps)
        object.__setattr__(self, "boxes", boxes)

    def __len__(self) -> int:
        return len(self.bitmaps)

    def __getitem__(self, index: Index) -> BoxMasks:
        return BoxMasks(self.bitmaps[index], self.boxes[index], self.frame_size, self.threshold)

    @property
    def nbytes(self) -> int:
        """Bytes of all bitmaps and boxes."""
        return self.bitmaps.nbytes + self.boxes.nbytes

    def probabilities(self, index: int) -> Region:
        """Bitmaps stretched over their boxes, see :meth:`Masks.probabilities`."""
        bitmap = np.pad(self.bitmaps[index], BORDER)
        left, top, right, bottom = _stretched(self.boxes[index], self.bitmaps.shape[2])
        size = (max(right - left + 1, 1), max(bottom - top + 1, 1))
        height, width = self.frame_size
        # Of what lies beyond the frame nothing is made: boxes are clipped, so that is a border of a cell or two.
        pixels = cv2.resize(bitmap, size, interpolation=cv2.INTER_LINEAR)
        first, above = max(left, 0), max(top, 0)
        last, below = min(left + size[0], width), min(top + size[1], height)
        inside = pixels[above - top : max(below, above) - top, first - left : max(last, first) - left]
        return Region(first, above, inside)

    def moved(self, left: int, top: int, frame_size: tuple[int, int]) -> BoxMasks:
        """See :meth:`Masks.moved`."""
        corner = np.array([left, top, left, top], np.float32)
        return BoxMasks(self.bitmaps, self.boxes + corner, frame_size, self.threshold)

    def joined(self, others: Sequence[Masks]) -> BoxMasks:
        """See :meth:`Masks.joined`."""
        every = [self, *(other for other in others if isinstance(other, BoxMasks))]
        bitmaps = np.concatenate([each.bitmaps for each in every])
        return BoxMasks(bitmaps, np.concatenate([each.boxes for each in every]), self.frame_size, self.threshold)

    def without_shades(self) -> BoxMasks:
        """See :meth:`Masks.without_shades`."""
        return replace(self, bitmaps=self._cells().astype(np.float32))

    def to_card(self) -> list[dict[str, Any]]:
        """See :meth:`Masks.to_card`."""
        height, width = self.bitmaps.shape[1:]
        return [coco_rle(cells, 0, 0, (height, width)) for cells in self._cells()]

    def _cells(self) -> NDArray[np.bool_]:
        """Whether each cell is the object's, bool [N, h, w]."""
        cells: NDArray[np.bool_] = self.bitmaps > np.float32(self.threshold)
        return cells


def _stretched(box: NDArray[np.float32], cells: int) -> tuple[int, int, int, int]:
    """First and last column and row of a bitmap with its border, in whole pixels, as torchvision's ``expand_boxes``
    and truncation give them: in float32 throughout."""
    scale = np.float32((cells + 2 * BORDER) / cells)
    half = (box[2:] - box[:2]) * np.float32(0.5) * scale
    centre = (box[2:] + box[:2]) * np.float32(0.5)
    left, top = (int(side) for side in centre - half)
    right, bottom = (int(side) for side in centre + half)
    return left, top, right, bottom

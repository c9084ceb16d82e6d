"""Outlines of objects: small bitmaps, put into the frame only when somebody asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.run_lengths import coco_rle

BORDER = 1
"""Cells of nothing that torchvision puts around a bitmap before it is stretched, so that outlines end inside."""

Index = slice | Sequence[int] | NDArray[Any]


class Region(NamedTuple):
    """Part of a frame that holds an object.

    Attributes:
        left: column of its first pixel in the frame.
        top: row of its first pixel in the frame.
        values: [h, w], one for each pixel; nothing of the object is outside.

    >>> Region(2, 1, np.ones((2, 3), np.bool_)).values.shape
    (2, 3)
    """

    left: int
    top: int
    values: NDArray[Any]


class Masks(ABC):
    """One outline for each detection; ``len()`` counts them.

    A pixel is the object's where its probability is above ``threshold``. What is kept is small: pixels are worked
    out when they are asked for, :meth:`region` for the part around an object, :meth:`full` for the whole frame.
    Families keep them differently: :class:`BoxMasks`, :class:`edgedet.canvas_masks.CanvasMasks`.

    Attributes:
        frame_size: (height, width) in pixels.
        threshold: probability above which a pixel is the object's.

    >>> masks = BoxMasks(np.ones((1, 28, 28), np.float32), [[2, 1, 6, 5]], (8, 10))
    >>> int(masks.full(0).sum()), masks.to_coco_rle()[0]["size"]
    (36, [8, 10])
    """

    frame_size: tuple[int, int]
    threshold: float

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: Index) -> Masks:
        """Some of them.

        Args:
            index: slice, bool [N], or integers [M].

        Returns:
            Their masks, which share what is kept of a slice.

        Raises:
            IndexError: a number outside, or a mask of another length.
        """

    def __iter__(self) -> Iterator[Region]:
        for index in range(len(self)):
            yield self.region(index)

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of all that is kept."""

    @abstractmethod
    def probabilities(self, index: int) -> Region:
        """What is held against the threshold.

        Args:
            index: number of the detection.

        Returns:
            float32 [h, w] in [0, 1], and its place in the frame.

        Raises:
            IndexError: a number outside.
        """

    @abstractmethod
    def moved(self, left: int, top: int, frame_size: tuple[int, int]) -> Masks:
        """The same objects in a frame of which this one is a part.

        Args:
            left: column of this frame's first pixel in the other.
            top: likewise its row.
            frame_size: (height, width) of the other.

        Returns:
            As many masks.
        """

    @abstractmethod
    def joined(self, others: Sequence[Masks]) -> Masks:
        """These and others of the same detector and frame.

        Args:
            others: in the order in which they follow.

        Returns:
            All of them.
        """

    @abstractmethod
    def without_shades(self) -> Masks:
        """What is left where only the threshold's decision is kept of each bitmap, as on a model card.

        Returns:
            As many masks.
        """

    @abstractmethod
    def to_card(self) -> list[dict[str, Any]]:
        """Bitmaps as the golden input on a model card has them.

        Returns:
            For each detection run lengths as :meth:`to_coco_rle` has them, of its bitmap.
        """

    def region(self, index: int) -> Region:
        """The pixels around one object.

        Args:
            index: number of the detection.

        Returns:
            bool [h, w], true where the object is, and its place in the frame.

        Raises:
            IndexError: a number outside.
        """
        left, top, values = self.probabilities(index)
        return Region(left, top, values > np.float32(self.threshold))

    def full(self, index: int) -> NDArray[np.bool_]:
        """One object in the whole frame.

        Args:
            index: number of the detection.

        Returns:
            bool [H, W].

        Raises:
            IndexError: a number outside.
        """
        return self._placed(self.region(index))

    def dense(self) -> NDArray[np.bool_]:
        """All objects in whole frames: 207 MB for 100 of 1920x1080.

        Returns:
            bool [N, H, W].
        """
        frames = np.zeros((len(self), *self.frame_size), np.bool_)
        for frame, region in zip(frames, self, strict=True):
            _place(frame, region)
        return frames

    def to_polygons(self) -> list[list[NDArray[np.int32]]]:
        """Outlines as polygons through the centres of the outermost pixels; holes are left out.

        Returns:
            For each detection the polygons of its parts, int32 [M, 2], x and y of pixels of the frame, as OpenCV's
            ``fillPoly`` takes them; none where no pixel is the object's.
        """
        return [_polygons(region) for region in self]

    def to_coco_rle(self) -> list[dict[str, Any]]:
        """Run lengths as COCO has them (https://cocodataset.org/#format-data), compressed.

        Returns:
            For each detection ``size`` [H, W] and ``counts``, text that ``pycocotools.mask`` reads.
        """
        return [coco_rle(region.values, region.left, region.top, self.frame_size) for region in self]

    def _placed(self, region: Region) -> NDArray[np.bool_]:
        frame = np.zeros(self.frame_size, np.bool_)
        _place(frame, region)
        return frame


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


def _place(frame: NDArray[np.bool_], region: Region) -> None:
    height, width = region.values.shape
    frame[region.top : region.top + height, region.left : region.left + width] = region.values


def _polygons(region: Region) -> list[NDArray[np.int32]]:
    pixels = np.ascontiguousarray(region.values, np.uint8)
    if not pixels.size:
        return []
    found, _ = cv2.findContours(
        pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(region.left, region.top)
    )
    return [contour.reshape(-1, 2).astype(np.int32) for contour in found]

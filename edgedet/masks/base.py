"""What outlines of objects answer, however a family keeps them: pixels, run lengths, polygons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.masks.run_lengths import coco_rle

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
    Families keep them differently: :class:`edgedet.masks.BoxMasks`, :class:`edgedet.masks.CanvasMasks`.

    Attributes:
        frame_size: (height, width) in pixels.
        threshold: probability above which a pixel is the object's.

    >>> from edgedet.masks import BoxMasks
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

"""Outlines that a network draws on its canvas: bits of the canvas's pixels, brought to the frame when asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.geometry import ResizeGeometry
from edgedet.masks.base import Index, Masks, Region
from edgedet.resizing.torch_places import taps

Array = NDArray[Any]


class CanvasObject(NamedTuple):
    """The pixels of a canvas that are one object's, all of which lie in a rectangle.

    Attributes:
        left: column of its first pixel on the canvas.
        top: row of its first pixel on the canvas.
        height: rows.
        width: columns.
        bits: uint8 [M], the pixels row by row, eight in a byte.
        place: how the canvas shows the frame.
        offset: (left, top) of that frame in the one that the masks are of.

    >>> where = ResizeGeometry(8, 10, 8, 10, 0, 0, 1.0, 1.0)
    >>> CanvasObject.of(np.ones((3, 4), np.bool_), 2, 1, where).bits.nbytes
    2
    """

    left: int
    top: int
    height: int
    width: int
    bits: NDArray[np.uint8]
    place: ResizeGeometry
    offset: tuple[int, int] = (0, 0)

    @staticmethod
    def of(pixels: NDArray[np.bool_], left: int, top: int, place: ResizeGeometry) -> CanvasObject:
        """An object of pixels bool [h, w] whose first is at ``left`` and ``top``; see :class:`CanvasObject`.

        Args:
            pixels: bool [h, w].
            left: column of the first on the canvas.
            top: likewise its row.
            place: how the canvas shows the frame.

        Returns:
            The object.
        """
        height, width = pixels.shape
        return CanvasObject(left, top, height, width, np.packbits(pixels), place)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [height, width], 1 where the object is."""
        return np.unpackbits(self.bits, count=self.height * self.width).reshape(self.height, self.width)


@dataclass(frozen=True, eq=False)
class CanvasMasks(Masks):
    """Pixels of the network's canvas, as Ultralytics' segment models are read.

    They are brought to the frame as Ultralytics' ``scale_masks`` does: the canvas without its border is
    interpolated bilinearly, as PyTorch computes it, and what is above ``threshold`` is the object's.
    ``probabilities`` are that interpolation of zeros and ones. Until they are asked for an object takes a bit for
    each of the canvas's pixels in its box.

    Args:
        objects: N of them.
        frame_size: (height, width) in pixels.
        threshold: of the interpolation.

    >>> half = CanvasObject.of(np.ones((2, 2), np.bool_), 1, 0, ResizeGeometry(8, 10, 4, 5, 0, 0, 0.5, 0.5))
    >>> CanvasMasks((half,), (8, 10)).region(0).values.shape
    (5, 7)
    """

    objects: tuple[CanvasObject, ...]
    frame_size: tuple[int, int]
    threshold: float = 0.5

    @staticmethod
    def of_frames(frames: Sequence[NDArray[np.bool_]], frame_size: tuple[int, int]) -> CanvasMasks:
        """Masks of which every pixel of the frame is known.

        Args:
            frames: N of bool [H, W].
            frame_size: (height, width).

        Returns:
            N masks.
        """
        height, width = frame_size
        place = ResizeGeometry(height, width, height, width, 0, 0, 1.0, 1.0)
        return CanvasMasks(tuple(CanvasObject.of(*_cut(frame), place) for frame in frames), (height, width))

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: Index) -> CanvasMasks:
        if isinstance(index, slice):
            return replace(self, objects=self.objects[index])
        rows = np.arange(len(self))[np.asarray(index, None if len(index) else np.intp)]
        return replace(self, objects=tuple(self.objects[row] for row in rows.tolist()))

    @property
    def nbytes(self) -> int:
        """Bytes of all bits."""
        return sum(each.bits.nbytes for each in self.objects)

    def probabilities(self, index: int) -> Region:
        """The canvas's pixels interpolated, see :meth:`Masks.probabilities`."""
        each = self.objects[index]
        place = each.place
        rows = _Axis.of(each.top - place.top, each.height, place.height, place.frame_height)
        columns = _Axis.of(each.left - place.left, each.width, place.width, place.frame_width)
        # What lies beside the rectangle is nothing of the object.
        pixels = np.pad(each.pixels, 1).astype(np.float32)
        values = columns.mixed(rows.mixed(pixels).T).T
        return Region(columns.first + each.offset[0], rows.first + each.offset[1], values)

    def moved(self, left: int, top: int, frame_size: tuple[int, int]) -> CanvasMasks:
        """See :meth:`Masks.moved`."""
        shifted = tuple(
            each._replace(offset=(each.offset[0] + int(left), each.offset[1] + int(top))) for each in self.objects
        )
        return CanvasMasks(shifted, frame_size, self.threshold)

    def joined(self, others: Sequence[Masks]) -> CanvasMasks:
        """See :meth:`Masks.joined`."""
        more = [each for other in others if isinstance(other, CanvasMasks) for each in other.objects]
        return replace(self, objects=(*self.objects, *more))

    def without_shades(self) -> CanvasMasks:
        """See :meth:`Masks.without_shades`: bits have none."""
        return self

    def to_card(self) -> list[dict[str, Any]]:
        """See :meth:`Masks.to_card`: of the whole frame."""
        return self.to_coco_rle()


class _Axis(NamedTuple):
    """Along one axis the frame's pixels, from ``first`` on, that an object reaches: each is mixed of two of its
    canvas pixels, counted from the one before the first, as ``taps`` say."""

    first: int
    taps: tuple[tuple[Array, Array], tuple[Array, Array]]

    @staticmethod
    def of(begin: int, length: int, content: int, frame: int) -> _Axis:
        """``begin``, ``length``: of the object, in the ``content`` pixels that show ``frame`` pixels."""
        near, far = _taps(content, frame)
        # Places ascend. A pixel is reached by what it is mixed of.
        first = int(np.searchsorted(far[0], begin, "left"))
        last = int(np.searchsorted(near[0], begin + length, "left"))
        cut = slice(first, max(first, last))
        within = [(np.clip(at[cut] - begin + 1, 0, length + 1), share[cut]) for at, share in (near, far)]
        return _Axis(first, (within[0], within[1]))

    def mixed(self, rows: Array) -> Array:
        """Rows [length + 2, n] of which the first and the last are nothing, interpolated: float32 [pixels, n]."""
        (near, one), (far, other) = self.taps
        mixed: Array = rows[near] * one[:, None]
        mixed += rows[far] * other[:, None]
        return mixed


@lru_cache(maxsize=64)
def _taps(content: int, frame: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return taps(content, frame)


def _cut(frame: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int, int]:
    """The rectangle of what is true in a frame, and the place of its first column and row."""
    left, top, width, height = cv2.boundingRect(frame.astype(np.uint8))
    return frame[top : top + height, left : left + width], left, top


def draw_prototypes(
    coefficients: NDArray[np.float32],
    prototypes: NDArray[np.float32],
    boxes: NDArray[np.float32],
    canvas: tuple[int, int],
    place: ResizeGeometry,
) -> NDArray[np.object_]:
    """Objects of a network that gives prototypes, and for each detection how much of each (YOLACT,
    arXiv:1904.02689).

    As Ultralytics' ``process_mask`` draws them for ``predict`` (without ``retina_masks``): the sum of the
    prototypes, interpolated bilinearly to the canvas, is above 0 within the box. Only what a box needs is summed.

    Args:
        coefficients: float32 [N, M].
        prototypes: float32 [M, h, w], of cells of a whole number of canvas pixels.
        boxes: float32 [N, 4], x1, y1, x2, y2, canvas pixels.
        canvas: (height, width) in pixels.
        place: how the canvas shows the frame.

    Returns:
        N of :class:`CanvasObject`; without a pixel where nothing in the box is above 0.
    """
    drawn = np.empty(len(boxes), np.object_)
    steps = canvas[0] // prototypes.shape[1], canvas[1] // prototypes.shape[2]
    for index, (row, box) in enumerate(zip(coefficients, boxes.tolist(), strict=True)):
        across = _Cells.of(box[0], box[2], canvas[1], steps[1])
        down = _Cells.of(box[1], box[3], canvas[0], steps[0])
        if not across.pixels or not down.pixels:
            drawn[index] = CanvasObject.of(np.zeros((0, 0), np.bool_), 0, 0, place)
            continue
        near = prototypes[:, down.first : down.last, across.first : across.last]
        sums = (row @ near.reshape(len(near), -1)).reshape(near.shape[1:])
        size = (near.shape[2] * steps[1], near.shape[1] * steps[0])
        values = cv2.resize(sums, size, interpolation=cv2.INTER_LINEAR)
        y, x = down.begin - down.first * steps[0], across.begin - across.first * steps[1]
        pixels: Any = values[y : y + down.pixels, x : x + across.pixels] > 0
        drawn[index] = CanvasObject.of(pixels, across.begin, down.begin, place)
    return drawn


class _Cells(NamedTuple):
    """Along one axis: ``pixels`` of the canvas from ``begin`` on, and the cells ``first`` to ``last`` (without it)
    that they are interpolated from."""

    begin: int
    pixels: int
    first: int
    last: int

    @staticmethod
    def of(low: float, high: float, limit: int, step: int) -> _Cells:
        """Pixels from ``low`` up to ``high`` (without it), as Ultralytics' ``crop_mask`` counts them."""
        if not low < high:
            return _Cells(0, 0, 0, 0)
        begin, end = (math.ceil(min(max(edge, 0.0), limit)) for edge in (low, high))
        first, last = max(begin // step - 1, 0), min((end - 1) // step + 2, limit // step)
        return _Cells(begin, max(end - begin, 0), first, last)

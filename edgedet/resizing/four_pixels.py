"""Bilinear interpolation at places that are given: every output pixel is mixed of four of the frame's."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LARGEST_PLACE = 2**15 - 1
"""Side of a frame, in pixels, up to which OpenCV's tables reach."""

BAND = 32
"""Output rows interpolated at a time: few enough that what is between stays in the cache."""

Array = NDArray[Any]
Taps = tuple[tuple[Array, Array], tuple[Array, Array]]
"""Along one axis: of every output pixel two input pixels (indices), each with its share (float32)."""


class FourPixelResize:
    """Every output pixel is the sum of four input pixels, each times a share; for one pair of sizes.

    ``source``, ``target``: (height, width). ``rows``, ``columns``: where those four lie. Rounded where the target
    is uint8.

    >>> import numpy as np
    >>> half = np.float32([0.5])
    >>> both = ((np.array([0]), half), (np.array([1]), half))
    >>> result = np.zeros((1, 1, 3), np.float32)
    >>> frame = np.repeat(np.uint8([[[0], [80]], [[160], [240]]]), 3, axis=2)
    >>> FourPixelResize((2, 2), (1, 1), both, both)(frame, result)
    >>> result[0, 0].tolist()
    [120.0, 120.0, 120.0]
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int], rows: Taps, columns: Taps) -> None:
        self.source, self.target = source, target
        self._corners = [(row, column) for row, _ in rows for column, _ in columns]
        shares = [row[:, None] * column[None] for _, row in rows for _, column in columns]
        self._shares = [np.repeat(share[..., None], 3, axis=2) for share in shares]
        # OpenCV's table of places, which is of int16, moves pixels at eight times the speed of NumPy's indexing.
        self._maps: list[Array] | None = None
        if max(source) <= LARGEST_PLACE:
            places = [np.broadcast_arrays(column[None], row[:, None]) for row, column in self._corners]
            self._maps = [np.stack(place, axis=-1).astype(np.int16) for place in places]
        shape = (min(BAND, target[0]), target[1], 3)
        self._mixed, self._part = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._pixels: Array = np.empty(shape, np.uint8)

    def __call__(self, pixels: Array, content: Array) -> None:
        """Resize ``pixels`` [H, W, 3], uint8 or float32, into ``content`` [h, w, 3], uint8 or float32."""
        if self._pixels.dtype != pixels.dtype:
            self._pixels = np.empty(self._pixels.shape, pixels.dtype)
        for first in range(0, len(content), BAND):
            band = slice(first, min(first + BAND, len(content)))
            np.copyto(content[band], self._mix(pixels, band, content.dtype == np.uint8), casting="unsafe")

    def _mix(self, pixels: Array, band: slice, rounded: bool) -> Array:
        """Rows of the result, float32."""
        mixed, part = self._mixed[: band.stop - band.start], self._part[: band.stop - band.start]
        for corner, share in enumerate(self._shares):
            target = part if corner else mixed
            cv2.multiply(self._at(pixels, corner, band), share[band], dst=target, dtype=cv2.CV_32F)
            if corner:
                cv2.add(mixed, part, dst=mixed)
        return np.rint(mixed, out=mixed) if rounded else mixed

    def _at(self, pixels: Array, corner: int, band: slice) -> Array:
        """For every output pixel, one of the four input pixels that it lies between."""
        if self._maps is None:
            rows, columns = self._corners[corner]
            return pixels[rows[band]][:, columns]
        places: Any = self._maps[corner][band]
        found = self._pixels[: len(places)]
        return cv2.remap(pixels, places, None, cv2.INTER_NEAREST, dst=found)  # type: ignore[call-overload,no-any-return,unused-ignore]

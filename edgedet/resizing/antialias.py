"""Shrinking without aliasing, as Pillow and torchvision do it: every pixel of the frame counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.resizing.antialias_integer_ratio import WholeSteps
from edgedet.resizing.antialias_weights import CHANNELS, Band, Weights, side_by_side, triangle
from edgedet.resizing.two_threads import SHARED_BYTES, in_two_threads

BLOCK, ROW_BLOCK = 8, 16
"""Output pixels of one matrix product, along a row and down a column: few enough that not many of its weights are
zero, which along a row two in three are anyway, since the channels stay side by side."""
CHUNK = 192
"""Rows of the frame at most that are converted and summed along the row at once: few enough that they stay in the
cache, many enough that two threads seldom wait for one another's Python. 1080p onto 640x640 takes 4.4 ms on two
threads and 5.2 on one (AMD EPYC, family 25 model 17); with 64 rows 5.6 on either."""

Array = NDArray[Any]


class AntialiasedResize:
    """Bilinear interpolation whose triangle widens with the scale, so that shrinking averages; for one pair of
    sizes.

    ``source``, ``target``: (height, width). Gives the bytes of torchvision's ``resize(antialias=True)`` of uint8
    images, and Pillow's within one level: columns first, and both passes rounded. Where the target is of floats,
    neither is. With ``threads`` above one, large frames are shared with a second one: the same bytes, and floats
    that differ in their last digits.

    >>> import numpy as np
    >>> result = np.zeros((1, 2, 3), np.uint8)
    >>> AntialiasedResize((1, 4), (1, 2))(np.repeat(np.uint8([[[0], [80], [160], [240]]]), 3, axis=2), result)
    >>> result[0, :, 0].tolist()
    [57, 183]
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int], *, threads: int = 1) -> None:
        self.source, self.target = source, target
        across, down = triangle(source[1], target[1]), triangle(source[0], target[0])
        middle = target[0] // 2 if threads > 1 and math.prod(source) * CHANNELS >= SHARED_BYTES else 0
        parts = [(0, middle), (middle, target[0])] if middle else [(0, target[0])]
        self._parts = [_Part(across, down, *rows) for rows in parts]

    def __call__(self, pixels: Array, content: Array) -> None:
        """Resize ``pixels`` [H, W, 3] into ``content`` [h, w, 3], uint8 or float32."""
        if len(self._parts) > 1:
            in_two_threads(lambda number: self._parts[number](pixels, content))
        else:
            self._parts[0](pixels, content)


class _Part:
    """Rows of the result from ``start`` up to ``stop``, with buffers of their own."""

    def __init__(self, across: Weights, down: Weights, start: int, stop: int) -> None:
        self._across = across
        self._rows = down.bands(ROW_BLOCK, start, stop)
        self._first, self._last = self._rows[0][1].start, self._rows[-1][1].stop
        count = self._last - self._first
        self._chunk = math.ceil(count / math.ceil(count / CHUNK))
        self._columns = _columns(self._across, self._chunk)
        width, tall = across.target * CHANNELS, self._rows[0][2].dtype
        self._tall = np.empty((count, width), tall)
        self._wide = np.empty((self._chunk, width), self._columns.dtype)
        self._result = np.empty((min(ROW_BLOCK, stop - start), width), tall)

    def __call__(self, pixels: Array, content: Array) -> None:
        """Sum ``pixels`` [H, W, 3], the whole frame, into these rows of ``content`` [h, w, 3]."""
        rounded = content.dtype == np.uint8
        if pixels.dtype != np.uint8 and isinstance(self._columns, WholeSteps):
            self._columns = _Products(self._across, self._chunk)
            self._wide = np.empty(self._wide.shape, self._columns.dtype)
        bands = iter(self._rows)
        band = next(bands, None)
        for start in range(self._first, self._last, self._chunk):
            tall = self._tall[start - self._first :][: self._chunk]
            wide = tall if self._wide.dtype == tall.dtype else self._wide[: len(tall)]
            self._columns(pixels[start : start + len(tall)], wide, rounded=rounded)
            if wide is not tall:
                np.copyto(tall, wide, casting="unsafe")
            # As soon as its rows are there, and in the cache.
            while band is not None and band[1].stop <= start + len(tall):
                self._sum_rows(band, content, rounded=rounded)
                band = next(bands, None)

    def _sum_rows(self, band: Band, content: Array, *, rounded: bool) -> None:
        outputs, inputs, weights = band
        result = self._result[: len(weights)]
        np.matmul(weights, self._tall[inputs.start - self._first : inputs.stop - self._first], out=result)
        if rounded:
            # Becoming bytes, the fraction is cut off.
            np.add(result, 0.5, out=result)
        part = content[outputs]
        np.copyto(part, result.reshape(part.shape), casting="unsafe")


class _Products:
    """Sums along the rows for any sizes: matrix products over pixels near each other."""

    def __init__(self, weights: Weights, rows: int) -> None:
        self._bands = [side_by_side(*band) for band in weights.bands(BLOCK)]
        self.dtype = self._bands[0][2].dtype
        self._floats = np.empty((rows, weights.source * CHANNELS), self.dtype)

    def __call__(self, pixels: Array, sums: Array, *, rounded: bool) -> None:
        """Sum ``pixels`` [H, W, 3] into ``sums`` [H, w * 3]."""
        floats = self._floats[: len(pixels)]
        np.copyto(floats, pixels.reshape(len(pixels), -1), casting="unsafe")
        for outputs, inputs, weights in self._bands:
            np.matmul(floats[:, inputs], weights, out=sums[:, outputs])
        if rounded:
            np.add(sums, 0.5, out=sums)
            np.floor(sums, out=sums)


def _columns(weights: Weights, rows: int) -> WholeSteps | _Products:
    """What sums along the rows, the quicker way where it gives the same."""
    try:
        return WholeSteps(weights, rows)
    except ValueError:
        return _Products(weights, rows)

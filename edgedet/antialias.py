"""Shrinking without aliasing, as Pillow and torchvision do it: every pixel of the frame counts."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Output pixels of one matrix product: few enough that hardly any of its weights are zero."""
WEIGHT_LIMIT = 1 << 15
MAX_BITS = 22
"""Weights are rounded to int16 with a common exponent, as both libraries do for uint8 pictures."""
FLOAT32_BITS = 16
"""Behind the point, up to which float32 adds bytes times weights without an error (2^8 times 2^16)."""

Array = NDArray[Any]
Band = tuple[slice, slice, Array]
"""Output pixels, the input pixels that they are made of, weights [outputs, inputs]."""


class AntialiasedResize:
    """Bilinear interpolation whose triangle widens with the scale, so that shrinking averages; for one pair of
    sizes.

    ``source``, ``target``: (height, width). Gives the bytes of torchvision's ``resize(antialias=True)`` of uint8
    images, and Pillow's within one level: columns first, and both passes rounded. Where the target is of floats,
    neither is.

    >>> import numpy as np
    >>> result = np.zeros((1, 2, 3), np.uint8)
    >>> AntialiasedResize((1, 4), (1, 2))(np.repeat(np.uint8([[[0], [80], [160], [240]]]), 3, axis=2), result)
    >>> result[0, :, 0].tolist()
    [57, 183]
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        self.source, self.target = source, target
        self._rows, self._columns = (bands(*sides) for sides in zip(source, target, strict=True))
        wide, tall = self._columns[0][2].dtype, self._rows[0][2].dtype
        self._plane = np.empty(source, wide)
        self._wide = np.empty((source[0], target[1]), wide)
        self._tall = self._wide if tall == wide else np.empty_like(self._wide, tall)
        self._result = np.empty(target, tall)

    def __call__(self, pixels: Array, content: Array) -> None:
        """Resize ``pixels`` [H, W, C] into ``content`` [h, w, C], uint8 or float32."""
        rounded = content.dtype == np.uint8
        for channel in range(pixels.shape[2]):
            # Contiguous first: NumPy converts strided bytes to floats at a fifth of the speed.
            np.copyto(self._plane, cv2.extractChannel(pixels, channel))
            for outputs, inputs, weights in self._columns:
                np.matmul(self._plane[:, inputs], weights.T, out=self._wide[:, outputs])
            if rounded:
                _round(self._wide)
            if self._tall is not self._wide:
                np.copyto(self._tall, self._wide, casting="unsafe")
            for outputs, inputs, weights in self._rows:
                np.matmul(weights, self._tall[inputs], out=self._result[outputs])
            if rounded:
                _round(self._result)
            np.copyto(content[..., channel], self._result, casting="unsafe")


def _round(values: Array) -> None:
    np.add(values, 0.5, out=values)
    np.floor(values, out=values)


def bands(source: int, target: int) -> list[Band]:
    """The weights by which ``source`` pixels in a row become ``target`` pixels."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = scale * (np.arange(target) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), source)
    offsets = np.arange(int((last - first).max()))
    distance = np.abs(first[:, None] + offsets - centres[:, None] + 0.5) / reach
    weights = np.where(offsets < (last - first)[:, None], np.maximum(1 - distance, 0), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    bits = _bits(float(weights.max()))
    step = 2.0**bits
    weights = np.floor(weights * step + 0.5) / step
    found: list[Band] = []
    for start in range(0, target, BLOCK):
        stop = min(start + BLOCK, target)
        low, high = int(first[start]), int(last[stop - 1])
        block = np.zeros((stop - start, high - low), np.float32 if bits <= FLOAT32_BITS else np.float64)
        for row in range(start, stop):
            count = int(last[row] - first[row])
            block[row - start, first[row] - low : first[row] - low + count] = weights[row, :count]
        found.append((slice(start, stop), slice(low, high), block))
    return found


def _bits(largest: float) -> int:
    """Bits behind the point that the largest weight still has as int16."""
    bits = 0
    while bits < MAX_BITS and int(0.5 + largest * (1 << (bits + 1))) < WEIGHT_LIMIT:
        bits += 1
    return bits

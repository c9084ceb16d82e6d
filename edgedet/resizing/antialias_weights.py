"""The weights of a triangle that widens with the scale, rounded as Pillow and torchvision round them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = 3
WEIGHT_LIMIT = 1 << 15
MAX_BITS = 22
"""Weights are rounded to int16 with a common exponent, as both libraries do for uint8 pictures."""
FLOAT32_BITS = 16
"""Behind the point, up to which float32 adds bytes times weights without an error (2^8 times 2^16)."""

Array = NDArray[Any]
Band = tuple[slice, slice, Array]
"""Output pixels, the input pixels that they are made of, weights [outputs, inputs]."""


@dataclass(frozen=True)
class Weights:
    """Weights by which ``source`` pixels in a row become ``target`` pixels.

    Attributes:
        source: how many input pixels.
        target: how many output pixels.
        first: int64 [target], the first input pixel of each.
        counts: int64 [target], how many input pixels each is made of.
        rows: float64 [target, taps], their weights, 0 behind the last one.
        bits: of the weights, behind the point.
    """

    source: int
    target: int
    first: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.float64]
    bits: int

    def band(self, start: int, stop: int) -> Band:
        """Band of the output pixels from ``start`` up to ``stop``."""
        low, high = int(self.first[start]), int(self.first[stop - 1] + self.counts[stop - 1])
        block = np.zeros((stop - start, high - low), np.float32 if self.bits <= FLOAT32_BITS else np.float64)
        for row in range(start, stop):
            count, place = int(self.counts[row]), int(self.first[row]) - low
            block[row - start, place : place + count] = self.rows[row, :count]
        return slice(start, stop), slice(low, high), block

    def bands(self, size: int, start: int = 0, stop: int | None = None) -> list[Band]:
        """Bands of the output pixels from ``start`` up to ``stop`` (None: all), ``size`` at once."""
        end = self.target if stop is None else stop
        return [self.band(first, min(first + size, end)) for first in range(start, end, size)]


def triangle(source: int, target: int) -> Weights:
    """Weights of bilinear interpolation whose reach grows with the scale where it shrinks."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = scale * (np.arange(target) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    counts = np.minimum((centres + reach + 0.5).astype(np.int64), source) - first
    offsets = np.arange(int(counts.max()))
    distance = np.abs(first[:, None] + offsets - centres[:, None] + 0.5) / reach
    rows = np.where(offsets < counts[:, None], np.maximum(1 - distance, 0), 0)
    rows /= rows.sum(axis=1, keepdims=True)
    bits = _bits(float(rows.max()))
    step = 2.0**bits
    return Weights(source, target, first, counts, np.floor(rows * step + 0.5) / step, bits)


def side_by_side(outputs: slice, inputs: slice, weights: Array) -> Band:
    """The same for rows of pixels whose channels lie side by side; weights [inputs, outputs]."""
    every = np.zeros((weights.shape[1], CHANNELS, weights.shape[0], CHANNELS), weights.dtype)
    for channel in range(CHANNELS):
        every[:, channel, :, channel] = weights.T
    first, second = (slice(part.start * CHANNELS, part.stop * CHANNELS) for part in (outputs, inputs))
    return first, second, every.reshape(weights.shape[1] * CHANNELS, -1)


def _bits(largest: float) -> int:
    """Bits behind the point that the largest weight still has as int16."""
    bits = 0
    while bits < MAX_BITS and int(0.5 + largest * (1 << (bits + 1))) < WEIGHT_LIMIT:
        bits += 1
    return bits

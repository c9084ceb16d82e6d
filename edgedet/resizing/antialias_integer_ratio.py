"""Sums along the rows of a frame that is a whole number of times as wide as what it becomes (1080p at 640: 3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.resizing.antialias_weights import CHANNELS, FLOAT32_BITS, Weights, side_by_side

MIDDLE = 128
"""What is taken from bytes whose weights have a bit more: float32 adds what lies between -128 and 127 times 2^17
without an error, too."""

Array = NDArray[np.float32]
Bytes = NDArray[np.uint8]


class WholeSteps:
    """Every output pixel has the weights of its neighbour, ``step`` input pixels on: a few planes of every
    ``step``-th pixel, each times a weight, are summed. Along a row of 1920 that becomes 640, 5 ms in place of 12.

    Pixels near either end have weights of their own, and are sums of a few.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, weights: Weights, rows: int) -> None:
        """``rows``: of the frame, at most, that are given at once.

        Raises:
            ValueError: these weights do not come in whole steps, or float32 would round.
        """
        self._step, left = divmod(weights.source, weights.target)
        self._centre = MIDDLE if weights.bits > FLOAT32_BITS else 0
        if left or self._step < 2 or weights.bits > FLOAT32_BITS + 1:
            raise ValueError(f"{weights.source} pixels to {weights.target} with {weights.bits} bits")
        self._inner = _alike(weights, self._step)
        count = self._inner.stop - self._inner.start
        if count < max(weights.target // 2, 1):
            raise ValueError(f"{count} of {weights.target} pixels have the same weights")
        self._first = int(weights.first[self._inner.start])
        self._shares = [float(share) for share in weights.rows[self._inner.start]]
        self._shares += [0.0] * (2 * self._step - len(self._shares))
        self._picked = np.empty((rows, count + 1, CHANNELS), np.uint8)
        self._planes = np.zeros((rows, (count + 1) * CHANNELS), np.float32)
        self._require_every(self._step * (count + 1))
        ends = (0, self._inner.start), (self._inner.stop, weights.target)
        self._ends = [side_by_side(*weights.band(*end)) for end in ends if end[0] < end[1]]
        # What taking the middle away takes from a sum whose weights, being rounded, are not 1 together.
        self._lost = self._centre * weights.rows.sum(axis=1)

    def _require_every(self, width: int) -> None:
        """That OpenCV picks every ``step``-th pixel, whose place it computes in floating point."""
        number = np.arange(width)
        row = np.stack([number % 256, number // 256, number * 0], axis=-1).astype(np.uint8)[None]
        if not np.array_equal(self._pick(row), row[:, :: self._step]):
            raise ValueError(f"OpenCV does not pick every pixel number {self._step}")

    def _pick(self, pixels: Bytes) -> Bytes:
        picked = self._picked[: len(pixels)]
        cv2.resize(pixels, picked.shape[1::-1], dst=picked, interpolation=cv2.INTER_NEAREST)
        return picked

    def __call__(self, pixels: Bytes, sums: Array, *, rounded: bool) -> None:
        """Sum ``pixels`` [H, W, 3] into ``sums`` [H, w * 3]."""
        inner = sums[:, self._inner.start * CHANNELS : self._inner.stop * CHANNELS]
        width = inner.shape[1]
        reach = self._step * self._picked.shape[1]
        planes = self._planes[: len(pixels)]
        # In this order nothing needs more bits than float32 has: bytes are the middle away from 0 at most.
        offset = self._lost + (0.5 - self._centre if rounded else 0.0)
        for place in range(self._step):
            start = self._first + place
            self._to_float(self._pick(pixels[:, start : start + reach]).reshape(planes.shape), planes)
            # The plane serves the pixel a step on, too, moved by one.
            near, far = (planes[:, moved : moved + width] for moved in (0, CHANNELS))
            first, second = self._shares[place], self._shares[place + self._step]
            if place == 0:
                cv2.addWeighted(near, first, far, second, offset[self._inner.start], dst=inner)
                continue
            cv2.scaleAdd(near, first, inner, dst=inner)
            if second:
                cv2.scaleAdd(far, second, inner, dst=inner)
        values = pixels.reshape(len(pixels), -1)
        for outputs, inputs, weights in self._ends:
            shift = np.repeat(offset[outputs.start // CHANNELS : outputs.stop // CHANNELS], CHANNELS)
            ends = (values[:, inputs] - np.float32(self._centre)) @ weights
            np.add(ends, shift.astype(np.float32), out=sums[:, outputs])
        if rounded:
            np.floor(sums, out=sums)
            if self._centre:
                np.add(sums, np.float32(self._centre), out=sums)

    def _to_float(self, picked: Bytes, planes: Array) -> None:
        if self._centre:
            np.subtract(picked, np.float32(self._centre), out=planes)
        else:
            # dst = 0 * dst + 1 * src, OpenCV's quickest conversion.
            cv2.accumulateWeighted(picked, planes, 1.0)


def _alike(weights: Weights, step: int) -> slice:
    """Output pixels around the middle one that have its weights, a step on each, and room for planes behind; none
    where it has no room itself."""
    middle = weights.target // 2
    places = weights.first[middle] + step * (np.arange(weights.target) - middle)
    same = (weights.first == places) & (weights.rows == weights.rows[middle]).all(axis=1)
    same &= places + step * 3 <= weights.source
    if not same[middle]:
        return slice(middle, middle)
    different = np.flatnonzero(~same)
    before, behind = different[different < middle], different[different > middle]
    return slice(int(before[-1]) + 1 if len(before) else 0, int(behind[0]) if len(behind) else weights.target)

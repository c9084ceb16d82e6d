"""What every tensor holds on the calibration frames: extremes and a histogram, streamed, never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.onnx_graph.network import Array, Network

from .taps import Taps

BINS = 2048
FINE = 4 * BINS
"""Bins while the range is still growing: it doubles, so a quarter of them lies inside the final one at least."""

Progress = Callable[[str, int, int], None]
"""(what, done, of)."""


def silent(what: str, done: int, of: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True)
class Observation:
    """One tensor over all calibration frames.

    ``counts`` [BINS] is a histogram between ``low`` and ``high``; ``channel_high`` [C] the largest magnitude per
    channel (:func:`edgedet.calibration.taps.channel_axis`), which shows one that spoils the scale for the rest.
    ``margin``: how far beyond them it is expected to reach on other frames; above 1, nothing may be clipped.
    """

    low: float
    high: float
    counts: Array
    channel_high: Array
    margin: float = 1.0

    @property
    def magnitude(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def centres(self) -> Array:
        """Middle of every bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[1:] + edges[:-1]) / 2


class Collector:
    """Makes an :class:`Observation` of what frame after frame shows of one tensor, in memory of fixed size."""

    def __init__(self) -> None:
        self._lows: Array | None = None
        self._highs: Array | None = None
        self._limit = 0.0
        self._counts = np.zeros(FINE, np.int64)

    def add(self, lows: Array, highs: Array, values: Array | None) -> None:
        """Take one frame's extremes per channel, and some of its values."""
        self._lows = lows if self._lows is None else np.minimum(self._lows, lows)
        self._highs = highs if self._highs is None else np.maximum(self._highs, highs)
        if values is None or not values.size:
            return
        reach = float(max(-lows.min(initial=0), highs.max(initial=0)))
        if not np.isfinite(reach):
            return
        while self._limit < reach:
            self._widen(reach)
        if self._limit:
            # Values lie between -limit and limit, which are the ends of the bins.
            scaled = np.add(values, self._limit, dtype=np.float32)
            scaled *= FINE / 2 / self._limit
            index = scaled.astype(np.int64)
            np.maximum(index, 0, out=index)
            np.minimum(index, FINE - 1, out=index)
            self._counts += np.bincount(index, minlength=FINE)
        else:
            self._counts[FINE // 2] += values.size

    def _widen(self, reach: float) -> None:
        if not self._limit:
            zeros = self._counts.sum()
            self._counts[:] = 0
            self._counts[FINE // 2] = zeros
            self._limit = reach
            return
        halved = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.zeros_like(self._counts)
        self._counts[FINE // 4 : 3 * FINE // 4] = halved
        self._limit *= 2

    def observation(self) -> Observation:
        """What was seen so far; a tensor with values that are no numbers counts as nothing but zeros."""
        if self._lows is None or self._highs is None or not self._lows.size:
            return Observation(0.0, 0.0, np.zeros(BINS, np.int64), np.zeros(0, np.float32))
        channels = np.maximum(np.abs(self._lows), np.abs(self._highs)).astype(np.float32)
        low, high = float(self._lows.min()), float(self._highs.max())
        if not np.isfinite([low, high]).all():
            return Observation(0.0, 0.0, self._rebinned(0.0, 0.0), channels)
        return Observation(low, high, self._rebinned(low, high), channels)

    def _rebinned(self, low: float, high: float) -> Array:
        """The counts in bins between the extremes, which are known exactly."""
        width = (high - low) / BINS
        if not np.isfinite(width) or width <= 0 or not self._limit:
            return np.bincount([0], weights=[self._counts.sum()], minlength=BINS).astype(np.int64)
        edges = np.linspace(-self._limit, self._limit, FINE + 1)
        centres = (edges[1:] + edges[:-1]) / 2
        index = np.clip(((centres - low) / width).astype(np.int64), 0, BINS - 1)
        return np.bincount(index, weights=self._counts, minlength=BINS).astype(np.int64)


def observe(
    network: Network,
    frames: Iterable[Array],
    tensors: Sequence[str],
    *,
    histograms: bool = True,
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[str, Observation]:
    """Extremes and histograms of float ``tensors`` over ``frames``, in one pass.

    Args:
        network: the graph.
        frames: prepared inputs of it.
        tensors: their names.
        histograms: False where extremes are enough; all counts are then zero.
        threads: of a run; None takes every core.
        progress: called with (what, done, of).
    """
    frames = frames if isinstance(frames, Sequence) else list(frames)
    taps = Taps(network, tensors, values=histograms, frame=frames[0], threads=threads)
    found = {name: Collector() for name in dict.fromkeys(tensors)}
    for number, look in enumerate(taps.look(frames)):
        for name, collector in found.items():
            collector.add(look.lows[name], look.highs[name], look.values.get(name))
        progress("ranges", number + 1, len(frames))
    return {name: collector.observation() for name, collector in found.items()}

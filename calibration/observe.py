"""What every tensor holds on the calibration frames: extremes and a histogram, streamed, never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.onnx_graph.network import Array, Network

from .executor import in_chunks, stream

BINS = 2048
VALUES_PER_FRAME = 2**16
"""Values of a tensor that enter its histogram per frame, evenly spaced; extremes are always exact."""

Progress = Callable[[str, int, int], None]
"""(what, done, of)."""


def silent(what: str, done: int, of: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True)
class Observation:
    """One tensor over all calibration frames.

    ``counts`` [BINS] is a histogram between ``low`` and ``high``; ``channel_high`` [C] the largest magnitude per
    channel (axis 1 of 4-D tensors, the last axis else), which shows a channel that spoils the scale for the rest.
    """

    low: float
    high: float
    counts: Array
    channel_high: Array

    @property
    def magnitude(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def centres(self) -> Array:
        """Middle of every bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[1:] + edges[:-1]) / 2


def observe(
    network: Network,
    frames: Iterable[Array],
    tensors: Sequence[str],
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[str, Observation]:
    """Extremes, then histograms between them, of float ``tensors``; ``frames`` is gone through several times."""
    found: dict[str, Observation] = {}
    total = len(tensors) * 2
    for chunk in in_chunks(network, tensors):
        low = dict.fromkeys(chunk, np.inf)
        high = dict.fromkeys(chunk, -np.inf)
        channels: dict[str, Array] = {}
        for values in stream(network, frames, chunk, threads=threads):
            for name, value in values.items():
                low[name] = min(low[name], float(value.min(initial=np.inf)))
                high[name] = max(high[name], float(value.max(initial=-np.inf)))
                largest = _per_channel(value)
                channels[name] = np.maximum(channels[name], largest) if name in channels else largest
        progress("ranges", len(found) * 2 + len(chunk), total)
        counts = {name: np.zeros(BINS, np.int64) for name in chunk}
        for values in stream(network, frames, chunk, threads=threads):
            for name, value in values.items():
                counts[name] += _histogram(value, low[name], high[name])
        for name in chunk:
            if not np.isfinite([low[name], high[name]]).all():
                low[name] = high[name] = 0.0
            found[name] = Observation(low[name], high[name], counts[name], channels.get(name, np.zeros(0)))
        progress("ranges", len(found) * 2, total)
    return found


def _per_channel(value: Array) -> Array:
    if value.ndim == 0 or value.size == 0:
        return np.zeros(0, np.float32)
    axis = 1 if value.ndim == 4 else value.ndim - 1
    largest: Array = np.abs(value).max(axis=tuple(i for i in range(value.ndim) if i != axis))
    return largest.astype(np.float32)


def _histogram(value: Array, low: float, high: float) -> Array:
    flat = value.reshape(-1)
    flat = flat[:: max(flat.size // VALUES_PER_FRAME, 1)].astype(np.float32)
    width = (high - low) / BINS
    if not np.isfinite(width) or width <= 0:
        return np.bincount([0], weights=[flat.size], minlength=BINS).astype(np.int64)
    index = np.clip(((flat - low) / width).astype(np.int64), 0, BINS - 1)
    return np.bincount(index, minlength=BINS)

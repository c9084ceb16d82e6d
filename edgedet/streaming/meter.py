"""What a stream has delivered, how fast, and how old it was."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgedet.pictures.frames import Frame

REMEMBERED = 1000
"""Results whose ages count."""
RATED_SECONDS = 5.0
"""The time over which frames per second are counted."""


@dataclass(frozen=True)
class StreamStats:
    """Figures of a stream so far.

    Attributes:
        frames: number of results delivered.
        fps: frames per second over the last five seconds; None before the second frame.
        age_p50: median age of the last 1,000 results when they were delivered, in milliseconds since their frame
            was captured; None before the first.
        age_p99: the same, 99th percentile.
        dropped: number of frames of live sources that gave way to newer ones.
        faults: number of faults of live sources, by kind.
        delivered: number of results by source.

    >>> StreamStats(frames=12, fps=8.1, age_p50=140.0, age_p99=171.0, dropped=33, faults={"stalled": 1}).line
    '8.1 frames/s, age 140 ms (p99 171), 33 dropped, faults: 1 stalled'
    """

    frames: int = 0
    fps: float | None = None
    age_p50: float | None = None
    age_p99: float | None = None
    dropped: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    delivered: Mapping[str, int] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The figures in words."""
        rate = "waiting" if self.fps is None else f"{self.fps:.1f} frames/s"
        age = "" if self.age_p50 is None else f", age {self.age_p50:.0f} ms (p99 {self.age_p99:.0f})"
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        return f"{rate}{age}, {self.dropped} dropped{', faults: ' + faults if faults else ''}"


class Meter:
    """Counts deliveries."""

    def __init__(self) -> None:
        self._ages: deque[float] = deque(maxlen=REMEMBERED)
        self._times: deque[float] = deque(maxlen=REMEMBERED)
        self._delivered: Counter[str] = Counter()

    def delivered(self, frame: Frame) -> None:
        """A result was handed over just now."""
        now = time.monotonic()
        self._ages.append(now - frame.captured)
        self._times.append(now)
        self._delivered[frame.source] += 1

    def stats(self, dropped: int, faults: Mapping[str, int]) -> StreamStats:
        """The figures so far."""
        ages, times = list(self._ages), list(self._times)
        now = time.monotonic()
        recent = [moment for moment in times if now - moment <= RATED_SECONDS]
        # Up to now, so that the rate of a source that stands still falls.
        fps = (len(recent) - 1) / (now - recent[0]) if len(recent) > 1 and now > recent[0] else None
        return StreamStats(
            frames=self._delivered.total(),
            fps=fps,
            age_p50=statistics.median(ages) * 1e3 if ages else None,
            age_p99=float(np.quantile(ages, 0.99)) * 1e3 if ages else None,
            dropped=dropped,
            faults=dict(faults),
            delivered=dict(self._delivered),
        )

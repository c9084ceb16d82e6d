"""How long the stages take, and when the next frame is worth taking."""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from numbers import Real

from edgedet.errors import UsageError

REMEMBERED = 9
"""Durations of which the median is the estimate: one slow call changes nothing."""


class Estimate:
    """How long something will take, in seconds, by the median of the last few times; 0 before the first."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=REMEMBERED)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """It took so long this time."""
        self._last.append(seconds)
        self.seconds = statistics.median(self._last)

    def __bool__(self) -> bool:
        return bool(self._last)


@dataclass(frozen=True)
class Limits:
    """What a stream may use.

    ``max_fps``: frames per second at most. ``duty``: share of the time, above 0 and up to 1, that the detector may
    run.

    Raises:
        UsageError: out of range.
    """

    max_fps: float | None = None
    duty: float = 1.0

    def __post_init__(self) -> None:
        rate, duty = self.max_fps, self.duty
        if rate is not None and not (_is_number(rate) and 0 < float(rate) < 1e6):
            raise UsageError(f"max_fps is {rate!r}, expected frames per second, above 0")
        if not (_is_number(duty) and 0 < float(duty) <= 1):
            raise UsageError(f"duty is {duty!r}, expected a share of the time, above 0 and up to 1")

    @property
    def are_none(self) -> bool:
        """Whether a stream may use all there is."""
        return self.max_fps is None and self.duty == 1


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class Rest:
    """The pauses that keep to the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._due: float | None = None

    def until(self, began: float, ended: float) -> float:
        """When the next run may begin, after one from ``began`` to ``ended``; seconds of ``time.monotonic()``."""
        limits = self.limits
        rested = ended + (ended - began) * (1 / limits.duty - 1)
        if limits.max_fps is None:
            return rested
        period = 1 / limits.max_fps
        # Kept on a grid: waking up a little late costs no frames. More than a frame is not made up for.
        due = began if self._due is None or began - self._due > period else self._due
        self._due = due + period
        return max(rested, self._due)


@dataclass
class Pace:
    """Durations of the stages, in seconds.

    ``capture``, ``prepare``, ``run``: of one frame. ``busy``: ``run`` and the rest after it. ``away``: from one
    result's delivery until the caller asks for the next.
    """

    capture: Estimate = field(default_factory=Estimate)
    prepare: Estimate = field(default_factory=Estimate)
    run: Estimate = field(default_factory=Estimate)
    busy: Estimate = field(default_factory=Estimate)
    away: Estimate = field(default_factory=Estimate)

    def begin_at(self, running_since: float | None, away_since: float | None) -> float:
        """When to take a frame of a live source, so that it is prepared just when the network is free for it, and
        its result is there just when the caller asks.

        ``running_since``: begin of the run in progress. ``away_since``: when the caller got its last result. None
        where the network is free, or the caller waits.
        """
        free = wanted = time.monotonic()
        if away_since is not None:
            wanted = away_since + self.away.seconds
        if running_since is not None:
            free = running_since + self.busy.seconds
            # The caller takes the result of that run first, and works on it.
            wanted = max(wanted, running_since + self.run.seconds) + self.away.seconds
        # Preparing early costs the frame some age, late costs the network some time; the latter is worse.
        early = self.prepare.seconds * 1.25
        return max(free - early, wanted - self.run.seconds - early)

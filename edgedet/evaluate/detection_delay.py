"""Objects that come into view: from which frame on they are there, and when they are found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluate.intervals import DRAWS, TAIL, Interval, drawn_again, percentile_interval

BLOCK = 100
"""Draws that are worked on together: memory is theirs times the number of visits."""


@dataclass(frozen=True)
class Delay:
    """Seconds from the first frame that shows an object to the first in which it is found.

    A quantile is the shortest time within which that share of *all* visits is found. Those that are never found
    take without end, or a detector that finds the easy ones alone would seem quick.

    Attributes:
        visits: number of times that an object came into view.
        found: of them, those that were found while it was there.
        p50: seconds; infinite where half or more are never found, NaN without a visit.
        p50_interval: 95 % interval, infinite above where the visits are too few to tell; NaN without a visit.
        p90: seconds, as ``p50``.
        p90_interval: as of ``p50``.
        method: how the intervals were had.

    >>> from edgedet.evaluate.detection_delay import delay_of
    >>> delay_of([[0.1, 0.3], [0.2, 0.0]]).p90
    0.3
    """

    visits: int
    found: int
    p50: float
    p50_interval: tuple[float, float]
    p90: float
    p90_interval: tuple[float, float]
    method: str


def runs(places: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each group of consecutive numbers.

    >>> runs([3, 4, 5, 9])
    [(3, 5), (9, 9)]
    """
    found: list[tuple[int, int]] = []
    for place in sorted(places):
        if found and place == found[-1][1] + 1:
            found[-1] = (found[-1][0], place)
        else:
            found.append((place, place))
    return found


def delays_of_objects(sightings: Sequence[tuple[int, int, Any, bool]], times: Sequence[float]) -> list[float]:
    """Seconds until each visitor of a clip was found; infinite for those that never were.

    Objects with a mark of their own are one visitor each, from their first frame to their last. Of others it is
    only known that there are some of a class: as long as frame after frame shows any, that is one visitor.

    Args:
        sightings: place of the frame in the clip, label, mark (None without), whether it was found there.
        times: of the clip's frames, in seconds.
    """
    visitors: dict[tuple[int, Any], dict[int, bool]] = {}
    for place, label, mark, seen in sightings:
        frames = visitors.setdefault((label, mark), {})
        frames[place] = frames.get(place, False) or seen
    delays = []
    for (_, mark), frames in visitors.items():
        stays = runs(frames) if mark is None else [(min(frames), max(frames))]
        for first, last in stays:
            seen_at = [place for place, seen in frames.items() if seen and first <= place <= last]
            delays.append(times[min(seen_at)] - times[first] if seen_at else math.inf)
    return delays


def delay_of(by_clip: Sequence[Sequence[float]]) -> Delay:
    """The figures of delays, clip by clip, infinite ones for what was never found.

    >>> delay_of([[0.5, float("inf")]]).p50, delay_of([[0.5, float("inf")]]).p90
    (0.5, inf)
    """
    clips = np.repeat(np.arange(len(by_clip)), [len(delays) for delays in by_clip])
    delays = np.array([delay for delays in by_clip for delay in delays], np.float64)
    if not len(delays):
        none = (math.nan, math.nan)
        return Delay(0, 0, math.nan, none, math.nan, none, "no visit")
    order = np.argsort(delays, kind="stable")
    delays, clips = delays[order], clips[order]
    ways, method = [_by_rank(delays)], "order statistics"
    if len(by_clip) > 1:
        ways.append(_drawn(delays, clips, len(by_clip)))
        method = f"the wider of order statistics and a bootstrap of {len(by_clip):,} clips"

    def spread(percent: int) -> Interval:
        lows, highs = zip(*(way(percent) for way in ways), strict=True)
        return min(lows), max(highs)

    return Delay(
        visits=len(delays),
        found=int(np.isfinite(delays).sum()),
        p50=float(delays[_place(len(delays), 50)]),
        p50_interval=spread(50),
        p90=float(delays[_place(len(delays), 90)]),
        p90_interval=spread(90),
        method=method,
    )


def _place(count: int, percent: int) -> int:
    """Place of the first, among so many in order, with which that share is reached."""
    return max(-(-percent * count // 100), 1) - 1


def _by_rank(delays: NDArray[np.float64]) -> Callable[[int], Interval]:
    """Exact intervals of quantiles of independent values, from binomial chances; ``delays`` in order."""

    def spread(percent: int) -> Interval:
        count, share = len(delays), percent / 100
        numbers = np.arange(count + 1)
        factorials = np.array([math.lgamma(number + 1) for number in range(count + 1)])
        logs = factorials[-1] - factorials - factorials[::-1]
        chances = np.exp(logs + numbers * math.log(share) + (count - numbers) * math.log1p(-share))
        at_most = np.cumsum(chances)
        low = int((at_most <= TAIL).sum())
        high = int((at_most < 1 - TAIL).sum()) + 1
        # Nothing is found before it is there, and more than so many visits are needed to bound it above.
        return (float(delays[low - 1]) if low else 0.0, float(delays[high - 1]) if high <= count else math.inf)

    return spread


def _drawn(delays: NDArray[np.float64], clips: NDArray[np.intp], count: int) -> Callable[[int], Interval]:
    again = drawn_again(count)

    def spread(percent: int) -> Interval:
        values = np.full(DRAWS, np.nan)
        for start in range(0, DRAWS, BLOCK):
            seen = again[start : start + BLOCK][:, clips].cumsum(axis=1)
            total = seen[:, -1]
            reached = (seen * 100 >= percent * total[:, None]).argmax(axis=1)
            values[start : start + BLOCK] = np.where(total > 0, delays[reached], np.nan)
        return percentile_interval(values)

    return spread

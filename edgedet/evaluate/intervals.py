"""How far a figure may be from the truth: 95 % intervals of rates and shares, also of frames of clips.

Counts of rare things that happen one by one have an exact interval (F. Garwood, "Fiducial Limits for the Poisson
Distribution", Biometrika 1936), shares of independent pictures Wilson's. Frames of one clip show the same scene,
and what is mistaken in one is mistaken in the next: there both are too narrow. How much clips differ is told by
drawing whole clips again with replacement (bootstrap of clusters; Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8). That in turn knows nothing of what was never seen, and makes 0 of 20 a certainty.
So the interval reaches as far as the wider of the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluate.working_point import wilson_interval

TAIL = 0.025
DRAWS = 2000
SEED = 0
WINDOW = 40
"""Standard deviations of a Poisson distribution beyond which nothing is left of it in double precision."""

Interval = tuple[float, float]
Counts = NDArray[np.integer[Any]] | list[int]
Exposures = NDArray[np.integer[Any]] | NDArray[np.floating[Any]] | list[float] | list[int]


@dataclass(frozen=True)
class Rate:
    """How often something happened, by images or by hours.

    Attributes:
        count: number of times.
        of: number of images, of hours or of things that could.
        value: ``count`` by ``of``; NaN where ``of`` is 0.
        interval: 95 % interval of ``value``.
        method: how the interval was had.

    >>> from edgedet.evaluate.intervals import rate
    >>> alarms = rate([0, 2], [0.25, 0.25], unit="clip")
    >>> alarms.count, alarms.value, [round(bound, 3) for bound in alarms.interval]
    (2, 4.0, [0.0, 14.449])
    """

    count: int
    of: float
    value: float
    interval: tuple[float, float]
    method: str


def rate(counts: Counts, exposures: Exposures, *, unit: str) -> Rate:
    """How often by exposure.

    Args:
        counts: int [N], of each unit.
        exposures: float [N], hours or images of each unit.
        unit: what a unit is called, ``clip`` or ``image``.

    >>> rate([0], [0.5], unit="clip").method
    'Garwood'
    """
    return _estimate(counts, exposures, unit, lambda count, of: _divided(garwood_interval(count), of), "Garwood")


def share(counts: Counts, totals: Exposures, *, unit: str) -> Rate:
    """How many of all; as :func:`rate`, but none can happen twice, so that of images by themselves Wilson's
    interval is the whole truth.

    >>> share([1, 0], [1, 1], unit="clip").value
    0.5
    """
    return _estimate(counts, totals, unit, lambda count, of: wilson_interval(count, round(of)), "Wilson")


def garwood_interval(count: int) -> Interval:
    """95 % interval of the mean of a Poisson distribution of which ``count`` was seen, exact to rounding.

    >>> [round(bound, 4) for bound in garwood_interval(0)], [round(bound, 4) for bound in garwood_interval(10)]
    ([0.0, 3.6889], [4.7954, 18.3904])
    """
    low = 0.0 if count == 0 else _mean_at(lambda mean: _at_most(count - 1, mean), 1 - TAIL, 0.0, float(count))
    reach = count + WINDOW * math.sqrt(count + 1)
    return low, _mean_at(lambda mean: _at_most(count, mean), TAIL, float(count), reach)


def drawn_again(units: int) -> NDArray[np.int64]:
    """How often each unit is in each draw with replacement, int64 [DRAWS, units]; the same on every call."""
    generator = np.random.default_rng(SEED)
    return generator.multinomial(units, np.full(units, 1 / units), size=DRAWS).astype(np.int64)


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of what draws gave, as values that were drawn; infinite ones are larger than all others."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return math.nan, math.nan
    low, high = (known[min(math.ceil(part * len(known)), len(known)) - 1] for part in (TAIL, 1 - TAIL))
    return float(low), float(high)


def _estimate(
    counts: Counts, exposures: Exposures, unit: str, exact: Callable[[int, float], Interval], name: str
) -> Rate:
    number, of = np.asarray(counts, np.int64), np.asarray(exposures, np.float64)
    kept = of > 0
    number, of = number[kept], of[kept]
    count, total = int(number.sum()), float(of.sum())
    if not total:
        return Rate(count, 0.0, math.nan, (math.nan, math.nan), f"no {unit}")
    low, high = exact(count, total)
    method = name
    if len(number) > 1 and not (name == "Wilson" and unit == "image"):
        again = percentile_interval(_ratios(number, of))
        low, high = min(low, again[0]), max(high, again[1])
        method = f"the wider of {name} and a bootstrap of {len(number):,} {unit}s"
    return Rate(count, total, count / total, (low, high), method)


def _ratios(counts: NDArray[np.int64], exposures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts by exposures of every draw. Units that are alike are drawn together, so that a million images cost
    no more than the few kinds there are of them."""
    pairs, times = np.unique(np.stack([counts.astype(np.float64), exposures], axis=1), axis=0, return_counts=True)
    units = int(times.sum())
    generator = np.random.default_rng(SEED)
    drawn = generator.multinomial(units, times / units, size=DRAWS)
    return np.asarray((drawn @ pairs[:, 0]) / (drawn @ pairs[:, 1]), np.float64)


def _divided(interval: Interval, by: float) -> Interval:
    return interval[0] / by, interval[1] / by


def _mean_at(chance: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """The mean between two at which a falling ``chance`` is as wanted."""
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return middle
        if chance(middle) > wanted:
            low = middle
        else:
            high = middle


def _at_most(count: int, mean: float) -> float:
    """Chance of ``count`` or less where ``mean`` are expected."""
    window = math.ceil(WINDOW * math.sqrt(count + 1))
    if mean < count - window / 2:
        return 1.0
    terms = np.arange(count, max(count - window, 0), -1, dtype=np.float64)
    first = count * math.log(mean) - mean - math.lgamma(count + 1)
    return math.fsum(np.exp(first + np.append(0.0, np.cumsum(np.log(terms / mean)))).tolist())

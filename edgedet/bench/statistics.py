"""Latency in numbers: percentiles without clipping, and intervals that know neighbouring samples are alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.missing_figures import explained

Floats = NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.99
"""A gate that cries wolf once in twenty runs is switched off after a week; once in a hundred is bearable."""

MIN_SAMPLES = {"p90": 10, "p95": 20, "p99": 100}
"""Minimum number of frames of a percentile; with fewer it would equal the maximum, and is None."""
MIN_SERIES = 5
"""Minimum number of values of an interval. One says nothing of its spread; of three, more than one resample in a
hundred is nothing but the lowest, so that the interval's ends would be the extremes themselves."""


@dataclass(frozen=True)
class Interval:
    """A figure and its confidence interval.

    Attributes:
        value: the figure.
        low: lower end.
        high: upper end.
        confidence: of the interval, in (0, 1).

    >>> Interval(1.0, 0.75, 1.25).relative_half_width
    0.25
    """

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE

    @property
    def relative_half_width(self) -> float:
        """Half the interval's width as a share of the value."""
        return (self.high - self.low) / 2 / self.value if self.value else float("inf")


def summarise(samples_ms: Sequence[float] | Floats) -> dict[str, Any]:
    """Percentiles (linear between ranks), mean, maximum and jitter of latencies in milliseconds.

    Every sample counts. What too few samples cannot tell is None, and ``absent`` says why. Jitter is the mean
    absolute difference of consecutive frames (the quantity RFC 3550 smooths), in milliseconds: what a display or a
    tracker downstream notices.

    >>> summarise([10.0, 12.0, 10.0])["p50"], summarise([10.0, 12.0, 10.0])["jitter"]
    (10.0, 2.0)
    """
    values = np.asarray(samples_ms, np.float64)
    summary: dict[str, Any] = {"frames": int(values.size)}
    for name, rank in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
        enough = values.size >= MIN_SAMPLES.get(name, 1)
        summary[name] = round(float(np.percentile(values, rank)), 4) if enough else None
    for name, reduce in (("mean", np.mean), ("min", np.min), ("max", np.max)):
        summary[name] = round(float(reduce(values)), 4) if values.size else None
    summary["jitter"] = round(float(np.abs(np.diff(values)).mean()), 4) if values.size > 1 else None
    few = {name: f"{count} frames are needed, {values.size} ran" for name, count in MIN_SAMPLES.items()}
    return explained(summary, few | {"jitter": f"2 frames are needed, {values.size} ran"}, otherwise="no frame ran")


def settled_interval(series: Sequence[float] | Floats) -> Interval | None:
    """:func:`bootstrap_centre`, or None where the series is too short for an interval."""
    return bootstrap_centre(series) if len(series) >= MIN_SERIES else None


def bootstrap_centre(
    series: Sequence[float] | Floats, *, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """The typical value of a positive time series and its interval; ``series`` in the order of measurement."""
    logs = np.log(np.asarray(series, np.float64))
    deviations = _deviations(logs, confidence, np.random.default_rng(seed), _centre)
    return _interval(float(_centre(logs[None])[0]), deviations, confidence)


def bootstrap_ratio(
    before: Sequence[float] | Floats,
    after: Sequence[float] | Floats,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """``after`` over ``before``, of two series that were measured apart, as far as the machine was undisturbed.

    What else a machine does only ever adds time, and seldom as much to both of two runs; so the quicker parts of
    each are compared (Chen and Revels 2016, arXiv:1608.04295, who take the minimum).
    """
    rng = np.random.default_rng(seed)
    first, second = np.log(np.asarray(before, np.float64)), np.log(np.asarray(after, np.float64))
    deviations = _deviations(second, confidence, rng, _calm) - _deviations(first, confidence, rng, _calm)
    value = float(_calm(second[None])[0] - _calm(first[None])[0])
    return _interval(value, deviations, confidence)


def bootstrap_relative_ratio(
    before: tuple[Sequence[float], Sequence[float]],
    after: tuple[Sequence[float], Sequence[float]],
    *,
    follows: tuple[float, float],
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[Interval, float]:
    """``after`` over ``before`` of two series measured apart, without what the machine's own change explains.

    Both come with a second series: how long fixed work took just before each value. ``follows``: by which least
    and greatest power the values follow that work; halfway is taken for the ratio, and the interval covers all.
    Returns the ratio, and that of the fixed work.
    """
    rng = np.random.default_rng(seed)
    first, second = np.log(np.asarray(before, np.float64)), np.log(np.asarray(after, np.float64))
    machine = float(_calm(second[1:])[0] - _calm(first[1:])[0])
    change = float(_calm(second[:1])[0] - _calm(first[:1])[0])
    middle = sum(follows) / 2

    def beyond_the_machine(rows: Floats) -> Floats:
        return _calm(rows[0]) - middle * _calm(rows[1])

    deviations = _deviations(second, confidence, rng, beyond_the_machine)
    deviations = deviations - _deviations(first, confidence, rng, beyond_the_machine)
    doubt = (follows[1] - follows[0]) / 2 * abs(machine)
    ratio = _interval(change - middle * machine, deviations, confidence, doubt=doubt)
    return ratio, float(np.exp(machine))


def bootstrap_paired_ratio(
    before: Sequence[float] | Floats,
    after: Sequence[float] | Floats,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """The typical ``after[i] / before[i]`` of two series measured in turns, round by round.

    What slows the machine for a while slows both members of a pair, and cancels.
    """
    return bootstrap_centre(np.asarray(after) / np.asarray(before), confidence=confidence, seed=seed)


def block_length(series: Floats) -> int:
    """How many neighbours are drawn together: more where they are alike (Carlstein's rule for AR(1), 1986)."""
    low, high = np.percentile(series, (5, 95))
    deviations = np.clip(series, low, high)
    deviations = deviations - deviations.mean()
    energy = float((deviations * deviations).sum())
    alike = float((deviations[1:] * deviations[:-1]).sum()) / energy if energy else 0.0
    alike = min(max(alike, 0.05), 0.9)
    length = round((2 * alike / (1 - alike * alike)) ** (2 / 3) * series.size ** (1 / 3))
    return max(1, min(series.size // 4, length))


def resample(count: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices ``int64 [RESAMPLES, count]`` of the circular block bootstrap (Politis and Romano 1992).

    Runs of ``length`` neighbours are drawn, not single values: a machine that is slow for a second is slow for
    many frames, and drawing those as if they were independent would make the interval too narrow.
    """
    starts = rng.integers(0, count, (RESAMPLES, -(-count // length)))
    runs = (starts[..., None] + np.arange(length)) % count
    indices: NDArray[np.int64] = runs.reshape(RESAMPLES, -1)[:, :count]
    return indices


def _deviations(
    series: Floats, confidence: float, rng: np.random.Generator, centre: Callable[[Floats], Floats]
) -> Floats:
    """Deviations of resampled centres from the centre, widened for short series; series [..., n] are drawn alike.

    The plain bootstrap is too sure of itself on few blocks: with 20 it errs in 5 % of cases where 1 % was
    promised, with alike neighbours in 15 %. Student's quantile in place of the normal one, at as many degrees of
    freedom as there are independent runs, mends that (simulated: 0.4 % and 5 %; from 40 blocks on, 0.4 % and 2 %).
    """
    count = series.shape[-1]
    length = max(block_length(row) for row in series.reshape(-1, count))
    drawn: Floats = centre(series[..., resample(count, length, rng)]) - centre(series[..., None, :])[0]
    runs = max(count / length, 3.0)
    return drawn * _student_over_normal(confidence, runs - 1) * np.sqrt(runs / (runs - 1))


def _centre(rows: Floats) -> Floats:
    """A robust centre of each row: nearly as deaf to wild values as the median, much less grainy on few of them.

    The median of pairwise means (Hodges and Lehmann 1963); values up to seven places apart stand in for all pairs.
    """
    shifts = range(min(8, rows.shape[1]))
    pairs = np.concatenate([(rows + np.roll(rows, -shift, axis=1)) / 2 for shift in shifts], axis=1)
    centres: Floats = np.median(pairs, axis=1)
    return centres


def _calm(rows: Floats) -> Floats:
    """What each row comes to in quiet moments: the mean of its values between the 10th and the 30th percentile."""
    count = rows.shape[1]
    first, last = round(0.1 * count), max(round(0.3 * count), round(0.1 * count) + 1)
    values: Floats = np.sort(rows, axis=1)[:, first:last].mean(axis=1)
    return values


def _student_over_normal(confidence: float, freedom: float) -> float:
    """Student's quantile over the normal one (Cornish-Fisher expansion, Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    student = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return student / z


def _interval(value: float, deviations: Floats, confidence: float, *, doubt: float = 0.0) -> Interval:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(deviations, (tail, 100 - tail))
    ends = value + low - doubt, value + high + doubt
    return Interval(float(np.exp(value)), float(np.exp(ends[0])), float(np.exp(ends[1])), confidence)

"""From ranked detections to a threshold: precision, recall, misses and false alarms at a score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluate.matching import State

Z_95 = 1.959963984540054
GRID = np.round(np.arange(0.0, 1.0, 0.01), 2)


@dataclass(frozen=True)
class Ranking:
    """What an evaluation knows of its detections and images, enough for every threshold.

    ``scores`` float32 [D] and ``states`` uint8 [D] (:class:`State`): all detections, matched at IoU 0.5.
    ``objects``: how many had to be found. ``top_with_objects`` and ``top_without``: float32, best score of any
    detection per image with and without objects, -1 where there was none.
    """

    scores: NDArray[np.float32]
    states: NDArray[np.uint8]
    objects: int
    top_with_objects: NDArray[np.float32]
    top_without: NDArray[np.float32]


@dataclass(frozen=True)
class WorkingPoint:
    """Figures of the detections that score at least ``threshold``, all classes together, IoU 0.5.

    Shares are in [0, 1], NaN where there are no such images or boxes; ranges are 95 % intervals (Wilson 1927).

    Attributes:
        threshold: minimum score.
        precision: share of the boxes that are right.
        recall: share of the objects that are found.
        f1: harmonic mean of both.
        true: number of boxes that are right.
        false: number of boxes that are not.
        missed_objects: number of objects that are not found.
        misses: share of the images with objects in which nothing at all is found.
        misses_range: interval of ``misses``.
        false_alarms: share of the object-free images with a box.
        false_alarms_range: interval of ``false_alarms``.
        images_with_objects: number of images with objects.
        images_without_objects: number of object-free images.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> at = evaluate(Detector("model.onnx"), read_dataset("photos/labels.json"), threshold=0.9).at
    >>> at.recall, at.missed_objects, at.misses
    (0.0, 12, 1.0)
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    true: int
    false: int
    missed_objects: int
    misses: float
    misses_range: tuple[float, float]
    false_alarms: float
    false_alarms_range: tuple[float, float]
    images_with_objects: int
    images_without_objects: int


def working_point(ranking: Ranking, threshold: float) -> WorkingPoint:
    """The figures at one threshold."""
    kept = ranking.states[_at_least(ranking.scores, threshold)]
    true = int((kept == State.TRUE).sum())
    false = int((kept == State.FALSE).sum())
    with_objects, without = len(ranking.top_with_objects), len(ranking.top_without)
    silent = int((~_at_least(ranking.top_with_objects, threshold)).sum())
    alarmed = int(_at_least(ranking.top_without, threshold).sum())
    return WorkingPoint(
        threshold=threshold,
        precision=_share(true, true + false),
        recall=_share(true, ranking.objects),
        f1=_share(2 * true, true + false + ranking.objects),
        true=true,
        false=false,
        missed_objects=ranking.objects - true,
        misses=_share(silent, with_objects),
        misses_range=wilson_interval(silent, with_objects),
        false_alarms=_share(alarmed, without),
        false_alarms_range=wilson_interval(alarmed, without),
        images_with_objects=with_objects,
        images_without_objects=without,
    )


def threshold_table(ranking: Ranking, *, lowest: float = 0.0) -> tuple[WorkingPoint, ...]:
    """Working points at 0.00, 0.01, … 0.99, as far as they are not below ``lowest``: of what a detector does not
    report, nothing is known."""
    return tuple(working_point(ranking, float(threshold)) for threshold in GRID if threshold >= lowest)


def best_f1_threshold(ranking: Ranking) -> float:
    """The score at which F1 is best; the lower one of equals, NaN where no detection is right: none is best."""
    judged = ranking.states != State.IGNORED
    scores = ranking.scores[judged]
    if not (ranking.states == State.TRUE).any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    true = (ranking.states[judged][order] == State.TRUE).cumsum()
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    f1 = 2 * true[last] / (last + 1 + ranking.objects)
    return _shown(scores[order][last[len(last) - 1 - int(f1[::-1].argmax())]], scores)


def false_alarm_threshold(top_without: NDArray[np.float32], rate: float, *, lowest: float = 0.0) -> float:
    """The lowest threshold, to four decimals, at which at most ``rate`` of these object-free images have a box.

    ``top_without``: float32, best score per image, -1 where there is none. ``lowest``: the score below which
    nothing was reported, and so nothing is known. NaN where there are no images, or where even a threshold of 1
    lets too many through.

    >>> false_alarm_threshold(np.array([0.9, 0.2, 0.6, 0.1], np.float32), 0.25)
    0.6001
    """
    if not len(top_without):
        return math.nan
    allowed = math.floor(rate * len(top_without) + 1e-9)
    if allowed >= len(top_without):
        return lowest
    first_forbidden = np.sort(top_without)[::-1][allowed]
    if first_forbidden < 0:
        return lowest
    step = math.floor(float(first_forbidden) * 1e4)
    # Scores are float32 and compared as such: 0.38 is no threshold above a score of 0.38.
    while np.float32(step / 1e4) <= first_forbidden:
        step += 1
    return step / 1e4 if step <= 10_000 else math.nan


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95 % score interval of a share (E. B. Wilson, JASA 1927); (NaN, NaN) for a total of 0.

    >>> tuple(round(bound, 3) for bound in wilson_interval(0, 20))
    (0.0, 0.161)
    """
    if total == 0:
        return math.nan, math.nan
    share, z2 = count / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    spread = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(centre - spread, 0.0), min(centre + spread, 1.0)


def _at_least(scores: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    # -1 stands for "no detection" and reaches no threshold.
    return (scores >= np.float32(threshold)) & (scores >= 0)


def _shown(score: np.float32, scores: NDArray[np.float32]) -> float:
    """``score`` with four decimals, where that lets the score itself pass and no lower one; else as it is."""
    rounded = math.floor(float(score) * 1e4) / 1e4
    passed = scores[scores >= np.float32(rounded)]
    return rounded if passed.min() == score else float(score)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan

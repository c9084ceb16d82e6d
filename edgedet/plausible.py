"""What the numbers of an output can be: probabilities or not, pixels or shares of the canvas, corners or centres.

A file that another tool wrote says little or nothing of that, and what it says may be wrong. One frame shows it:
the boxes of all anchors together cover the canvas, which only one reading explains.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.foreign_outputs import STRIDES, cell_count

Array = NDArray[Any]

Unit = Literal["pixels", "shares"]
BoxForm = Literal["centre", "corners", "top_left"]
"""x, y, width and height of a centre; two corners; a corner with width and height."""

ANCHORS_PER_PLACE = 3
"""In YOLOv3, YOLOv5 and YOLOv7."""
SCORE_SLACK = 1e-3
"""By which a probability may leave 0..1: float16 and sums of rounded numbers do."""
LARGEST_SHARE, LARGEST_SHARE_OF_FEW = 4.0, 1.5
"""Boxes as shares of the canvas reach beyond it, by more where an untrained network gives many of them; boxes in
pixels that all stay below are no boxes."""
LEAST_SPREAD = 0.5
"""Of the canvas's sides, between the first and the last of all anchors' boxes."""
FEWEST_ROWS = 16
"""Below this many boxes their order says nothing."""


def score_range(scores: Array) -> tuple[float, float] | None:
    """The lowest and the highest score where one of them cannot be a probability, else None.

    What is not finite says nothing here, unless there is nothing else.
    """
    if not scores.size:
        return None
    low, high = float(scores.min()), float(scores.max())
    if not np.isfinite([low, high]).all():
        numbers = scores[np.isfinite(scores)]
        if not numbers.size:
            return float("nan"), float("nan")
        low, high = float(numbers.min()), float(numbers.max())
    return None if low >= -SCORE_SLACK and high <= 1 + SCORE_SLACK else (low, high)


def unit_of(boxes: Array, *, chosen: bool = False) -> Unit | None:
    """In what ``boxes`` [R, 4] are measured, in whatever form; None where nothing decides.

    ``chosen``: boxes the network chose. Of those of all anchors, shares of the canvas cover it.
    """
    largest = float(np.abs(boxes).max(initial=0.0))
    few = len(boxes) < FEWEST_ROWS
    if largest > (LARGEST_SHARE_OF_FEW if few else LARGEST_SHARE):
        return "pixels"
    covering = few or float(np.ptp(boxes[:, :2], axis=0).min()) >= LEAST_SPREAD
    return "shares" if largest > 0 and (chosen or covering) else None


def form_of(
    boxes: Array, height: int, width: int, places: Array | None = None, *, nearer: float = 0.5
) -> BoxForm | None:
    """What the four numbers of ``boxes`` float [R, 4], in pixels of a ``height`` x ``width`` canvas, are.

    ``boxes`` are those of all anchors, not of a few: of these, some lie right of and below their own size.
    ``places`` float [R, 2]: x, y of the anchors, where they are known. ``nearer``: by this factor the middles that
    top left corners with sizes would have must lie nearer to them. None: nothing decides.
    """
    if len(boxes) < FEWEST_ROWS or not np.isfinite(boxes).all():
        return None
    ordered = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = np.array([width, height], np.float32)
    if ordered.mean() >= 0.98:
        inside = (np.abs(middles / size - 0.5) <= 0.6).all(axis=1).mean()
        spread = (np.ptp(middles, axis=0) / size).min()
        if inside >= 0.95 and spread >= 0.3 and _nearer(places, middles, boxes[:, :2]):
            return "corners"
        return None
    if ordered.mean() > 0.9:
        return None
    tops = boxes[:, :2] + boxes[:, 2:] / 2
    if places is not None and _distance(places, tops) < nearer * _distance(places, boxes[:, :2]):
        return "top_left"
    return "centre"


def follows(values: Array, places: Array) -> float:
    """How far positions [R, 2] follow the anchors' ``places`` [R, 2]: the lower correlation of x and y, 0 where
    they do not vary."""
    found = []
    for axis in range(2):
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(float(np.corrcoef(values[:, axis], places[:, axis])[0, 1]))
    return 0.0 if np.isnan(found).any() else min(found)


def _nearer(places: Array | None, first: Array, second: Array) -> bool:
    return places is None or _distance(places, first) <= _distance(places, second)


def _distance(places: Array, points: Array) -> float:
    middle = len(points) // 2
    return float(np.partition(np.abs(points - places).max(axis=1), middle)[middle])


def anchor_places(height: int, width: int, anchors: int) -> Array | None:
    """x, y of the middle of every anchor's cell [A, 2] in canvas pixels, where ``anchors`` is such a number."""
    for strides in (STRIDES, (*STRIDES, 64), STRIDES[1:], STRIDES[:2]):
        for repeated in (1, ANCHORS_PER_PLACE):
            if repeated * cell_count(height, width, strides) != anchors:
                continue
            cells = []
            for stride in strides:
                y, x = np.mgrid[: height // stride, : width // stride].astype(np.float32)
                cell = (np.stack([x, y], -1).reshape(-1, 2) + np.float32(0.5)) * np.float32(stride)
                cells.append(np.tile(cell, (repeated, 1)))
            return np.concatenate(cells)
    return None

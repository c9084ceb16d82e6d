"""What the numbers of an output can be: probabilities or not, pixels or shares of the canvas, corners or centres.

A file that another tool wrote says little or nothing of that, and what it says may be wrong. One frame shows it:
the boxes of all anchors together cover the canvas, which only one reading explains.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.grid_cells import STRIDES, cell_count

Array = NDArray[Any]

Unit = Literal["pixels", "shares"]
BoxForm = Literal["centre", "corners", "top_left"]
"""x, y, width and height of a centre; two corners; a corner with width and height."""

ANCHOR_STRIDES = (STRIDES, (*STRIDES, 64), STRIDES[1:], STRIDES[:2], (4, *STRIDES), (*STRIDES, 64, 128))
"""Strides of one-stage detectors' feature maps, the commonest first."""
ANCHORS_PER_PLACE = 3
"""Anchors per place of YOLOv3, YOLOv5 and YOLOv7."""
SCORE_SLACK = 1e-3
"""Distance by which a probability may leave 0..1: float16 and sums of rounded numbers do."""
LARGEST_SHARE, LARGEST_SHARE_OF_FEW = 4.0, 1.5
"""Boxes as shares of the canvas reach beyond it, by more where an untrained network gives many of them; boxes in
pixels that all stay below are no boxes."""
MIN_SPREAD = 0.5
"""Minimum distance, as a share of the canvas's side, between the first and the last anchor's box."""
MIN_ROWS = 16
"""Minimum number of boxes whose order is evidence."""
ALL = 0.98
"""Minimum share of corner boxes whose far corner lies right of and below the near one: an untrained network turns
some round."""
CLEARER = 0.5
"""By this factor one reading must explain the boxes better than any other before they show it."""
MAX_UNEVEN = 0.15
"""Share of the canvas by which the middles of all anchors' boxes may leave an even spread over it."""
SUM_SLACK = 0.01
"""Distance by which the scores of a softmax may miss a sum of 1: float16 and rounded numbers do."""
SAMPLE = 64
"""Rows that settle at once, for nearly every network, that its scores are no softmax."""


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
    """Unit of ``boxes`` [R, 4], in whatever form; None where nothing decides.

    ``chosen``: boxes the network chose, which in pixels are larger. Of those of all anchors, shares of the canvas
    cover it.
    """
    largest = float(np.abs(boxes).max(initial=0.0))
    few = len(boxes) < MIN_ROWS
    if largest > (LARGEST_SHARE_OF_FEW if few and not chosen else LARGEST_SHARE):
        return "pixels"
    covering = few or float(np.ptp(boxes[:, :2], axis=0).min()) >= MIN_SPREAD
    return "shares" if largest > 0 and (chosen or covering) else None


def sums_to_one(scores: Array) -> bool:
    """Whether the ``scores`` [R, C] of every box sum to 1: those of a softmax, with the background among them.

    Of a detector without one, no box could be nothing.
    """
    if scores.shape[1] < 2 or not len(scores):
        return False
    return all(
        bool((np.abs(part.sum(axis=1, dtype=np.float32) - 1) <= SUM_SLACK).all())
        for part in (scores[:SAMPLE], scores[SAMPLE:])
    )


def ordered_share(boxes: Array) -> float:
    """Share of ``boxes`` [R, 4] whose last two numbers are not below the first two; of zeros alone nothing counts.

    A corner box may have no extent: distances to its sides that pass a ReLU are often 0.
    """
    real = boxes.any(axis=1)
    ordered = real & (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
    return float(ordered.sum() / max(int(real.sum()), 1))


def are_corners(boxes: Array) -> bool:
    """Whether ``boxes`` [R, 4] show that they are corners, however they were chosen.

    Far corners lie where the near ones do; sizes do not grow to the right and to the bottom alike.
    """
    if len(boxes) < MIN_ROWS or ordered_share(boxes) <= 0.5:
        return False
    return follows(boxes[:, 2:], boxes[:, :2]) >= 0.5


def shown_form(boxes: Array, height: int, width: int, places: Array | None = None) -> BoxForm | None:
    """The form that ``boxes`` of all anchors show; None where another explains them about as well.

    Arguments as of :func:`form_of`, which gives the likeliest form, shown or not. The middles of all anchors' boxes
    lie around the anchors' places, or, where those are not known, all over the canvas. Another reading moves them
    by half their size, or more.
    """
    if len(boxes) < MIN_ROWS or not np.isfinite(boxes).all():
        return None
    ordered = ordered_share(boxes) >= ALL
    if ordered and are_corners(boxes):
        return "corners"
    near, far = boxes[:, :2], boxes[:, 2:]
    readings: dict[BoxForm, Array] = {"centre": near, "top_left": near + far / 2}
    if ordered:
        readings["corners"] = (near + far) / 2
    if places is not None:
        found = _clearest({form: _distance(places, middles) for form, middles in readings.items()})
        if found is not None:
            return found
    uneven = {form: _unevenness(middles, height, width) for form, middles in readings.items()}
    found = _clearest(uneven)
    return found if found is not None and uneven[found] <= MAX_UNEVEN else None


def _clearest(misses: dict[BoxForm, float]) -> BoxForm | None:
    best, second = sorted(misses, key=lambda form: misses[form])[:2]
    return best if misses[best] < CLEARER * misses[second] else None


def _unevenness(points: Array, height: int, width: int) -> float:
    """The largest difference between how ``points`` [R, 2] spread and an even spread, over both axes."""
    even = (np.arange(len(points), dtype=np.float32) + 0.5) / len(points)
    found = 0.0
    for axis, side in enumerate((width, height)):
        along = np.sort(points[:, axis]) / side
        outside = float(np.maximum((along < 0).mean(), (along > 1).mean()))
        found = max(found, outside, float(np.abs(np.clip(along, 0, 1) - even).max()))
    return found


def form_of(
    boxes: Array, height: int, width: int, places: Array | None = None, *, nearer: float = 0.5
) -> BoxForm | None:
    """What the four numbers of ``boxes`` float [R, 4], in pixels of a ``height`` x ``width`` canvas, are.

    ``boxes`` are those of all anchors, not of a few: of these, some lie right of and below their own size.
    ``places`` float [R, 2]: x, y of the anchors, where they are known. ``nearer``: by this factor the middles that
    top left corners with sizes would have must lie nearer to them. None: nothing decides.
    """
    if len(boxes) < MIN_ROWS or not np.isfinite(boxes).all():
        return None
    ordered = ordered_share(boxes)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = np.array([width, height], np.float32)
    if ordered >= ALL:
        inside = (np.abs(middles / size - 0.5) <= 0.6).all(axis=1).mean()
        spread = (np.ptp(middles, axis=0) / size).min()
        if inside >= 0.95 and spread >= 0.3 and _nearer(places, middles, boxes[:, :2]):
            return "corners"
        return None
    if ordered > 0.9:
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
    for strides in ANCHOR_STRIDES:
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

"""Whether what another tool's network gives is what its metadata says: seen in the numbers of a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.outputs.plausible_values import (
    MIN_ROWS,
    anchor_places,
    are_corners,
    form_of,
    score_range,
    shown_form,
    sums_to_one,
    unit_of,
)

Array = NDArray[Any]

RANKED = ("yolo_end2end", "rtdetr_rows")
"""Formats of NMS-free heads: few rows, which the host only filters."""

CONFIDENT = 0.25
"""Minimum score of a row of an NMS-free head that is evidence; lower rows are leftovers."""
TURNED = "most boxes have x2 < x1 or y2 < y1, expected corners (x1, y1, x2, y2)"


def fault_of_anchors(prediction: Array, card: ModelCard) -> str:
    """What is wrong with the boxes and scores of all anchors; empty where nothing is."""
    rows = prediction if card.output.format == "yolo_objectness" else prediction.T
    canvas = card.input
    places = anchor_places(canvas.height, canvas.width, len(rows))
    with np.errstate(over="ignore", invalid="ignore"):
        total = rows.sum()
    if not np.isfinite(total):  # copies only where a number may be at fault
        finite = np.isfinite(rows).all(axis=1)
        rows, places = rows[finite], None if places is None else places[finite]
    if not len(rows):
        return "not one box has finite numbers"
    boxes = rows[:, :4]
    beyond = score_range(rows[:, 4:])
    if beyond:
        return f"scores range from {beyond[0]:.3g} to {beyond[1]:.3g}, expected probabilities from 0 to 1"
    if unit_of(boxes) == "shares":
        return f"all boxes lie within {np.abs(boxes).max():.3g} pixels, so they are shares of the canvas"
    if sums_to_one(rows[:, 4:]):
        return f"the {len(rows[0]) - 4} scores of every box sum to 1, so the background is among them"
    size = (canvas.height, canvas.width)
    # One frame of an untrained network shows less than a trial run of several. What the numbers leave open, the
    # metadata states.
    form = form_of(boxes, *size, places, nearer=0.25) if places is not None else shown_form(boxes, *size)
    if form == "corners":
        return "boxes are corners (x1, y1, x2, y2), expected centres with widths and heights"
    if form == "top_left":
        return "boxes are top left corners with widths and heights, expected centres"
    return ""


def fault_of_rows(prediction: Array, card: ModelCard) -> tuple[str, bool]:
    """What is wrong with the rows of a head that has made its choice, and whether they told enough."""
    finite = prediction[np.isfinite(prediction).all(axis=1)]
    rows = finite[finite[:, :4].any(axis=1)]
    if not len(rows):
        return "", False
    boxes, scores, labels = rows[:, :4], rows[:, 4], rows[:, 5]
    shares = card.output.format == "rtdetr_rows"
    beyond = score_range(scores)
    if beyond:
        return f"scores range from {beyond[0]:.3g} to {beyond[1]:.3g}, expected 0 to 1", True
    if np.abs(labels - np.round(labels)).max() > 1e-3:
        return f"the last of the six numbers is {labels[0]:.3g}, expected a class number", True
    if shares != (unit_of(boxes, chosen=True) == "shares"):
        expected = ("pixels", "shares of the canvas")[shares]
        return f"boxes reach {np.abs(boxes).max():.4g}, expected {expected}", True
    corners = are_corners(boxes)
    if shares:
        return "boxes are corners (x1, y1, x2, y2), expected centres and sizes" if corners else "", True
    if most_are_turned(boxes, scores):
        return TURNED, True
    if card.provenance.get("nms") == "none" and len(rows) < len(finite):
        return "rows are padded with zeros, which a head without NMS does not do", True
    # Boxes of another form may be in order, too, but not many of them.
    return "", corners or int(np.count_nonzero(scores > CONFIDENT)) >= MIN_ROWS


def most_are_turned(boxes: Array, scores: Array) -> bool:
    """Whether most of the ``boxes`` [N, 4] that are sure have a far corner left of or above the near one."""
    sure = boxes[scores > CONFIDENT]
    return bool(len(sure)) and bool(((sure[:, 2] < sure[:, 0]) | (sure[:, 3] < sure[:, 1])).mean() > 0.5)

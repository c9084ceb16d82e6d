"""Average precision by the rules of the Pascal VOC challenge."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray


def voc_average_precision(
    scores: NDArray[np.floating], correct: NDArray[np.bool_], objects: int, *, rule: Literal["11-point", "area"]
) -> float:
    """Average precision of one class.

    ``scores`` [N] and ``correct`` [N]: the class's detections, ignored ones left out. ``objects``: how many there
    were to find; NaN for none. ``11-point`` (VOC 2007): mean over recall 0, 0.1, … 1 of the best precision at that
    recall or beyond. ``area`` (VOC 2010 on): area under the precision envelope.

    >>> voc_average_precision(np.array([0.9, 0.8]), np.array([True, False]), 2, rule="area")
    0.5
    """
    if objects == 0:
        return math.nan
    hits = correct[np.argsort(-scores, kind="stable")].cumsum()
    if not len(hits):
        return 0.0
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if rule == "11-point":
        # Recall ≥ k / 10 in whole numbers: 3 of 10 objects is a recall of 0.3, which floats deny.
        reached = [np.flatnonzero(hits * 10 >= k * objects) for k in range(11)]
        return float(sum(envelope[places[0]] for places in reached if len(places)) / 11)
    gained = np.diff(hits, prepend=0)
    return float((gained * envelope).sum() / objects)

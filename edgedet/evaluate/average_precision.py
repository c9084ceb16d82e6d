"""Average precision of a ranking, as scikit-learn defines it (``sklearn.metrics.average_precision_score``)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def ranked_average_precision(
    relevant: NDArray[np.bool_], scores: NDArray[np.floating], *, total: int | None = None
) -> float:
    """``Σ (R_n − R_{n−1}) P_n`` over the distinct scores, no interpolation; NaN where nothing is relevant.

    ``relevant`` bool [N], ``scores`` [N]; items of one score count as one step. ``total``: how many relevant items
    there are altogether, where some never made it into the ranking (objects nobody found); they earn nothing.
    (Scripts that append them with score 0 instead give them the precision of the whole list: a detector that finds
    3 of 69 objects in 16 boxes is then told 0.85.)

    >>> round(ranked_average_precision(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])), 4)
    0.8333
    """
    total = int(relevant.sum()) if total is None else total
    if total == 0:
        return math.nan
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = relevant[order].cumsum()[last_of_score]
    precision = hits / (last_of_score + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / total)

"""Which of two sets belong together: the pairs with the largest sum of gains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign(gains: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pair rows with columns, each at most once, so that the sum of their gains is as large as can be.

    It is the Hungarian method by shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987).

    Args:
        gains: float64 [R, C], 0 where a pair is not allowed, above 0 elsewhere.

    Returns:
        (row, column) of every pair that is allowed, by row.

    >>> assign(np.array([[0.9, 0.8], [0.8, 0.0]]))
    [(0, 1), (1, 0)]
    """
    allowed = gains > 0
    if (allowed.sum(0) <= 1).all() and (allowed.sum(1) <= 1).all():
        # Nothing to choose, as in most frames.
        return [(int(row), int(column)) for row, column in np.argwhere(allowed)]
    if gains.shape[0] > gains.shape[1]:
        return sorted((row, column) for column, row in assign(gains.T))
    return [(row, column) for row, column in enumerate(_columns(-gains)) if allowed[row, column]]


def _columns(costs: NDArray[np.float64]) -> list[int]:
    """The column of every row, for the least sum of costs; no more rows than columns."""
    rows, columns = costs.shape
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    # Row 0 and column 0 are none; the search for each row begins in column 0.
    owner = np.zeros(columns + 1, int)
    for row in range(1, rows + 1):
        owner[0] = row
        column = 0
        least = np.full(columns + 1, np.inf)
        before = np.zeros(columns + 1, int)
        done = np.zeros(columns + 1, bool)
        while owner[column]:
            done[column] = True
            reduced = costs[owner[column] - 1] - of_row[owner[column]] - of_column[1:]
            better = ~done[1:] & (reduced < least[1:])
            least[1:][better] = reduced[better]
            before[1:][better] = column
            following = int(np.where(done, np.inf, least)[1:].argmin()) + 1
            step = least[following]
            of_row[owner[done]] += step
            of_column[done] -= step
            least[~done] -= step
            column = following
        while column:
            owner[column] = owner[before[column]]
            column = int(before[column])
    found = [0] * rows
    for column in range(1, columns + 1):
        if owner[column]:
            found[owner[column] - 1] = column - 1
    return found

"""How much of boxes lies over one another."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def overlap(
    first: NDArray[np.floating], second: NDArray[np.floating], *, over: Literal["union", "first"]
) -> NDArray[np.float64]:
    """Shared area of every pair of boxes as a share of their union, or of the first box alone.

    Args:
        first: [N, 4], x1, y1, x2, y2.
        second: [M, 4], in the same frame.
        over: what the shared area is divided by.

    Returns:
        float64 [N, M], 0 where that has no area. At IoU 0.99 of small boxes float32's rounding is not far from
        the tolerances in use.

    >>> import numpy as np
    >>> overlap(np.array([[0, 0, 2, 2.0]]), np.array([[0, 0, 2, 4.0]]), over="union").tolist()
    [[0.5]]
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    # Side by side: an axis of two coordinates behind the pairs takes three times as long.
    shared = _common(a, b, 0)
    shared *= _common(a, b, 1)
    area_a = ((a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]))[:, None]
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    whole = area_a + area_b - shared if over == "union" else np.broadcast_to(area_a, shared.shape)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _common(a: NDArray[np.float64], b: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """How far every pair goes together along x (0) or y (1): float64 [N, M]."""
    common: NDArray[np.float64] = np.minimum(a[:, 2 + axis, None], b[:, 2 + axis])
    common -= np.maximum(a[:, axis, None], b[:, axis])
    return np.maximum(common, 0, out=common)


def pairwise_iou(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every box with every other, where a box without area is like itself.

    Args:
        first: [N, 4], x1, y1, x2, y2.
        second: [M, 4], in the same frame.

    Returns:
        float64 [N, M].
    """
    same = np.all(first[:, None] == second[None], axis=-1)
    return np.maximum(overlap(first, second, over="union"), same)

"""Greedy non-maximum suppression on the host, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
"""Candidates judged together: enough to amortise NumPy's calls, few enough for their IoU matrix to be quick."""

EARLIER = np.triu(np.ones((BLOCK, BLOCK), np.bool_), 1)
"""Pairs of a block's candidates of which the first scores higher."""


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.integer],
    *,
    iou_threshold: float,
    max_detections: int,
) -> NDArray[np.intp]:
    """Indices of the boxes that survive, best first, at most ``max_detections``.

    ``boxes``: float32 [N, 4] (x1, y1, x2, y2); ``scores``: float32 [N]; ``labels``: int [N]. A box is dropped
    when its IoU with a better kept box of its own class is above ``iou_threshold``. Equal scores are ordered by
    index, so the result is the same everywhere. Boxes or scores that are NaN or infinite are dropped.

    Candidates are taken in blocks in the order of their scores, and the work stops as soon as
    ``max_detections`` are kept, so 25,000 candidates cost milliseconds.
    """
    finite = np.isfinite(scores) & np.isfinite(boxes).all(axis=1)
    indices = np.flatnonzero(finite)
    order = indices[np.argsort(-scores[indices], kind="stable")]
    boxes, labels = boxes[order], labels[order]
    kept: NDArray[np.intp] = np.zeros(0, np.intp)
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        if len(kept):
            block = block[~_overlap(boxes, labels, kept, block, iou_threshold).any(axis=0)]
        within = _overlap(boxes, labels, block, block, iou_threshold)
        within &= EARLIER[: len(block), : len(block)]
        alive = np.ones(len(block), np.bool_)
        for row in np.flatnonzero(within.any(axis=1)):
            if alive[row]:
                alive &= ~within[row]
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= max_detections:
            break
    result: NDArray[np.intp] = order[kept[:max_detections]]
    return result


def _overlap(
    boxes: NDArray[np.float32],
    labels: NDArray[np.integer],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    threshold: float,
) -> NDArray[np.bool_]:
    """Pairs of ``first`` and ``second`` of one class that overlap by more than ``threshold``: bool [F, S].

    In float32 and in the order of operations of torchvision's kernel, so that ties at the threshold fall alike.
    """
    with np.errstate(all="ignore"):  # boxes without extent divide by zero, absurdly large ones overflow
        a, b = boxes[first], boxes[second]
        area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
        area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
        height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        iou = shared / (area_a[:, None] + area_b[None] - shared)
    result: NDArray[np.bool_] = (iou > np.float32(threshold)) & (labels[first][:, None] == labels[second][None])
    return result


def best_of_each_class(scores: NDArray[Any], labels: NDArray[Any], limit: int) -> NDArray[np.intp]:
    """Indices of the ``limit`` best of every class, in their old order; equal scores: the first ones.

    Classes that have no more than that are not looked at, and the others are parted, not sorted: an eighth of the
    time for 10,000 scores of three classes, half of it for 30,000 of 80.
    """
    kept = np.ones(len(scores), np.bool_)
    for label in np.flatnonzero(np.bincount(labels) > limit):
        rows = np.flatnonzero(labels == label)
        own = scores[rows]
        last = np.partition(own, len(own) - limit)[len(own) - limit]
        best = own > last
        best[np.flatnonzero(own == last)[: limit - int(best.sum())]] = True
        kept[rows] = best
    return np.flatnonzero(kept)

"""Crops of a frame for a second detector, and what it found in all of them as detections of the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgedet.box_overlap import overlap
from edgedet.detections import Detections

COVERED = 0.7
"""Share of a box cut off by its crop's edge that must lie in another crop's box of its class for both to be one."""
TOUCHES = 1.5
"""Pixels within which a box ends at an edge of its crop."""
ROWS_AT_ONCE = 128
"""Boxes that are held against those that stay, at a time."""


def crop_windows(boxes: NDArray[np.float32], height: int, width: int, margin: float) -> NDArray[np.int64]:
    """Windows around boxes, in whole pixels.

    Args:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels of the frame.
        height: of the frame.
        width: likewise.
        margin: how far a window reaches beyond its box on each side, as a share of the box's sides.

    Returns:
        int64 [N, 4], x1, y1, x2, y2, within the frame, each of one pixel at least.

    >>> crop_windows(np.array([[10, 10, 30, 50]], np.float32), 60, 100, 0.1).tolist()
    [[8, 6, 32, 54]]
    """
    corners = boxes.astype(np.float64)
    grow = margin * (corners[:, 2:] - corners[:, :2])
    low = np.floor(np.concatenate([corners[:, :2] - grow], axis=1))
    high = np.ceil(corners[:, 2:] + grow)
    limit = np.array([width, height])
    low = np.clip(low, 0, limit - 1)
    high = np.clip(np.maximum(high, low + 1), 1, limit)
    return np.concatenate([low, high], axis=1).astype(np.int64)


def join_crops(
    found: Sequence[Detections],
    windows: NDArray[np.int64],
    within: Detections,
    *,
    iou: float,
    max_detections: int,
) -> Detections:
    """What was found in every crop as detections of the frame, each object once.

    Where crops overlap an object is found in several. Boxes of one class and of different crops are one object
    where their IoU is above ``iou``, or where one ends at an edge of its crop that is none of the frame's, and lies
    in the other for :data:`COVERED` of its area: then it is the part that its crop shows. Whole boxes stay before
    parts, better before worse. Boxes of one crop are left to the detector that gave them.

    Args:
        found: of every crop, in its pixels.
        windows: int [N, 4], where the crops lie in the frame.
        within: float boxes [N, 4] and the rest of what the crops were made of, in pixels of the frame.
        iou: threshold of the second detector's NMS.
        max_detections: limit of the second detector, for the frame.

    Returns:
        Detections, best first. ``data`` has ``within`` (float32 [M, 4], the box in which each was found),
        ``within_score`` (float32 [M]) and ``within_label`` (int32 [M], of the first detector's classes). Masks
        and keypoints where the second detector gives them.
    """
    height, width = within.frame_size
    of = np.concatenate([np.full(len(each), number) for number, each in enumerate(found)]).astype(np.intp)
    boxes = np.concatenate([each.boxes for each in found]).astype(np.float32)
    scores = np.concatenate([each.scores for each in found]).astype(np.float32)
    labels = np.concatenate([each.labels for each in found]).astype(np.int32)
    places = windows[of]
    boxes = boxes + np.tile(places[:, :2], 2).astype(np.float32)
    cut = _cut(boxes, places, height, width)
    kept = _one_of_each(boxes, scores, labels, of, cut, iou)
    kept = kept[np.argsort(-scores[kept], kind="stable")][:max_detections]
    data = {name: np.concatenate([each.data[name] for each in found])[kept] for name in found[0].data}
    data |= {
        "within": within.boxes[of[kept]],
        "within_score": within.scores[of[kept]],
        "within_label": within.labels[of[kept]],
    }
    keypoints = None
    if found[0].keypoints is not None:
        points = [each.keypoints for each in found if each.keypoints is not None]
        shift = np.pad(places[:, None, :2], ((0, 0), (0, 0), (0, 1))).astype(np.float32)
        keypoints = (np.concatenate(points) + shift)[kept]
    outlines = [
        each.masks.moved(left, top, (height, width))
        for each, (left, top) in zip(found, windows[:, :2].tolist(), strict=True)
        if each.masks is not None
    ]
    masks = outlines[0].joined(outlines[1:])[kept] if outlines else None
    return Detections(
        boxes[kept],
        scores[kept],
        labels[kept],
        found[0].names,
        (height, width),
        data,
        masks,
        keypoints,
        found[0].skeleton,
    )


def _cut(boxes: NDArray[np.float32], places: NDArray[np.int64], height: int, width: int) -> NDArray[np.bool_]:
    """Which boxes end at an edge of their crop that is none of the frame's."""
    frame = np.array([0, 0, width, height])
    inner = places != frame
    return np.asarray((inner & (np.abs(boxes - places) < TOUCHES)).any(axis=1))


def _one_of_each(  # noqa: PLR0917
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int32],
    of: NDArray[np.intp],
    cut: NDArray[np.bool_],
    iou: float,
) -> NDArray[np.intp]:
    """Indices of boxes, of several for one object the best whole one."""
    order = np.lexsort((-scores, cut))
    stays = np.zeros(len(order), np.bool_)
    for label in set(labels.tolist()):
        stays[_one_of_each_of_a_class(order[labels[order] == label], boxes, of, cut, iou)] = True
    return order[stays[order]]


def _one_of_each_of_a_class(
    order: NDArray[np.intp], boxes: NDArray[np.float32], of: NDArray[np.intp], cut: NDArray[np.bool_], iou: float
) -> NDArray[np.intp]:
    """Likewise of the boxes of one class, the best whole one first."""
    kept = np.zeros(0, np.intp)
    # Block by block: pairs of all boxes would take gigabytes where a crowd is looked into.
    for start in range(0, len(order), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        others = np.concatenate([kept, rows])
        drops = overlap(boxes[rows], boxes[others], over="union") > iou
        ends = np.flatnonzero(cut[rows])
        drops[ends] |= overlap(boxes[rows[ends]], boxes[others], over="first") >= COVERED
        drops &= of[rows, None] != of[others]
        stays = np.array(~drops[:, : len(kept)].any(axis=1), np.bool_)
        within = drops[:, len(kept) :]
        for row in np.flatnonzero(stays):
            stays[row] = not within[row, :row][stays[:row]].any()
        kept = np.concatenate([kept, rows[stays]])
    return kept

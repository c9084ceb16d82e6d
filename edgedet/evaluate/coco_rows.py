"""What pycocotools is given of a picture and its detections, and what of it nothing has to be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections
from edgedet.masks.base import Masks

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = ("all", "small", "medium", "large")
AREA_RANGES = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
"""Least and largest area of each, square pixels (``Params.setDetParams`` of pycocotools)."""
MAX_DETECTIONS = (1, 10, 100)
ROW = np.dtype(
    [("label", "<i4"), ("rank", "<i4"), ("score", "<f4"), ("matched", "<u2", 4), ("ignored", "<u2", 4)], align=False
)
Overlap = Literal["boxes", "masks", "keypoints"]
OF_KEYPOINTS = (0, 2, 3)
"""Sizes that keypoints are judged by, as indices into :data:`AREAS`: nobody labels those of small persons."""
MAX_KEYPOINT_DETECTIONS = (20,)
BITS = 1 << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)


def truth_rows(record: ImageRecord, of: Overlap) -> list[dict[str, Any]]:
    """The objects of a picture as annotations, without their ids."""
    sides = record.boxes[:, 2:] - record.boxes[:, :2]
    outlines = ({"segmentation": each} for each in record.outlines or ())
    more: Iterable[dict[str, Any]] = outlines if of == "masks" else ({} for _ in record.labels)
    if of == "keypoints":
        assert record.keypoints is not None
        more = (
            {"keypoints": each.ravel().tolist(), "num_keypoints": int((each[:, 2] > 0).sum())}
            for each in record.keypoints
        )
    return [
        {"category_id": label, "bbox": [*box[:2], *side], "area": area, "iscrowd": int(crowd), **outline}
        for box, side, label, area, crowd, outline in zip(
            record.boxes.tolist(),
            sides.tolist(),
            record.labels.tolist(),
            record.area.tolist(),
            record.crowd.tolist(),
            more,
            strict=True,
        )
    ]


def found_rows(record: ImageRecord, detections: Detections, of: Overlap) -> list[dict[str, Any]]:
    """The detections that have an object of their class to match."""
    chosen = np.isin(detections.labels, record.labels)
    boxes = detections.boxes[chosen].astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    labels, scores = detections.labels[chosen], detections.scores[chosen]
    rows = [
        {"category_id": label, "bbox": [*box[:2], *side], "area": side[0] * side[1], "iscrowd": 0, "score": score}
        for box, side, label, score in zip(
            boxes.tolist(), sides.tolist(), labels.tolist(), scores.tolist(), strict=True
        )
    ]
    if of == "masks":
        assert detections.masks is not None
        masks = detections.masks[chosen]
        for row, outline, area in zip(rows, masks.to_coco_rle(), _areas(masks).tolist(), strict=True):
            row |= {"segmentation": outline, "area": area}
    elif of == "keypoints":
        assert detections.keypoints is not None
        points = detections.keypoints[chosen].astype(np.float64)
        for row, each, area in zip(rows, points, _areas_of_keypoints(points).tolist(), strict=True):
            row |= {"keypoints": each.ravel().tolist(), "area": area}
    return rows


def _areas_of_keypoints(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of the box around each object's points [N, J, 3], which pycocotools takes for that of a detection."""
    sides = points[..., :2].max(axis=1) - points[..., :2].min(axis=1)
    area: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return area


def _areas(masks: Masks) -> NDArray[np.float64]:
    """Pixels of every object, which pycocotools takes for the area of a detection with a mask."""
    return np.array([region.values.sum() for region in masks], np.float64)


def unmatched_rows(
    detections: Detections, chosen: NDArray[np.bool_], *, of: Overlap = "boxes"
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows of the ``chosen`` detections of one image, which has no object of their classes; label by label.

    pycocotools does for them what it does for any: the best 100 of a class count, in the order of their scores, and
    what has another size than the figure is about is ignored. It takes 50 µs for each class, size and image.
    """
    boxes = detections.boxes[chosen].astype(np.float64)
    labels, scores = detections.labels[chosen], detections.scores[chosen]
    order = np.lexsort((-scores, labels))
    if of == "masks":
        assert detections.masks is not None
        area = _areas(detections.masks[chosen])[order]
    elif of == "keypoints":
        assert detections.keypoints is not None
        area = _areas_of_keypoints(detections.keypoints[chosen].astype(np.float64))[order]
    else:
        sides = (boxes[:, 2:] - boxes[:, :2])[order]
        area = sides[:, 0] * sides[:, 1]
    rows = np.zeros(len(order), ROW)
    rows["label"], rows["score"] = labels[order], scores[order]
    for a, (smallest, largest) in enumerate(AREA_RANGES):
        rows["ignored"][:, a] = np.where((area < smallest) | (area > largest), BITS.sum(), 0)
    starts = np.flatnonzero(np.diff(rows["label"], prepend=-1))
    for part in np.split(rows, starts[1:]) if len(rows) else ():
        of_label = part[: MAX_DETECTIONS[-1]]
        of_label["rank"] = np.arange(len(of_label))
        yield int(of_label["label"][0]), of_label

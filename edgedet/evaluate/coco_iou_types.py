"""Whether masks or keypoints can be judged on a dataset, and why not."""

from __future__ import annotations

from typing import Literal

from edgedet.artifacts.keypoint_skeleton import COCO_PERSON
from edgedet.datasets.dataset import Dataset
from edgedet.detections import Detections
from edgedet.errors import DatasetError, UsageError


def require_parts(detections: Detections, dataset: Dataset, of: Literal["boxes", "masks", "keypoints"]) -> None:
    """Masks or keypoints must be on both sides.

    Raises:
        UsageError, DatasetError: they are not.
    """
    if of != "boxes" and getattr(detections, of) is None:
        raise UsageError(f"{of} are to be judged, and this detector gives none")
    why = ""
    if of == "masks":
        why = why_no_outlines(dataset)
    elif of == "keypoints":
        why = why_no_keypoints(dataset, detections)
    if why:
        raise DatasetError(f"{of} are to be judged, and {why}")


def why_no_outlines(dataset: Dataset) -> str:
    """Why masks cannot be judged on ``dataset``; empty where every object has an outline."""
    without = sum(
        len(record) if record.outlines is None else record.outlines.count(None) for record in dataset.images
    )
    if not without:
        return ""
    return f"{without:,} of {dataset.box_count:,} objects of {dataset.source} have no outline"


def why_no_keypoints(dataset: Dataset, detections: Detections) -> str:
    """Why the keypoints of ``detections`` cannot be judged on ``dataset``; empty where they can.

    The spread of human labels, which similarity is measured by, is known of COCO's 17 points alone.
    """
    ours, theirs = detections.skeleton, dataset.skeleton
    if theirs is None:
        return f"{dataset.source} has none"
    if ours is not None and ours.names != theirs.names:
        return (
            f"the detector gives {len(ours.names)} from {ours.names[0]!r} on, {dataset.source} has "
            f"{len(theirs.names)} from {theirs.names[0]!r} on"
        )
    if theirs.names != COCO_PERSON.names:
        return f"COCO's measure is of its own 17 points, {dataset.source} has others"
    return ""

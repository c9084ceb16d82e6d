"""Names of a detector's keypoints: stated, COCO's where there are as many, or numbers."""

from __future__ import annotations

from dataclasses import replace

from edgedet.artifacts.keypoint_skeleton import COCO_PERSON, Skeleton, named_skeleton
from edgedet.errors import CheckpointError

from .assumptions import Assumption
from .settings import TrainingSettings

VISIBLE_LOGIT = 0.0
"""Score from which a keypoint of a heatmap counts as seen: scores are logits there."""


def skeleton_of(count: int, stated: TrainingSettings) -> tuple[Skeleton, tuple[Assumption, ...]]:
    """What ``count`` keypoints of Keypoint R-CNN are, and what of it nothing said.

    Raises:
        CheckpointError: another number of names, or links to keypoints that are not there.
    """
    names, links = stated.keypoint_names, stated.keypoint_links
    if names is not None and len(names) != count:
        raise CheckpointError(
            f"keypoint_names has {len(names)} names, the detector {count} keypoints; expected one name for each"
        )
    assumed: tuple[Assumption, ...] = ()
    if names is None:
        names = named_skeleton(count).names
        is_coco = names == COCO_PERSON.names
        whose = "COCO's, from nose to right_ankle" if is_coco else f"numbered from 1 to {count}, and nothing joined"
        assumed = (Assumption("keypoints", whose, "keypoint_names"),)
    if links is None:
        links = COCO_PERSON.links if names == COCO_PERSON.names else ()
    try:
        return replace(COCO_PERSON, names=names, links=links, visible=VISIBLE_LOGIT), assumed
    except ValueError as error:
        raise CheckpointError(f"keypoint_links: {error}") from error

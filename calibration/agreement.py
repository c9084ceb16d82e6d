"""How far two sets of detections of one frame agree: a smooth figure, for want of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.detections import Detections
from edgedet.parity import pairwise_iou

LEAST_SCORE = 0.05
"""Detections below this do not count on either side."""


def agreement(reference: Sequence[Detections], candidate: Sequence[Detections]) -> float:
    """Agreement over all frames, in [0, 1]; 1 means equal boxes, labels and scores.

    Every detection is worth its score and earns the best IoU with a detection of its label on the other side, less
    their difference in score. Both directions count alike, so missing and inventing cost the same. Unlike mAP
    against the reference's boxes it has no steps, so a few frames rank layers.
    """
    earned = worth = 0.0
    for ours, theirs in zip(reference, candidate, strict=True):
        first, second = ours[ours.scores >= LEAST_SCORE], theirs[theirs.scores >= LEAST_SCORE]
        worth += float(first.scores.sum() + second.scores.sum())
        if len(first) and len(second):
            likeness = pairwise_iou(first.boxes, second.boxes)
            likeness -= np.abs(first.scores[:, None].astype(np.float64) - second.scores[None])
            likeness = np.where(first.labels[:, None] == second.labels[None], np.maximum(likeness, 0), 0)
            earned += float(first.scores @ likeness.max(axis=1) + likeness.max(axis=0) @ second.scores)
    return earned / worth if worth else 1.0

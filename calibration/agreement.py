"""How far two sets of detections of one frame agree: a smooth figure, for want of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.box_overlap import pairwise_iou
from edgedet.detections import Detections

MIN_SCORE = 0.05
"""Detections below this do not count on either side."""


def agreement(reference: Sequence[Detections], candidate: Sequence[Detections]) -> float | None:
    """Agreement over all frames, in [0, 1]; 1 means equal boxes, labels and scores, None that neither has any.

    Every detection is worth its score and earns the best IoU with a detection of its label on the other side, less
    their difference in score. Both directions count alike, so missing and inventing cost the same. Unlike mAP
    against the reference's boxes it has no steps, so a few frames rank layers.
    """
    earned = worth = 0.0
    for ours, theirs in zip(reference, candidate, strict=True):
        first, second = ours[ours.scores >= MIN_SCORE], theirs[theirs.scores >= MIN_SCORE]
        worth += float(first.scores.sum() + second.scores.sum())
        if len(first) and len(second):
            likeness = pairwise_iou(first.boxes, second.boxes)
            likeness -= np.abs(first.scores[:, None].astype(np.float64) - second.scores[None])
            likeness = np.where(first.labels[:, None] == second.labels[None], np.maximum(likeness, 0), 0)
            earned += float(first.scores @ likeness.max(axis=1) + likeness.max(axis=0) @ second.scores)
    return earned / worth if worth else None


CONFIDENT = 0.3
"""Score from which the float graph's detections are taken for the truth."""


def found_again(reference: Sequence[Detections], candidate: Sequence[Detections]) -> float | None:
    """Average precision at IoU 0.5 with the reference's confident detections as ground truth, mean over classes.

    What stands in for mAP where there are no labels. Boxes may move a little, as they do in mAP without costing
    anything; missing, inventing and ranking wrongly cost what they cost in mAP. Measured on detectors whose INT8
    graphs lose nothing of mAP it is 0.98 to 1.00, where stricter figures (:func:`agreement`) are 0.90 to 0.98. Like
    pycocotools' it is the area under the interpolated curve of precision over recall. None where nothing is
    confident: what there is not cannot be found again.
    """
    found = average_precisions(reference, candidate)
    return float(np.mean([precision for precision, _ in found.values()])) if found else None


def average_precisions(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    *,
    confident: float = CONFIDENT,
    unsure: float = 1.0,
) -> dict[int, tuple[float, int]]:
    """By label: average precision at IoU 0.5, and how many detections of the reference there were to find.

    Args:
        reference: detections of every frame; those that score ``confident`` or more are the truth.
        candidate: detections of every frame.
        confident: see there.
        unsure: what the reference found with a score from here to ``confident`` may be found or not; it counts as
            nothing, like the crowds of COCO.
    """
    labels = sorted({int(label) for one in reference for label in one.labels[one.scores >= confident]})
    return {label: _average_precision(reference, candidate, label, confident, unsure) for label in labels}


def _average_precision(
    reference: Sequence[Detections], candidate: Sequence[Detections], label: int, confident: float, unsure: float
) -> tuple[float, int]:
    scores: list[float] = []
    hits: list[bool] = []
    wanted = 0
    for ours, theirs in zip(reference, candidate, strict=True):
        of_label = ours[ours.labels == label]
        truth = of_label[of_label.scores >= confident]
        ignored = of_label[(of_label.scores < confident) & (of_label.scores >= unsure)]
        tried = theirs[theirs.labels == label]
        wanted += len(truth)
        overlap = pairwise_iou(tried.boxes, truth.boxes)
        excused = pairwise_iou(tried.boxes, ignored.boxes).max(axis=1, initial=0) >= 0.5
        for index in np.argsort(-tried.scores, kind="stable"):
            best = int(overlap[index].argmax()) if len(truth) else -1
            hit = best >= 0 and bool(overlap[index, best] >= 0.5)
            if not hit and excused[index]:
                continue
            scores.append(float(tried.scores[index]))
            hits.append(hit)
            if hit:
                overlap[:, best] = -1  # every truth is found once
    order = np.argsort(-np.array(scores), kind="stable")
    correct = np.cumsum(np.array(hits)[order]) if hits else np.zeros(0)
    recall = correct / wanted
    precision = correct / np.arange(1, len(correct) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum()), wanted

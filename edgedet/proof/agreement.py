"""How far two sets of detections of one frame agree: a smooth figure, for want of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgedet.box_overlap import pairwise_iou
from edgedet.detections import Detections

Likeness = Callable[[Detections, Detections], NDArray[np.float64]]
"""Likeness of every detection to every one of another graph in the same frame, [N, M] in [0, 1]."""


def boxes_alike(first: Detections, second: Detections) -> NDArray[np.float64]:
    """By the IoU of their boxes."""
    return pairwise_iou(first.boxes, second.boxes)


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
UNSURE = CONFIDENT / 2
"""Score from which a detection of the float graph may be found or not.

A box that scores 0.31 in place of 0.29 is no invention: on YOLOX-Nano with every layer in INT8 that is two thirds
of what this figure would lose (0.035 of 1, where mAP loses 0.002)."""
ENOUGH = 8
"""Detections of a class that count as a class of its own; classes with fewer are taken together."""


def found_again(
    reference: Sequence[Detections], candidate: Sequence[Detections], *, likeness: Likeness = boxes_alike
) -> float | None:
    """Average precision at IoU 0.5 with the reference's confident detections as ground truth, mean over classes.

    What stands in for mAP where there are no labels. Boxes may move a little, as they do in mAP without costing
    anything; missing, inventing and ranking wrongly cost what they cost in mAP. Measured on detectors whose INT8
    graphs lose nothing of mAP it is 0.99 to 1.00, where stricter figures (:func:`agreement`) are 0.85 to 0.98. Like
    pycocotools' it is the area under the interpolated curve of precision over recall. What the reference found with
    a score from ``UNSURE`` counts as nothing where the candidate is as unsure of it. None where nothing is
    confident: what there is not cannot be found again.

    Of 80 classes a few dozen pictures show most once or twice, and a box that is lost there would cost as much as a
    whole class. Classes with less than ``ENOUGH`` detections share one list, which counts as many classes as there
    are ``ENOUGH`` in it.

    ``likeness``: what takes the place of the boxes' IoU, of a detection of the candidate and one of the reference.
    """
    rise = CONFIDENT - UNSURE
    found = average_precisions(reference, candidate, unsure=UNSURE, rise=rise, likeness=likeness)
    if not found:
        return None
    rare = {label for label, (_, count) in found.items() if count < ENOUGH}
    figures = [(precision, 1.0) for label, (precision, _) in found.items() if label not in rare]
    if rare:
        # What is found of classes that are not there counts against them.
        common = set(found) - rare
        truth, others = _without(reference, common), _without(candidate, common)
        together = average_precision(truth, others, unsure=UNSURE, rise=rise, likeness=likeness)
        assert together is not None
        count = sum(count for label, (_, count) in found.items() if label in rare)
        figures.append((together, count / ENOUGH))
    values, weights = zip(*figures, strict=True)
    return float(np.average(values, weights=weights))


def _without(found: Sequence[Detections], labels: set[int]) -> list[Detections]:
    return [one[~np.isin(one.labels, list(labels))] for one in found]


def average_precisions(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    *,
    least: float = CONFIDENT,
    unsure: float = 1.0,
    rise: float = 1.0,
    likeness: Likeness = boxes_alike,
) -> dict[int, tuple[float, int]]:
    """By label: :func:`average_precision`, and how many detections of the reference there were to find."""
    counts = Counter(int(label) for one in reference for label in one.labels[one.scores >= least])
    found = {}
    for label, count in sorted(counts.items()):
        ours = [one[one.labels == label] for one in reference]
        theirs = [one[one.labels == label] for one in candidate]
        precision = average_precision(ours, theirs, least=least, unsure=unsure, rise=rise, likeness=likeness)
        assert precision is not None
        found[label] = precision, count
    return found


def average_precision(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    *,
    least: float = CONFIDENT,
    overlap: float = 0.5,
    unsure: float = 1.0,
    rise: float = 1.0,
    weak: bool = True,
    likeness: Likeness = boxes_alike,
) -> float | None:
    """Average precision of ``candidate`` with the reference's detections as ground truth, all classes in one list.

    Args:
        reference: of every frame.
        candidate: the same frames'.
        least: score from which the reference's are the truth.
        overlap: IoU from which a detection is one of them.
        unsure: what the reference found with a score from here to ``least`` may be found or not; it counts as
            nothing, like the crowds of COCO. Where scores have no gap, some always lie on the other side of it.
        rise: how far above the reference's score such a detection may score.
        weak: whether the candidate's detections below ``least`` count against it.
        likeness: what is held against ``overlap``, of the candidate's detections and the reference's.

    Returns:
        None where the reference has nothing to find.
    """
    scores: list[float] = []
    hits: list[bool] = []
    wanted = 0
    for ours, theirs in zip(reference, candidate, strict=True):
        alike = np.where(theirs.labels[:, None] == ours.labels[None], likeness(theirs, ours), 0.0)
        strong = ours.scores >= least
        wanted += int(strong.sum())
        risen = theirs.scores[:, None] - ours.scores[None] > rise
        open_to_both = np.where(risen, 0.0, alike)[:, ~strong & (ours.scores >= unsure)]
        excused = open_to_both.max(axis=1, initial=0.0) >= overlap
        alike = alike[:, strong]
        for index in np.argsort(-theirs.scores, kind="stable"):
            best = int(alike[index].argmax()) if alike.shape[1] else -1
            hit = best >= 0 and bool(alike[index, best] >= overlap)
            if hit:
                alike[:, best] = -1  # every truth is found once
            elif excused[index] or not (weak or theirs.scores[index] >= least):
                continue
            scores.append(float(theirs.scores[index]))
            hits.append(hit)
    if not wanted:
        return None
    order = np.argsort(-np.array(scores), kind="stable")
    correct = np.cumsum(np.array(hits)[order]) if hits else np.zeros(0)
    precision = correct / np.arange(1, len(correct) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall rises at every hit.
    return float(envelope[np.array(hits, bool)[order]].sum() / wanted)

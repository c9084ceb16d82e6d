"""Is one way to run a detector better than another, on the same pictures?

COCO's mAP of a handful of pictures moves by several points from one handful to the next. Two ways that saw the
same pictures move together, though: the pictures are drawn again with replacement, for both alike, and what counts
is in how many such draws one way stays ahead (paired bootstrap; Efron and Tibshirani 1993, chapter 16). So mAP must
be had for hundreds of draws in a second, which is why it is not computed by pycocotools here; it is the same to the
last bits, as the tests show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from edgedet.box_overlap import overlap
from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
BEST_OF_CLASS = 100
"""Maximum number of detections per image and class, as COCO counts them."""

FINDS = 0.1
ENOUGH_OBJECTS = 5

DRAWS = 200
CONFIDENCE = 0.99
"""Minimum share of the draws in which the better way is ahead."""
CLEARLY = 0.02
CLEARLY_SHARE = 0.10
"""Minimum gain in mAP, absolute and as a share of the lower one, of a way that is clearly better. Below that,
two ways are equally good whatever the draws say: a hundred pictures can prove a difference that means nothing."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Detections of some images against their objects, at COCO's ten IoU thresholds.

    By class (index): ``images`` int32 [D], number of the image; ``true`` and ``ignored`` bool [10, D]; best score
    first. ``objects``: int64 [images, classes], crowds left out.
    """

    images: tuple[NDArray[np.int32], ...]
    true: tuple[NDArray[np.bool_], ...]
    ignored: tuple[NDArray[np.bool_], ...]
    objects: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.objects)

    @lru_cache(maxsize=4)  # noqa: B019 (a few, and small: many others are compared with the same first images)
    def first(self, images: int) -> Matched:
        """The same for the first ``images`` images."""
        kept = [numbers < images for numbers in self.images]
        return Matched(
            tuple(numbers[keep] for numbers, keep in zip(self.images, kept, strict=True)),
            tuple(true[:, keep] for true, keep in zip(self.true, kept, strict=True)),
            tuple(ignored[:, keep] for ignored, keep in zip(self.ignored, kept, strict=True)),
            self.objects[:images],
        )

    @cached_property
    def drawn(self) -> NDArray[np.float64]:
        """mAP of every draw of :func:`draws`, float64 [:data:`DRAWS`]."""
        return mean_average_precision(self, draws(len(self)))

    @property
    def detections(self) -> int:
        """How many detections there are."""
        return sum(len(images) for images in self.images)


def match(records: Sequence[ImageRecord], found: Sequence[Detections], *, classes: int) -> Matched:
    """Match as COCO does; the labels of both sides are numbers below ``classes``."""
    images: list[list[NDArray[np.int32]]] = [[] for _ in range(classes)]
    scores: list[list[NDArray[np.float32]]] = [[] for _ in range(classes)]
    true: list[list[NDArray[np.bool_]]] = [[] for _ in range(classes)]
    ignored: list[list[NDArray[np.bool_]]] = [[] for _ in range(classes)]
    objects = np.zeros((len(records), classes), np.int64)
    for number, (record, detections) in enumerate(zip(records, found, strict=True)):
        np.add.at(objects[number], record.labels[~record.crowd], 1)
        for label in np.unique(detections.labels):
            mine = np.flatnonzero(detections.labels == label)
            mine = mine[np.argsort(-detections.scores[mine], kind="stable")][:BEST_OF_CLASS]
            matched, on_crowd = _match_class(record, detections.boxes[mine].astype(np.float64), int(label))
            images[label].append(np.full(len(mine), number, np.int32))
            scores[label].append(detections.scores[mine])
            true[label].append(matched)
            ignored[label].append(on_crowd)
    orders = [np.argsort(-np.concatenate(s), kind="stable") if s else np.zeros(0, np.int64) for s in scores]
    none = np.zeros((len(IOU_THRESHOLDS), 0), np.bool_)
    return Matched(
        tuple(np.concatenate([np.zeros(0, np.int32), *i])[o] for i, o in zip(images, orders, strict=True)),
        tuple(np.concatenate([none, *t], axis=1)[:, o] for t, o in zip(true, orders, strict=True)),
        tuple(np.concatenate([none, *t], axis=1)[:, o] for t, o in zip(ignored, orders, strict=True)),
        objects,
    )


def _match_class(
    record: ImageRecord, boxes: NDArray[np.float64], label: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Right boxes, and boxes on a crowd, bool [10, D] each; ``boxes`` [D, 4], best first."""
    objects = record.boxes[(record.labels == label) & ~record.crowd]
    crowds = record.boxes[(record.labels == label) & record.crowd]
    iou = overlap(boxes, objects, over="union")
    covered = overlap(boxes, crowds, over="first").max(axis=1, initial=0.0)
    free = np.ones((len(IOU_THRESHOLDS), len(objects)), np.bool_)
    matched = np.zeros((len(IOU_THRESHOLDS), len(boxes)), np.bool_)
    every = np.arange(len(IOU_THRESHOLDS))
    for row in np.flatnonzero(iou.max(axis=1, initial=0.0) >= IOU_THRESHOLDS[0]):
        open_to_it = np.where(free, iou[row], -1.0)
        # Of equals COCO takes the last.
        best = open_to_it.shape[1] - 1 - open_to_it[:, ::-1].argmax(axis=1)
        matched[:, row] = open_to_it[every, best] >= IOU_THRESHOLDS
        free[every[matched[:, row]], best[matched[:, row]]] = False
    return matched, ~matched & (covered >= IOU_THRESHOLDS[:, None])


def average_precisions(matched: Matched, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """COCO's AP (IoU 0.50:0.95) of every class where every image counts as often as its weight says; float64
    [draws, classes].

    ``weights``: whole numbers [draws, images]; None counts every image once. NaN for a class without objects.
    """
    weights = np.ones((1, len(matched)), np.int64) if weights is None else weights
    precisions = np.full((len(weights), matched.objects.shape[1]), np.nan)
    for label in range(matched.objects.shape[1]):
        objects = weights @ matched.objects[:, label]
        if objects.any():
            found = _average_precision(matched, label, weights, objects)
            precisions[:, label] = np.where(objects > 0, found, np.nan)
    return precisions


def mean_average_precision(matched: Matched, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """COCO's mAP, the mean over the classes that have objects, float64 [draws]; as :func:`average_precisions`."""
    precisions = average_precisions(matched, weights)
    known = ~np.isnan(precisions)
    total, classes = np.where(known, precisions, 0.0).sum(axis=1), known.sum(axis=1)
    return np.divide(total, classes, out=np.full(len(total), np.nan), where=classes > 0)


def _average_precision(
    matched: Matched, label: int, weights: NDArray[np.int64], objects: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Average precision of one class, [draws]. Precision rises at right detections alone, so only those count."""
    of_detection = weights[:, matched.images[label]]
    seen = of_detection.cumsum(axis=1)
    known = np.maximum(objects, 1)[:, None]
    total = np.zeros(len(weights))
    for true, ignored in zip(matched.true[label], matched.ignored[label], strict=True):
        right = np.flatnonzero(true)
        if not len(right):
            continue
        judged = (of_detection * ~ignored).cumsum(axis=1) if ignored.any() else seen
        hits = of_detection[:, right].cumsum(axis=1)
        precision = hits / (judged[:, right] + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total += _at_recalls(hits / known, envelope)
    return total / len(IOU_THRESHOLDS)


def _at_recalls(recall: NDArray[np.float64], envelope: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over :data:`RECALLS` of the best precision there or beyond, 0 where none is; [draws, R] to [draws]."""
    reached = RECALLS.searchsorted(recall, side="right")
    return (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)


def draws(images: int) -> NDArray[np.int64]:
    """How often each image is drawn, int64 [:data:`DRAWS`, images]; always the same."""
    chance = np.full(images, 1 / images)
    return np.random.default_rng(0).multinomial(images, chance, size=DRAWS).astype(np.int64)


def ahead(first: Matched, second: Matched) -> float:
    """Share of the draws of their images in which ``second`` has the higher mAP; of the same images."""
    before, after = first.drawn, second.drawn
    drawn = ~np.isnan(before)
    return float((after > before)[drawn].mean()) if drawn.any() else 0.0


def may_win(first: Matched, second: Matched) -> bool:
    """Whether more images could still show ``second`` to be clearly better than ``first``: in some draws of these
    it is ahead by that much."""
    before, after = first.drawn, second.drawn
    ahead_enough = (after >= before + CLEARLY) & (after >= before * (1 + CLEARLY_SHARE))
    return bool(ahead_enough[~np.isnan(before)].mean() > 1 - CONFIDENCE)


def loses_a_class(first: Matched, second: Matched) -> bool:
    """Whether a class that ``first`` finds (an AP of :data:`FINDS`) loses half its AP or more with ``second``.

    The mean can rise by that too: one class ruined, a better one mended. What makes a detector run as it was
    trained ruins none.
    """
    before, after = average_precisions(first)[0], average_precisions(second)[0]
    counted = first.objects.sum(axis=0) >= ENOUGH_OBJECTS
    return bool((counted & (before >= FINDS) & (after <= before / 2)).any())


def clearly_better(first: Matched, second: Matched) -> bool:
    """Whether ``second`` is clearly better than ``first``, on the same images: :data:`CLEARLY` mAP and
    :data:`CLEARLY_SHARE` more, and ahead in :data:`CONFIDENCE` of the draws."""
    before = float(mean_average_precision(first)[0])
    after = float(mean_average_precision(second)[0])
    if not (after >= before + CLEARLY and after >= before * (1 + CLEARLY_SHARE)):
        return False
    return ahead(first, second) >= CONFIDENCE

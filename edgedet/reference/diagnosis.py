"""Why boxes differ from those made elsewhere: each explanation is tried, and kept where it mends the agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgedet.detections import Detections
from edgedet.proof.parity import Tolerance, match_detections
from edgedet.reference.compare import Comparison, Detect, Limits, match_within, share_of, unlabelled

NOTICEABLE = 0.1
"""Minimum gain in the share of agreeing boxes for an explanation."""
SAME_PLACE = 0.5
"""Intersection over union from which two boxes are taken for one object's."""
PICTURES_TRIED = 8
"""Number of pictures on which the detector runs again with another order of channels."""
SAME_SCORE = 0.001
"""Maximum difference of scores from the same arithmetic on the same pixels."""
STEPS = 2
"""Rounds of fitting a shift and scale: the second has more boxes to fit to."""

Pairs = list[tuple[Detections, Detections, Limits]]

EVERYTHING = (
    "mean/std", "colour", "input size", "anchors", "default boxes", "box weights", "background", "class names",
    "RoIAlign", "BatchNorm's eps",
)  # fmt: skip
"""What an exporter may have assumed (``edgedet.export.training.assumptions``), what does most harm first."""
AFTER_THE_NETWORK = ("default boxes", "anchors", "box weights")
"""Those of them that are wrong where the scores are right."""


@dataclass(frozen=True)
class Finding:
    """``text``: what differs. ``share``: how much would agree but for that. ``suspects``: the assumptions that may
    be wrong then, by their names."""

    text: str
    share: float
    suspects: tuple[str, ...]


def diagnose(comparison: Comparison, detect: Detect | None = None) -> list[Finding]:
    """What explains the disagreement, the best explanation first; always one at least.

    ``detect``: the detector itself, to try its pictures with red and blue swapped.
    """
    pairs: Pairs = [(pair.wanted, pair.found, pair.limits) for pair in comparison.pairs]
    tried = [*_classes(comparison, pairs), *_scores(comparison, pairs), *_places(comparison, pairs)]
    tried += _readings(comparison, pairs)
    if detect is not None:
        tried += _colour(comparison, detect)
    best = [finding for finding in tried if finding.share >= comparison.share + NOTICEABLE]
    best.sort(key=lambda finding: -finding.share)
    if comparison.swapped and comparison.share >= comparison.required:
        renamed = ", ".join(f"{there!r} is {here!r} here" for there, here in comparison.swapped)
        best.insert(0, Finding(f"classes are swapped: {renamed}", comparison.share, ("class names", "background")))
    return best or [_unexplained(comparison, pairs)]


def _share(pairs: Pairs, comparison: Comparison, tolerance: Tolerance | None = None) -> float:
    return share_of(pairs, tolerance or comparison.tolerance)


def _classes(comparison: Comparison, pairs: Pairs) -> Iterator[Finding]:
    share = _share([(unlabelled(there), unlabelled(here), limits) for there, here, limits in pairs], comparison)
    if share < comparison.share + NOTICEABLE:
        return
    names = pairs[0][1].names
    table = np.zeros((len(names), len(names)), np.int64)
    for there, here, limits in pairs:
        same = match_detections(
            unlabelled(there), unlabelled(here), replace(comparison.tolerance, min_score=limits.least)
        ).pairs
        np.add.at(table, (there.labels[same[:, 0]], here.labels[same[:, 1]]), 1)
    moved = [(label, int(row.argmax())) for label, row in enumerate(table) if row.any() and row.argmax() != label]
    renamed = ", ".join(f"{names[there]!r} is {names[here]!r} here" for there, here in moved[:4])
    steps = {(here - there) % len(names) for there, here in moved}
    counted = ", as if classes were counted from another number" if len(moved) > 2 and len(steps) == 1 else ""
    yield Finding(
        f"the same boxes have other class names ({renamed or 'without a pattern'}{counted})",
        share,
        ("class names",) if share >= comparison.required else ("class names", "background"),
    )


def _scores(comparison: Comparison, pairs: Pairs) -> Iterator[Finding]:
    loose = replace(comparison.tolerance, max_score_difference=1.0)
    share = _share(pairs, comparison, loose)
    if share < comparison.share + NOTICEABLE:
        return
    differences = []
    for there, here, limits in pairs:
        same = match_detections(there, here, replace(loose, min_score=limits.least)).pairs
        differences.append(here.scores[same[:, 1]] - there.scores[same[:, 0]])
    gap = np.concatenate(differences)
    if np.median(np.abs(gap)) < SAME_SCORE:
        return  # what agrees more now was matched with a neighbour
    yield Finding(
        f"the same boxes with other scores ({_score_words(gap)})",
        share,
        ("mean/std", "colour", "background", "BatchNorm's eps", "RoIAlign"),
    )


def _places(comparison: Comparison, pairs: Pairs) -> Iterator[Finding]:
    """A constant shift and scale of the frame, or of each box about its own centre."""
    for fit, describe, suspects in (
        (_frame_fit, _frame_words, ("input size",)),
        (_side_fit, _side_words, ("box weights", "default boxes", "anchors")),
    ):
        moved, total = pairs, np.array([1.0, 1.0, 0.0, 0.0])
        for _ in range(STEPS):
            step = fit(moved)
            if step is None:
                break
            total = np.array([*(total[:2] * step[:2]), *(total[2:] * step[:2] + step[2:])])
            moved = [(_moved(there, total, fit is _side_fit), here, limits) for there, here, limits in pairs]
        share = _share(moved, comparison)
        if share >= comparison.share + NOTICEABLE:
            yield Finding(describe(total), share, suspects)


def _frame_fit(pairs: Pairs) -> NDArray[np.float64] | None:
    """(scale x, scale y, shift x, shift y) from there to here; medians, so that a few odd pairs do not matter."""
    there, here = _same_places(pairs)
    if len(there) < 3:
        return None
    fitted = []
    for axis in (0, 1):
        before, after = (_centres(boxes)[:, axis] for boxes in (there, here))
        sides = [boxes[:, axis + 2] - boxes[:, axis] for boxes in (there, here)]
        spread = np.ptp(before)
        # Across the frame is a longer lever than across a box.
        slope = (
            np.polyfit(before, after, 1)[0] if spread > 4 * np.median(sides[0]) else np.median(sides[1] / sides[0])
        )
        fitted.append((float(slope), float(np.median(after - slope * before))))
    return np.array([fitted[0][0], fitted[1][0], fitted[0][1], fitted[1][1]])


def _side_fit(pairs: Pairs) -> NDArray[np.float64] | None:
    """(times as wide, times as high, 0, 0) about each box's own centre."""
    there, here = _same_places(pairs)
    if len(there) < 3:
        return None
    ratio = np.median((here[:, 2:] - here[:, :2]) / (there[:, 2:] - there[:, :2]), axis=0)
    return np.array([ratio[0], ratio[1], 0.0, 0.0])


def _same_places(pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes there and here of what is probably one object: one class, overlapping, the closest first."""
    tolerance = Tolerance(min_iou=SAME_PLACE, max_score_difference=1.0)
    there_boxes, here_boxes = [np.zeros((0, 4))], [np.zeros((0, 4))]
    for there, here, limits in pairs:
        same = match_detections(there, here, replace(tolerance, min_score=limits.least)).pairs
        there_boxes.append(there.boxes[same[:, 0]].astype(np.float64))
        here_boxes.append(here.boxes[same[:, 1]].astype(np.float64))
    first, second = np.concatenate(there_boxes), np.concatenate(here_boxes)
    solid = (first[:, 2:] - first[:, :2] > 1).all(axis=1) & (second[:, 2:] - second[:, :2] > 1).all(axis=1)
    return first[solid], second[solid]


def _centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _moved(detections: Detections, by: NDArray[np.float64], about_centre: bool) -> Detections:
    boxes = detections.boxes.astype(np.float64)
    if about_centre:
        centres, half = _centres(boxes), (boxes[:, 2:] - boxes[:, :2]) / 2 * by[:2]
        boxes = np.concatenate([centres - half, centres + half], axis=1)
    else:
        boxes = boxes * np.tile(by[:2], 2) + np.tile(by[2:], 2)
    return _with_boxes(detections, boxes)


def _with_boxes(detections: Detections, boxes: NDArray[np.float64]) -> Detections:
    limit = np.array([detections.frame_size[1], detections.frame_size[0]] * 2)
    return replace(detections, boxes=np.clip(boxes, 0, limit).astype(np.float32))


def _frame_words(by: NDArray[np.float64]) -> str:
    parts = []
    if np.abs(by[:2] - 1).max() > 0.002:
        parts.append(f"scaled by {by[0]:.3g} across and {by[1]:.3g} down")
    if np.abs(by[2:]).max() > 0.5:
        parts.append(f"shifted by {by[2]:+.1f} pixels across and {by[3]:+.1f} down")
    return f"boxes are {' and '.join(parts) or 'a little off'} here, all alike"


def _side_words(by: NDArray[np.float64]) -> str:
    return f"boxes are {by[0]:.3g} times as wide and {by[1]:.3g} times as high here, about the same centres"


def _readings(comparison: Comparison, pairs: Pairs) -> Iterator[Finding]:
    """Other things the reference's four numbers could have been."""

    def corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)

    def centred(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        return boxes - np.tile(half, 2)

    def turned(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        return boxes[:, [1, 0, 3, 2]]

    readings: tuple[tuple[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]], ...] = (
        ("corners x1, y1, x2, y2", corners),
        ("the centre, width and height", centred),
        ("y, x, height, width", turned),
    )
    for what, read in readings:
        moved: Pairs = [
            (_with_boxes(there, read(there.boxes.astype(np.float64))), here, limits)
            for there, here, limits in pairs
        ]
        name = comparison.reference.path.name
        yield Finding(
            f"the numbers of {name} are {what}, not x, y, width, height: mend the file",
            _share(moved, comparison),
            (),
        )


def _colour(comparison: Comparison, detect: Detect) -> Iterator[Finding]:
    """Red and blue swapped, on some pictures."""
    from edgedet.pictures.sources import read_image

    swapped: Pairs = []
    for pair, picture in list(zip(comparison.pairs, comparison.reference.pictures, strict=True))[:PICTURES_TRIED]:
        image = np.ascontiguousarray(read_image(picture.path)[:, :, ::-1])
        swapped.append((pair.wanted, detect(image), pair.limits))
    yield Finding(
        "red and blue are swapped: with them exchanged the boxes agree", _share(swapped, comparison), ("colour",)
    )


def _unexplained(comparison: Comparison, pairs: Pairs) -> Finding:
    """How far apart what is at the same places lies."""
    tolerance = Tolerance(min_iou=SAME_PLACE, max_score_difference=1.0)
    differences, ious, there_count, missing, extra = [np.zeros(0)], [np.zeros(0)], 0, 0, 0
    for there, here, limits in pairs:
        agreement = match_within(there, here, tolerance, limits)
        same = agreement.pairs
        differences.append(here.scores[same[:, 1]].astype(np.float64) - there.scores[same[:, 0]])
        ious.append(agreement.ious)
        there_count += agreement.reference_count
        missing += len(agreement.missing)
        extra += len(agreement.extra)
    gap, overlap = np.concatenate(differences), np.concatenate(ious)
    counts = f"{missing} of {there_count} are missing here, {extra} are here alone"
    if not len(gap):
        return Finding(f"no box is at the place of another: {counts}", 0.0, EVERYTHING)
    same_scores = float(np.median(np.abs(gap))) < SAME_SCORE
    scores = "the very same scores" if same_scores else _score_words(gap)
    words = f"{len(gap)} boxes overlap ({scores}; IoU {np.median(overlap):.2f} on the median); {counts}"
    return Finding(words, comparison.share, AFTER_THE_NETWORK if same_scores else EVERYTHING)


def _score_words(gap: NDArray[np.floating]) -> str:
    median, spread = float(np.median(gap)), float(np.median(np.abs(gap)))
    if abs(median) >= max(0.5 * spread, 0.001):
        return f"scores {'lower' if median < 0 else 'higher'} by {abs(median):.2g} on the median"
    return f"scores off by {spread:.2g} on the median"


def summary(findings: Sequence[Finding], agreed: float) -> str:
    """The best explanations in one clause each; how much would agree but for them, where that is known."""
    said = []
    for finding in findings[:2]:
        gain = f"; {finding.share:.0%} would agree but for that" if finding.share > agreed else ""
        said.append(finding.text + gain)
    return ". Or ".join(said)

"""A detector against boxes made elsewhere: which agree, from which score on, and whether that is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedet.detections import Detections
from edgedet.proof.parity import (
    ELSEWHERE,
    ELSEWHERE_REQUIRED,
    FrameParity,
    ParityReport,
    Tolerance,
    match_detections,
    summarise,
)
from edgedet.reference.pictures import Reference

MIN_TELLING_BOXES = 5
"""Minimum number of boxes of a picture of which none matches, for it to be named: so many do not all differ by
rounding."""
ROUNDING = 0.0005
"""Maximum median difference of scores of the same arithmetic, however they were written down."""
ROUNDED_BOXES = 0.995
"""Minimum median IoU of boxes of the same arithmetic."""
MIN_LIMIT = 50
"""Minimum of a limit on the number of boxes per picture."""

Detect = Callable[[NDArray[np.uint8]], Detections]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """How to compare. ``tolerance.min_score`` is raised to where both show everything; ``floor`` and
    ``max_detections`` are the detector's own score threshold and limit."""

    tolerance: Tolerance = ELSEWHERE
    required: float = ELSEWHERE_REQUIRED
    floor: float = 0.0
    max_detections: int | None = None


class Limits(NamedTuple):
    """Scores of one picture. ``least``: compared from it on. ``there``, ``here``: from where on each shows
    everything it has; below, what the other has alone may by a rounding have been dropped."""

    least: float
    there: float
    here: float


@dataclass(frozen=True, eq=False)
class Pair:
    """One picture: what was found there and here, and what of it agrees."""

    name: str
    wanted: Detections
    found: Detections
    limits: Limits
    agreement: FrameParity


@dataclass(frozen=True, eq=False)
class Comparison:
    """What agrees.

    ``tolerance.min_score``: the score from which boxes are compared, ``floor_is`` whose it is. ``swapped``: classes
    (there, here) whose boxes are all of another class here. ``silent``: pictures on which not one of several boxes
    agrees. ``unseen``: the detector's classes of which the reference has no box, so that nothing is said of them.
    """

    reference: Reference
    pairs: tuple[Pair, ...]
    report: ParityReport
    tolerance: Tolerance
    required: float
    floor_is: str
    swapped: tuple[tuple[str, str], ...]
    silent: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def boxes(self) -> int:
        """How many boxes were compared: there or here, whichever are more."""
        return max(self.report.reference_count, self.report.candidate_count)

    @property
    def share(self) -> float:
        """The lower of: boxes from there that are here, and boxes from here that are there; 0 where none was."""
        return _share(self.report)

    @property
    def median_score_difference(self) -> float | None:
        """Median difference of the scores of boxes that agree; None where none does."""
        differences = np.concatenate([pair.agreement.score_differences for pair in self.pairs])
        return float(np.median(differences)) if len(differences) else None

    @property
    def median_iou(self) -> float | None:
        """Median IoU of boxes that agree; None where none does."""
        overlaps = np.concatenate([pair.agreement.ious for pair in self.pairs])
        return float(np.median(overlaps)) if len(overlaps) else None

    @property
    def agrees(self) -> bool:
        """Whether the share is reached, and no class or picture disagrees altogether."""
        return self.share >= self.required and not self.swapped and not self.silent

    @property
    def least_words(self) -> str:
        """From which score on boxes were compared, and why."""
        return f"{self.tolerance.min_score:.3g} on, {self.floor_is}"

    def facts(self) -> dict[str, Any]:
        """For a model card: JSON-ready."""
        return {
            "file": self.reference.path.name,
            "sha256": self.reference.sha256,
            "frames": self.report.frames,
            "detections": self.report.reference_count,
            "found": self.report.found,
            "confirmed": self.report.confirmed,
            "worst_iou": self.report.worst_iou,
            "worst_score_difference": self.report.worst_score_difference,
            "median_score_difference": self.median_score_difference,
            "median_iou": self.median_iou,
            "least_score": self.tolerance.min_score,
            "min_iou": self.tolerance.min_iou,
            "max_score_difference": self.tolerance.max_score_difference,
            "required": self.required,
            "classes_unseen": list(self.unseen),
        }

    def text(self) -> str:
        """The outcome and its limits, in a sentence."""
        pictures = f"{self.report.frames} picture{'s' if self.report.frames != 1 else ''}"
        if not self.boxes:
            return (
                f"nothing was compared: neither {self.reference.path.name} nor the detector has a box scoring "
                f"{self.tolerance.min_score:g} or more on {pictures} ({self.floor_is})"
            )
        return (
            f"{self.share:.1%} of {self.boxes} boxes as in {self.reference.path.name} on {pictures} (IoU "
            f"{self.tolerance.min_iou:g}, score {self.tolerance.max_score_difference:g}; from score "
            f"{self.least_words})"
        )

    @property
    def close(self) -> bool:
        """Whether what agrees differs by rounding only."""
        median, overlap = self.median_score_difference, self.median_iou
        return median is not None and median <= ROUNDING and overlap is not None and overlap >= ROUNDED_BOXES

    def caveats(self) -> list[str]:
        """What the comparison says nothing about, or not for certain."""
        said = list(self.reference.notes)
        median = self.median_score_difference
        if median is not None and median > ROUNDING:
            said.append(
                f"scores differ by {median:.2g} on the median, inside the tolerance but more than rounding: "
                "TF32, another decoder of JPEG, or something small that is assumed wrongly"
            )
        overlap = self.median_iou
        if overlap is not None and overlap < ROUNDED_BOXES:
            said.append(
                f"boxes overlap by IoU {overlap:.3f} on the median, inside the tolerance but less than rounded "
                "ones would: box weights or anchors may be assumed a little wrongly"
            )
        if self.unseen:
            more = f" and {len(self.unseen) - 5} more" if len(self.unseen) > 5 else ""
            said.append(f"nothing is said of {', '.join(self.unseen[:5])}{more}: no box of that class was compared")
        return said


def compare(
    reference: Reference,
    names: Sequence[str],
    detect: Detect,
    request: Request = Request(),
    *,
    progress: Progress = lambda what, done, of: None,
) -> Comparison:
    """Run ``detect`` (uint8 [H, W, 3] BGR to detections labelled by ``names``) over every picture and match.

    Raises:
        ReferenceBoxesError: boxes of classes that are none of ``names``. SourceError: a picture cannot be decoded.
    """
    from edgedet.pictures.sources import read_image

    wanted = reference.detections(names)
    found = []
    for index, picture in enumerate(reference.pictures):
        progress("comparing", index, len(wanted))
        found.append(detect(read_image(picture.path)))
    tolerance, floor_is = _usable(reference, request)
    limits = _limits(wanted, found, reference, request, tolerance)
    pairs = [
        Pair(picture.name, there, here, limit, match_within(there, here, tolerance, limit))
        for picture, there, here, limit in zip(reference.pictures, wanted, found, limits, strict=True)
    ]
    report = summarise([pair.agreement for pair in pairs])
    seen = {int(label) for pair in pairs for label in pair.wanted.labels[pair.wanted.scores >= pair.limits.least]}
    return Comparison(
        reference,
        tuple(pairs),
        report,
        tolerance,
        request.required,
        floor_is,
        tuple(_swapped(pairs, names, tolerance)),
        tuple(_silent(pairs)),
        tuple(name for label, name in enumerate(names) if label not in seen),
    )


def share_of(pairs: Sequence[tuple[Detections, Detections, Limits]], tolerance: Tolerance) -> float:
    """The share that agrees of (there, here, their limits); 0 where there is nothing."""
    return _share(summarise([match_within(there, here, tolerance, limits) for there, here, limits in pairs]))


def _share(report: ParityReport) -> float:
    if not report.reference_count and not report.candidate_count:
        return 0.0
    return min((share for share in (report.found, report.confirmed) if share is not None), default=0.0)


def _usable(reference: Reference, request: Request) -> tuple[Tolerance, str]:
    """The tolerance with the score from which both show everything, and whose that is."""
    tolerance = request.tolerance
    # Of what it shows at its own threshold, the detector may by a rounding have dropped a part.
    ours = request.floor + tolerance.max_score_difference if request.floor > 0 else 0.0
    theirs = reference.least_score
    least = max(tolerance.min_score, ours, theirs)
    if least == tolerance.min_score:
        return tolerance, "the least looked at"
    if least == theirs:
        stated = "its own threshold" if reference.threshold is not None else "the lowest"
        return replace(tolerance, min_score=least), f"{stated} in {reference.path.name}"
    return replace(tolerance, min_score=least), "just above the detector's own threshold"


def _limits(
    wanted: Sequence[Detections],
    found: Sequence[Detections],
    reference: Reference,
    request: Request,
    tolerance: Tolerance,
) -> list[Limits]:
    """Each picture's; where the number of boxes is limited, a full list shows nothing below its last."""
    slack = tolerance.max_score_difference
    most = max(len(there) for there in wanted)
    limited = most >= MIN_LIMIT and sum(len(there) == most for there in wanted) > 1

    def shown(boxes: Detections, floor: float, full: int | None) -> float:
        is_full = full is not None and len(boxes) >= full
        return float(boxes.scores.min()) if is_full else floor + slack

    return [
        Limits(
            tolerance.min_score,
            shown(there, reference.least_score, most if limited else request.max_detections),
            shown(here, request.floor, request.max_detections),
        )
        for there, here in zip(wanted, found, strict=True)
    ]


def match_within(there: Detections, here: Detections, tolerance: Tolerance, limits: Limits) -> FrameParity:
    """As :func:`edgedet.proof.parity.match_detections`, without what is alone and below the other's limit."""
    agreement = match_detections(there, here, replace(tolerance, min_score=limits.least))
    missing = agreement.missing[there.scores[agreement.missing] >= limits.here]
    extra = agreement.extra[here.scores[agreement.extra] >= limits.there]
    return replace(
        agreement,
        missing=missing,
        extra=extra,
        reference_count=agreement.reference_count - len(agreement.missing) + len(missing),
        candidate_count=agreement.candidate_count - len(agreement.extra) + len(extra),
    )


def _swapped(pairs: Sequence[Pair], names: Sequence[str], tolerance: Tolerance) -> list[tuple[str, str]]:
    """Classes none of whose boxes agree while the same box with the same score is there under another name.

    A share over all boxes would not show it of a rare class.
    """
    agreeing: set[int] = set()
    renamed: dict[int, list[int]] = {}
    for pair in pairs:
        agreeing.update(int(label) for label in pair.wanted.labels[pair.agreement.pairs[:, 0]])
        alone_there = np.setdiff1d(np.arange(len(pair.wanted)), pair.agreement.pairs[:, 0])
        alone_here = np.setdiff1d(np.arange(len(pair.found)), pair.agreement.pairs[:, 1])
        lost, extra = pair.wanted[alone_there], pair.found[alone_here]
        unnamed = match_detections(
            unlabelled(lost), unlabelled(extra), replace(tolerance, min_score=pair.limits.least)
        )
        for i, j in unnamed.pairs:
            renamed.setdefault(int(lost.labels[i]), []).append(int(extra.labels[j]))
    taken = {
        label: max(set(others), key=others.count) for label, others in renamed.items() if label not in agreeing
    }
    # One box may be a near tie of two classes; two are none, nor are two classes that changed places.
    return [
        (names[label], names[other])
        for label, other in sorted(taken.items())
        if renamed[label].count(other) > 1 or other in taken
    ]


def _silent(pairs: Sequence[Pair]) -> list[str]:
    return [
        pair.name
        for pair in pairs
        if not len(pair.agreement.pairs)
        and max(pair.agreement.reference_count, pair.agreement.candidate_count) >= MIN_TELLING_BOXES
    ]


def unlabelled(detections: Detections) -> Detections:
    """The same boxes, all of one class."""
    return Detections(
        detections.boxes, detections.scores, np.zeros(len(detections), np.int32), ("any",), detections.frame_size
    )

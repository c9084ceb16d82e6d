"""Do two detectors give the same boxes? A one-to-one matching of their detections, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import Precision
from edgedet.box_overlap import pairwise_iou
from edgedet.proof.keypoint_similarity import keypoint_similarities

if TYPE_CHECKING:
    from edgedet.detections import Detections
    from edgedet.masks.base import Masks, Region


@dataclass(frozen=True)
class Tolerance:
    """When two detections count as the same one: equal label, and all limits kept.

    ``min_score``: detections scoring less are not looked for. A partner may score lower than that by up to
    ``max_score_difference``, so that nothing depends on which side of the threshold a score was rounded to.
    ``min_mask_iou`` counts where both detectors give masks: of their pixels, a border's width of which is rounding.
    ``min_keypoint_similarity`` counts where both give keypoints: of 17 one may be elsewhere, since two places of a
    heatmap can be equally high.
    """

    min_score: float = 0.05
    min_iou: float = 0.99
    max_score_difference: float = 0.001
    min_mask_iou: float = 0.95
    min_keypoint_similarity: float = 0.9


ELSEWHERE = Tolerance(min_score=0.05, min_iou=0.97, max_score_difference=0.01)
"""For boxes another program wrote down: with three to five decimals, of pictures that another library decoded, on
GPUs that use TF32."""
ELSEWHERE_REQUIRED = 0.97
"""Share of them that must agree. Overlapping boxes of nearly equal scores may survive NMS in the other order."""

_FLOAT_ENGINE = (Tolerance(min_score=0.3, min_iou=0.9, max_score_difference=0.05), 0.97)
ON_AN_ENGINE: dict[Precision, tuple[Tolerance, float]] = {
    "fp32": _FLOAT_ENGINE,
    "fp16": _FLOAT_ENGINE,
    # As the golden input's: ONNX Runtime computes the Q/DQ graph in float, and rounds elsewhere.
    "int8": (Tolerance(0.3, min_iou=0.85, max_score_difference=0.1, min_keypoint_similarity=0.7), 0.9),
}
"""How alike an engine and its graph of a precision are on real pictures, and for which share of the detections."""


@dataclass(frozen=True)
class FrameParity:
    """What two detectors agree on in one frame.

    ``pairs``: int [M, 2], index into the reference and into the candidate; every index at most once.
    ``ious``, ``score_differences`` (absolute), ``corner_differences`` (largest of the four coordinates, frame
    pixels): float [M], one per pair. ``missing``: reference detections without a partner; ``extra``:
    candidate detections without one. ``reference_count`` and ``candidate_count`` are those at or above the
    tolerance's ``min_score``; pairs in which neither reaches it are left out. ``mask_ious`` and
    ``keypoint_similarities``: float [M], None unless both give masks or keypoints.
    """

    reference_count: int
    candidate_count: int
    pairs: NDArray[np.intp]
    missing: NDArray[np.intp]
    extra: NDArray[np.intp]
    ious: NDArray[np.float64]
    score_differences: NDArray[np.float64]
    corner_differences: NDArray[np.float64]
    mask_ious: NDArray[np.float64] | None = None
    keypoint_similarities: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class ParityReport:
    """Agreement over many frames.

    ``found``: share of the reference's detections that the candidate has too. ``confirmed``: share of the
    candidate's detections that the reference has too (less than 1 means some are extra). The worst differences
    are those among matched pairs. Each is None where there is nothing that it could be a figure of; ``absent`` says
    why. ``worst_mask_iou`` and ``worst_keypoint_similarity`` are None, too, where not both give such.
    """

    frames: int
    reference_count: int
    candidate_count: int
    matched: int
    missing: int
    extra: int
    worst_iou: float | None
    worst_score_difference: float | None
    worst_corner_difference: float | None
    worst_mask_iou: float | None = None
    worst_keypoint_similarity: float | None = None

    @property
    def found(self) -> float | None:
        """Share of the reference's detections with a partner; None where the reference has none."""
        return 1 - self.missing / self.reference_count if self.reference_count else None

    @property
    def confirmed(self) -> float | None:
        """Share of the candidate's detections with a partner; None where the candidate has none."""
        return 1 - self.extra / self.candidate_count if self.candidate_count else None

    @property
    def share(self) -> float | None:
        """The lower of the two shares; None where neither found anything."""
        return min((share for share in (self.found, self.confirmed) if share is not None), default=None)

    @property
    def absent(self) -> dict[str, str]:
        """Why figures are None, by their names."""
        reasons = {}
        if self.found is None:
            reasons["found"] = f"the reference finds nothing on {self.frames} frames"
        if self.confirmed is None:
            reasons["confirmed"] = f"the candidate finds nothing on {self.frames} frames"
        if not self.matched:
            worst = ("worst_iou", "worst_score_difference", "worst_corner_difference")
            reasons |= dict.fromkeys(worst, "no detection has a partner")
        return reasons

    def agrees(self, required: float) -> bool:
        """Whether the shares reach ``required``; two that find nothing have not been shown to agree."""
        return self.share is not None and self.share >= required


def match_detections(
    reference: Detections, candidate: Detections, tolerance: Tolerance = Tolerance()
) -> FrameParity:
    """Match one frame's detections one to one, as many as the tolerance allows.

    A maximum bipartite matching (augmenting paths, Kuhn 1955): taking the best pair first, as evaluation
    protocols do, may leave a detection alone whose partner was given to a neighbour that had another.
    """
    iou = pairwise_iou(reference.boxes, candidate.boxes)
    difference = np.abs(reference.scores.astype(np.float64)[:, None] - candidate.scores.astype(np.float64)[None])
    # Scores are float32: one ulp of slack, or 0.051 and 0.050 would differ by more than 0.001.
    limit = tolerance.max_score_difference + float(np.finfo(np.float32).eps)
    allowed = (reference.labels[:, None] == candidate.labels[None]) & (iou >= tolerance.min_iou)
    allowed &= difference <= limit
    outlines = None
    if reference.masks is not None and candidate.masks is not None:
        outlines = mask_ious(reference.masks, candidate.masks, allowed)
        allowed &= outlines >= tolerance.min_mask_iou
    alike = None
    if reference.keypoints is not None and candidate.keypoints is not None:
        alike = keypoint_similarities(reference, candidate, allowed)
        allowed &= alike >= tolerance.min_keypoint_similarity
    wanted = reference.scores >= tolerance.min_score
    wanted_of_candidate = candidate.scores >= tolerance.min_score
    # Partners of their own standing first, then the closest, so that the reported differences are honest.
    closeness = iou - difference
    partners = [
        [int(j) for j in np.lexsort((-closeness[i], ~wanted_of_candidate)) if row[j]]
        for i, row in enumerate(allowed)
    ]
    # Augmenting never frees a matched detection, so those at or above min_score go first.
    order = sorted(range(len(partners)), key=lambda i: (not wanted[i], -float(reference.scores[i])))
    pairs = np.array(sorted(_maximum_matching(partners, order)), np.intp).reshape(-1, 2)
    pairs = pairs[wanted[pairs[:, 0]] | wanted_of_candidate[pairs[:, 1]]]
    rows, columns = pairs[:, 0], pairs[:, 1]
    corners = np.abs(reference.boxes[rows].astype(np.float64) - candidate.boxes[columns])
    return FrameParity(
        reference_count=int(wanted.sum()),
        candidate_count=int(wanted_of_candidate.sum()),
        pairs=pairs,
        missing=np.setdiff1d(np.flatnonzero(wanted), rows),
        extra=np.setdiff1d(np.flatnonzero(wanted_of_candidate), columns),
        ious=iou[rows, columns],
        score_differences=difference[rows, columns],
        corner_differences=corners.max(axis=1, initial=0.0),
        mask_ious=None if outlines is None else outlines[rows, columns],
        keypoint_similarities=None if alike is None else alike[rows, columns],
    )


def mask_ious(first: Masks, second: Masks, asked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union of the pixels of masks [N] and [M], where ``asked`` [N, M]; 0 elsewhere.

    Two masks without a pixel are alike.
    """
    ious = np.zeros(asked.shape)
    regions = {index: second.region(index) for index in np.flatnonzero(asked.any(axis=0)).tolist()}
    for row in np.flatnonzero(asked.any(axis=1)).tolist():
        one = first.region(row)
        for column in np.flatnonzero(asked[row]).tolist():
            other = regions[column]
            shared = _shared_pixels(one, other)
            union = int(one.values.sum()) + int(other.values.sum()) - shared
            ious[row, column] = shared / union if union else 1.0
    return ious


def _shared_pixels(one: Region, other: Region) -> int:
    left, top = max(one.left, other.left), max(one.top, other.top)
    parts = []
    for region in (one, other):
        height, width = region.values.shape
        parts.append((region.left + width, region.top + height))
    right, bottom = (min(edges) for edges in zip(*parts, strict=True))
    if right <= left or bottom <= top:
        return 0
    cut = [
        region.values[top - region.top : bottom - region.top, left - region.left : right - region.left]
        for region in (one, other)
    ]
    return int((cut[0] & cut[1]).sum())


def _maximum_matching(partners: Sequence[Sequence[int]], order: Iterable[int]) -> list[tuple[int, int]]:
    """Most pairs (i, j) with j in ``partners[i]``, each i and j at most once; earlier in ``order`` is kept."""
    owner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in partners[i]:
            if j in tried:
                continue
            tried.add(j)
            if j not in owner or place(owner[j], tried):
                owner[j] = i
                return True
        return False

    for i in order:
        place(i, set())
    return [(i, j) for j, i in owner.items()]


def summarise(frames: Sequence[FrameParity]) -> ParityReport:
    """Add up what was found frame by frame."""
    return ParityReport(
        frames=len(frames),
        reference_count=sum(frame.reference_count for frame in frames),
        candidate_count=sum(frame.candidate_count for frame in frames),
        matched=sum(len(frame.pairs) for frame in frames),
        missing=sum(len(frame.missing) for frame in frames),
        extra=sum(len(frame.extra) for frame in frames),
        worst_iou=min((float(frame.ious.min()) for frame in frames if len(frame.ious)), default=None),
        worst_score_difference=max(
            (float(frame.score_differences.max()) for frame in frames if len(frame.pairs)), default=None
        ),
        worst_corner_difference=max(
            (float(frame.corner_differences.max()) for frame in frames if len(frame.pairs)), default=None
        ),
        worst_mask_iou=_least(frame.mask_ious for frame in frames),
        worst_keypoint_similarity=_least(frame.keypoint_similarities for frame in frames),
    )


def _least(figures: Iterable[NDArray[np.float64] | None]) -> float | None:
    """The smallest figure of all frames; None where there is none."""
    return min((float(each.min()) for each in figures if each is not None and len(each)), default=None)

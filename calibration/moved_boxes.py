"""How far the boxes of one graph lie off those of another, and what that costs.

A box that moves a little is still found at an IoU of 0.5, so average precision there does not see it. mAP, which
asks for up to 0.95, does, and so does who measures with the boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.box_overlap import pairwise_iou
from edgedet.detections import Detections
from edgedet.onnx_graph.network import Array
from edgedet.proof.keypoint_similarity import keypoint_similarities
from edgedet.proof.parity import mask_ious

OVERLAP = 0.5
"""IoU from which two boxes are the same one, moved."""
OWN_ERROR = 0.25
"""IoU that boxes of detectors lack to labelled ones anyway: moves that are small beside it cost little.

With it :func:`cost_of_moves` says what YOLOX-Nano, SSDLite and Faster R-CNN lose of mAP by boxes that are shifted,
shrunk and shaken (docs/int8.md)."""
USUAL_DRIFT = 0.02
"""IoU that all boxes lose together in INT8 graphs that lose no mAP: Faster R-CNN's become one per cent smaller."""
USUAL_SCATTER = 0.07
"""IoU that boxes lose on average in such graphs: those that the float graph itself is unsure of, most of all."""


@dataclass(frozen=True)
class Moves:
    """Moves of boxes that are found again.

    Attributes:
        lost: IoU that each lacks to where it was: float64 [n].
        offsets: of centre x and y, width and height, as shares of the box's own width and height: float64 [n, 4].
        scores: by which each score is higher: float64 [n].
    """

    lost: Array
    offsets: Array
    scores: Array

    @property
    def scatter(self) -> float:
        """IoU lost on average."""
        return float(self.lost.mean()) if len(self.lost) else 0.0

    @property
    def drift(self) -> float:
        """IoU that a box loses by the mean of all moves: what is left where moves cancel each other out."""
        if not len(self.offsets):
            return 0.0
        x, y, wider, higher = self.offsets.mean(axis=0)
        unit = np.array([[-0.5, -0.5, 0.5, 0.5]])
        half = np.array([1 + wider, 1 + higher]) / 2
        centre = np.array([x, y])
        moved = np.concatenate([centre - half, centre + half])[None]
        return 1 - float(pairwise_iou(unit, moved)[0, 0])


def moves(reference: Sequence[Detections], candidate: Sequence[Detections], *, least: float) -> Moves:
    """How boxes of the reference that score ``least`` lie in the candidate, each in the best of its label.

    Args:
        reference: of every frame.
        candidate: the same frames'.
        least: score from which boxes of the reference are looked for. What is not found again with an IoU of
            :data:`OVERLAP` has not moved, but is lost, and counted elsewhere.
    """
    lost: list[float] = []
    scores: list[float] = []
    offsets: list[Array] = []
    for ours, theirs in zip(reference, candidate, strict=True):
        strong = ours[ours.scores >= least]
        if not len(strong) or not len(theirs):
            continue
        alike = pairwise_iou(strong.boxes, theirs.boxes)
        alike = np.where(strong.labels[:, None] == theirs.labels[None], alike, 0.0)
        for row, box, score in zip(alike, strong.boxes.astype(np.float64), strong.scores, strict=True):
            best = int(row.argmax())
            if row[best] >= OVERLAP:
                lost.append(1 - float(row[best]))
                scores.append(float(theirs.scores[best]) - float(score))
                offsets.append(_offset(box, theirs.boxes[best].astype(np.float64)))
    return Moves(np.array(lost), np.array(offsets).reshape(-1, 4), np.array(scores))


def _offset(box: Array, other: Array) -> Array:
    size, grown = box[2:] - box[:2], other[2:] - other[:2]
    centre = (other[2:] + other[:2] - box[2:] - box[:2]) / 2
    return np.concatenate([centre, grown - size]) / np.tile(np.maximum(size, 1e-9), 2)


def cost_of_drift(found: Moves) -> float:
    """mAP at IoU 0.50 to 0.95 that it costs that all boxes have moved alike.

    >>> smaller = Moves(np.full(9, 0.1), np.zeros((9, 4)) + [0.0, 0.0, -0.05, -0.05], np.zeros(9))
    >>> round(cost_of_drift(smaller), 3)
    0.035
    """
    return cost_of_lost_overlap(float(np.sqrt(max(found.drift**2 - USUAL_DRIFT**2, 0.0))), own=OWN_ERROR)


def cost_of_outlines(reference: Sequence[Detections], candidate: Sequence[Detections], *, least: float) -> float:
    """mAP of masks that other outlines cost, beyond those of INT8 graphs that lose none; 0 without masks.

    As :func:`moves` and :func:`cost_of_moves`, of what is found again and with the overlap of pixels.
    """

    def overlaps(ours: Detections, theirs: Detections, asked: NDArray[np.bool_]) -> Array | None:
        if ours.masks is None or theirs.masks is None:
            return None
        return mask_ious(ours.masks, theirs.masks, asked)

    return _cost_of_parts(reference, candidate, overlaps, least=least)


def cost_of_keypoints(reference: Sequence[Detections], candidate: Sequence[Detections], *, least: float) -> float:
    """AP of keypoints that other places cost, likewise and with their similarity; 0 without keypoints."""

    def similarities(ours: Detections, theirs: Detections, asked: NDArray[np.bool_]) -> Array | None:
        if ours.keypoints is None or theirs.keypoints is None:
            return None
        return keypoint_similarities(ours, theirs, asked)

    return _cost_of_parts(reference, candidate, similarities, least=least)


def _cost_of_parts(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    alike: Callable[[Detections, Detections, NDArray[np.bool_]], Array | None],
    *,
    least: float,
) -> float:
    """What is lost of ``alike`` (0 to 1 for pairs that are asked for; None where there is nothing to compare), by
    detections that score ``least`` and are found again."""
    lost: list[float] = []
    for ours, theirs in zip(reference, candidate, strict=True):
        strong = ours[ours.scores >= least]
        if not len(strong) or not len(theirs):
            continue
        boxes = pairwise_iou(strong.boxes, theirs.boxes)
        boxes = np.where(strong.labels[:, None] == theirs.labels[None], boxes, 0.0)
        best = (boxes >= OVERLAP) & (boxes == boxes.max(axis=1, keepdims=True))
        found = alike(strong, theirs, best)
        if found is not None:
            lost += (1 - found.max(axis=1)[best.any(axis=1)]).tolist()
    if not lost:
        return 0.0
    scatter = max(float(np.mean(lost)) ** 2 - USUAL_SCATTER**2, 0.0)
    return cost_of_lost_overlap(float(np.sqrt(scatter)), own=OWN_ERROR)


def cost_of_moves(found: Moves) -> float:
    """mAP at IoU 0.50 to 0.95 that moves cost beyond those of INT8 graphs that lose none.

    >>> still = Moves(np.full(9, 0.04), np.zeros((9, 4)), np.zeros(9))
    >>> cost_of_moves(still)
    0.0
    >>> aside = Moves(np.full(9, 0.1), np.zeros((9, 4)) + [0.05, 0.0, 0.0, 0.0], np.zeros(9))
    >>> round(cost_of_moves(aside), 3)
    0.034
    """
    # Errors of independent causes add up as squares.
    drift = max(found.drift**2 - USUAL_DRIFT**2, 0.0)
    scatter = max(found.scatter**2 - found.drift**2 - USUAL_SCATTER**2, 0.0)
    return cost_of_lost_overlap(float(np.sqrt(drift + scatter)), own=OWN_ERROR)


def cost_of_lost_overlap(lost: float, *, own: float) -> float:
    """mAP at IoU 0.50 to 0.95 that boxes cost which lack ``lost`` of IoU to those of the float graph.

    Errors of two independent causes add up as squares, and what a box lacks of IoU is lost twice: of the range from
    0.5 to 1, not of the whole. ``own``: IoU that the float graph's boxes lack to labelled ones.

    >>> round(cost_of_lost_overlap(0.01, own=0.05), 3), round(cost_of_lost_overlap(0.04, own=0.05), 3)
    (0.002, 0.028)
    """
    return 2 * (float(np.hypot(own, lost)) - own)

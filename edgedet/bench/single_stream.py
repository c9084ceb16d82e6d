"""MLPerf's single stream: one query after another, 1,024 at least, judged by the 90th percentile of their latency,
and worth nothing unless the detector is nearly as accurate as the float graph it was made from.

The rules are those of MLPerf Inference (https://github.com/mlcommons/inference_policies), with two differences:
time is not stretched to ten minutes, and accuracy is agreement with the float graph on the frames, which need no
labels. So a figure is comparable in kind, and is no MLPerf result. Where there are masks or keypoints they must be
found again too, as MLPerf asks it of Mask R-CNN.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.bench.frames import Frame
from edgedet.box_overlap import pairwise_iou
from edgedet.detections import Detections
from edgedet.proof.agreement import boxes_alike, found_again
from edgedet.proof.keypoint_similarity import keypoint_similarities
from edgedet.proof.parity import mask_ious

MIN_QUERIES = 1024
PERCENTILE = 90
REQUIRED = 0.99
"""Share of the float graph's accuracy that MLPerf asks for."""


class Detecting(Protocol):
    """What is measured."""

    def detect(self, frame: Frame) -> Detections:
        """Detections of one frame."""


def measure_single_stream(
    detector: Detecting,
    frames: Sequence[Frame],
    reference: Sequence[Detections],
    *,
    queries: int = MIN_QUERIES,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """``queries`` frames one after another; ``reference``: what the float graph finds in each of ``frames``.

    The gate is passed, failed, or None where the float graph finds nothing that could be found again.
    """
    found = [detector.detect(frame) for frame in frames]
    samples = np.zeros(queries)
    begin = clock()
    for number in range(queries):
        frame = frames[number % len(frames)]
        before = clock()
        detector.detect(frame)
        samples[number] = clock() - before
    seconds = clock() - begin
    accuracy = _accuracy(reference, found)
    return {
        "queries": queries,
        "seconds": round(seconds, 3),
        "p90": round(_percentile(samples) * 1e3, 4),
        "agreement": None if accuracy is None else round(accuracy, 5),
        "required": REQUIRED,
        "valid": None if accuracy is None else accuracy >= REQUIRED,
    }


def _accuracy(reference: Sequence[Detections], found: Sequence[Detections]) -> float | None:
    """The lowest of what is found again of boxes, and of masks and keypoints where there are some."""
    both = (*reference, *found)
    likenesses = [boxes_alike]
    if all(each.masks is not None for each in both):
        likenesses.append(_masks_alike)
    if all(each.keypoints is not None for each in both):
        likenesses.append(_keypoints_alike)
    figures = [found_again(reference, found, likeness=likeness) for likeness in likenesses]
    known = [figure for figure in figures if figure is not None]
    return min(known) if known else None


def _masks_alike(first: Detections, second: Detections) -> NDArray[np.float64]:
    assert first.masks is not None and second.masks is not None
    return mask_ious(first.masks, second.masks, pairwise_iou(first.boxes, second.boxes) > 0)


def _keypoints_alike(first: Detections, second: Detections) -> NDArray[np.float64]:
    # The size is the reference's, which stands second here.
    return keypoint_similarities(second, first, pairwise_iou(second.boxes, first.boxes) > 0).T


def _percentile(samples: np.ndarray[Any, Any]) -> float:
    """The sample that 90 % are not above: MLPerf takes one that was measured, and draws no line between two."""
    rank = -(-len(samples) * PERCENTILE // 100)
    return float(np.sort(samples)[rank - 1])

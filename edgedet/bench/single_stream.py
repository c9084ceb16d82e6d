"""MLPerf's single stream: one query after another, 1,024 at least, judged by the 90th percentile of their latency,
and worth nothing unless the detector is nearly as accurate as the float graph it was made from.

The rules are those of MLPerf Inference (https://github.com/mlcommons/inference_policies), with two differences:
time is not stretched to ten minutes, and accuracy is agreement with the float graph on the frames, which need no
labels. So a figure is comparable in kind, and is no MLPerf result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from edgedet.bench.frames import Frame
from edgedet.detections import Detections
from edgedet.proof.agreement import found_again

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
    accuracy = found_again(reference, found)
    return {
        "queries": queries,
        "seconds": round(seconds, 3),
        "p90": round(_percentile(samples) * 1e3, 4),
        "agreement": None if accuracy is None else round(accuracy, 5),
        "required": REQUIRED,
        "valid": None if accuracy is None else accuracy >= REQUIRED,
    }


def _percentile(samples: np.ndarray[Any, Any]) -> float:
    """The sample that 90 % are not above: MLPerf takes one that was measured, and draws no line between two."""
    rank = -(-len(samples) * PERCENTILE // 100)
    return float(np.sort(samples)[rank - 1])

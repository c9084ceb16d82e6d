"""The latency suite: how long a frame really takes on this machine, from pixels to detections.

Published figures tend to time the network alone, on an empty image, and give a mean. Here everything from the
decoded frame to :class:`~edgedet.detections.Detections` counts, frames are real where some are given, no sample
is dropped, and what could not be measured says why instead of being left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.doors import lazy_names

if TYPE_CHECKING:
    from edgedet.bench.compare import Comparison, compare_artifacts
    from edgedet.bench.measurement import BenchResult
    from edgedet.bench.result import read_result, write_result
    from edgedet.bench.suite import BenchOptions, run_bench

__all__ = [
    "BenchOptions",
    "BenchResult",
    "Comparison",
    "compare_artifacts",
    "read_result",
    "run_bench",
    "write_result",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BenchOptions": "edgedet.bench.suite",
        "BenchResult": "edgedet.bench.measurement",
        "Comparison": "edgedet.bench.compare",
        "compare_artifacts": "edgedet.bench.compare",
        "read_result": "edgedet.bench.result",
        "run_bench": "edgedet.bench.suite",
        "write_result": "edgedet.bench.result",
    },
)

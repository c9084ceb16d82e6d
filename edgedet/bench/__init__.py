"""The latency suite: how long a frame really takes on this machine, from pixels to detections.

Published figures tend to time the network alone, on an empty image, and give a mean. Here everything from the
decoded frame to :class:`~edgedet.detections.Detections` counts, frames are real where some are given, no sample
is dropped, and what could not be measured says why instead of being left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgedet.bench.compare import Comparison, Timed, compare_artifacts, differences, other_machine
    from edgedet.bench.frames import FrameSet, load_frames
    from edgedet.bench.json_dataclass import Record
    from edgedet.bench.latency import Rules
    from edgedet.bench.measured_conditions import (
        Clocks,
        During,
        FramesUsed,
        GraphicsCard,
        JetsonBoard,
        MeasuredMachine,
        Processor,
        RulesFollowed,
    )
    from edgedet.bench.measured_latency import Block, Latency, Stages
    from edgedet.bench.measured_parts import (
        BatchRate,
        BenchResult,
        ColdStart,
        DetectionCounts,
        DutyCycle,
        Energy,
        MeasuredArtifact,
        Memory,
        SingleStream,
        StreamRate,
    )
    from edgedet.bench.result import read_result, write_result
    from edgedet.bench.statistics import Interval
    from edgedet.bench.suite import BenchOptions, run_bench
    from edgedet.missing_figures import NotMeasured

__all__ = [
    "BatchRate",
    "BenchOptions",
    "BenchResult",
    "Block",
    "Clocks",
    "ColdStart",
    "Comparison",
    "DetectionCounts",
    "During",
    "DutyCycle",
    "Energy",
    "FrameSet",
    "FramesUsed",
    "GraphicsCard",
    "Interval",
    "JetsonBoard",
    "Latency",
    "MeasuredArtifact",
    "MeasuredMachine",
    "Memory",
    "NotMeasured",
    "Processor",
    "Record",
    "Rules",
    "RulesFollowed",
    "SingleStream",
    "Stages",
    "StreamRate",
    "Timed",
    "compare_artifacts",
    "differences",
    "load_frames",
    "other_machine",
    "read_result",
    "run_bench",
    "write_result",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BatchRate": "edgedet.bench.measured_parts",
        "BenchOptions": "edgedet.bench.suite",
        "BenchResult": "edgedet.bench.measured_parts",
        "Block": "edgedet.bench.measured_latency",
        "Clocks": "edgedet.bench.measured_conditions",
        "ColdStart": "edgedet.bench.measured_parts",
        "Comparison": "edgedet.bench.compare",
        "DetectionCounts": "edgedet.bench.measured_parts",
        "During": "edgedet.bench.measured_conditions",
        "DutyCycle": "edgedet.bench.measured_parts",
        "Energy": "edgedet.bench.measured_parts",
        "FrameSet": "edgedet.bench.frames",
        "FramesUsed": "edgedet.bench.measured_conditions",
        "GraphicsCard": "edgedet.bench.measured_conditions",
        "Interval": "edgedet.bench.statistics",
        "JetsonBoard": "edgedet.bench.measured_conditions",
        "Latency": "edgedet.bench.measured_latency",
        "MeasuredArtifact": "edgedet.bench.measured_parts",
        "MeasuredMachine": "edgedet.bench.measured_conditions",
        "Memory": "edgedet.bench.measured_parts",
        "NotMeasured": "edgedet.missing_figures",
        "Processor": "edgedet.bench.measured_conditions",
        "Record": "edgedet.bench.json_dataclass",
        "Rules": "edgedet.bench.latency",
        "RulesFollowed": "edgedet.bench.measured_conditions",
        "SingleStream": "edgedet.bench.measured_parts",
        "Stages": "edgedet.bench.measured_latency",
        "StreamRate": "edgedet.bench.measured_parts",
        "Timed": "edgedet.bench.compare",
        "compare_artifacts": "edgedet.bench.compare",
        "differences": "edgedet.bench.compare",
        "load_frames": "edgedet.bench.frames",
        "other_machine": "edgedet.bench.compare",
        "read_result": "edgedet.bench.result",
        "run_bench": "edgedet.bench.suite",
        "write_result": "edgedet.bench.result",
    },
)

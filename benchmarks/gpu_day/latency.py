"""The latency suite of ``edgedet bench``, in short: the engines of one detector in turns."""

from __future__ import annotations

from pathlib import Path

from edgedet.artifacts.engine_library import EngineLibrary
from edgedet.bench.frames import FrameSet, load_frames
from edgedet.bench.latency import Rules
from edgedet.bench.suite import BenchOptions, run_bench
from edgedet.bench.text import describe_result
from gpu_day.engines import require_engine
from gpu_day.inputs import Graph, Inputs
from gpu_day.library import require_gpu
from gpu_day.outcome import NotHereError, Report

RULES = Rules(warmup_frames=10, warmup_seconds=0.3, frames=100, seconds=2.0, max_seconds=4.0)
OPTIONS = BenchOptions(RULES, batches=(1,), streams=(1, 2), load_seconds=1.0, cold_starts=1)
FRAMES = 16


def measure(report: Report, inputs: Inputs, graphs: list[Graph], work: Path, library: EngineLibrary) -> None:
    """``graphs``: of one detector; those without an engine are left out, and said."""
    report.attempt("latency", lambda: _measure(report, inputs, graphs, work, library))


def _measure(report: Report, inputs: Inputs, graphs: list[Graph], work: Path, library: EngineLibrary) -> str:
    require_gpu()
    built, missing = {}, ""
    for graph in graphs:
        try:
            built[graph.name] = require_engine(work, graph.name, library)
        except NotHereError as error:
            missing = str(error)
            report.check(f"latency of {graph.name}", "not_measured", missing)
    if not built:
        raise NotHereError(missing)
    result = run_bench(list(built.values()), _frames(inputs, graphs[0], work), OPTIONS, names=list(built))
    report.figure("bench", result.to_json())
    return " / ".join(line.strip() for line in describe_result(result) if line.strip())


def _frames(inputs: Inputs, graph: Graph, work: Path) -> FrameSet:
    return load_frames(None if graph.pictures is None else inputs.unpack(graph.pictures, work), count=FRAMES)

"""An engine of every graph: built, proved by its golden input, and asked what its layers run in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet.artifacts.engine_facts import summary
from edgedet.artifacts.engine_library import TENSORRT, EngineLibrary
from edgedet.export.options import EngineOptions, ExportReport
from edgedet.export.pipeline import export_model
from edgedet.missing_figures import reason_missing
from edgedet.opening import read_card
from edgedet.selftest import SELFTEST_GRAPH
from gpu_day.inputs import Graph, Inputs
from gpu_day.library import builds_without_gpu, load, require_gpu
from gpu_day.outcome import NotHereError, Report, reason

BUILT, PROVED, LAYERS = "the engine is built", "golden input", "precisions of layers"


def engine_path(work: Path, name: str, library: EngineLibrary) -> Path:
    """Path at which the engine of a graph is, or would be."""
    return work / "engines" / f"{name}{library.suffixes[0]}"


def require_engine(work: Path, name: str, library: EngineLibrary) -> Path:
    """The engine of the graph of this name.

    Raises:
        NotHereError: it was not built, or is for other GPUs.
    """
    path = engine_path(work, name, library)
    if not path.is_file():
        raise NotHereError(f"its engine is not there; see the step 'engine {name}'")
    unproved = reason_missing((read_card(path).engine or {}).get("proof"))
    if unproved:
        raise NotHereError(f"its engine could not be proved here: {unproved}")
    return path


def build_selftest(report: Report, work: Path, library: EngineLibrary) -> None:
    """The engine of two convolutions that edgedet brings along: the first there is."""
    _build(report, SELFTEST_GRAPH, engine_path(work, "selftest", library), library, level=0)


def build(report: Report, inputs: Inputs, graph: Graph, work: Path, library: EngineLibrary) -> None:
    """The engine of a prepared graph."""
    if graph.family == "faster_rcnn" and inputs.library != library.name:
        raise NotHereError(
            f"its graph was prepared for {inputs.library}, and each library wants RoIAlign written in its own way: "
            f"benchmarks/gpu_day.sh --prepare {inputs.folder.name} --library {library.name}"
        )
    source, target = inputs.fetch(graph.file, work), engine_path(work, graph.name, library)
    _build(report, source, target, library, level=graph.level)


def _build(report: Report, source: Path, target: Path, library: EngineLibrary, *, level: int) -> None:
    load(library)
    if not builds_without_gpu(library):
        require_gpu()
    options = EngineOptions(optimization_level=level)
    if library is TENSORRT:
        # Kernels that one engine measured are not measured again for the next.
        options = replace(options, timing_cache=target.parent / "timing.cache")
    try:
        built = export_model(source, target, engine=options)
    except Exception as error:
        report.check(BUILT, "failed", reason(error))
        return
    facts: dict[str, Any] = built.card.engine or {}
    report.figure("engine", facts)
    report.figure("build_s", round(built.seconds, 2))
    report.figure("bytes", built.bytes)
    said = f"{built.bytes / 1e6:.1f} MB in {built.seconds:.1f} s, level {level}, by {library.title}"
    report.check(BUILT, "passed", said)
    unproved = reason_missing(facts.get("proof"))
    # Nothing found at export shows nothing here.
    telling = bool((built.card.golden or {}).get("boxes"))
    report.check(PROVED, "passed" if telling and not unproved else "not_measured", unproved or _golden(built))
    told = dict(summary(facts))
    counted = bool((facts.get("inspector") or {}).get("layers"))
    said = "; ".join(f"{part}: {told[part]}" for part in ("layers", "layer time", "memory") if part in told)
    report.check(LAYERS, "passed" if counted else "not_measured", said if counted else unproved or said)


def _golden(built: ExportReport) -> str:
    """What the export says of the replay: it writes no engine that fails."""
    return next((note for note in built.notes if "golden" in note), "; ".join(built.notes))

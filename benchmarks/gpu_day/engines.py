"""An engine of every graph: built, proved by its golden input, and asked what its layers run in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedet.artifacts.engine_facts import summary
from edgedet.errors import RuntimeUnavailableError
from edgedet.export.options import EngineOptions, ExportReport
from edgedet.export.pipeline import export_model
from edgedet.selftest import SELFTEST_GRAPH
from gpu_day.inputs import Graph, Inputs
from gpu_day.library import Library, require_gpu
from gpu_day.outcome import NotHereError, Report, reason

BUILT, PROVED, LAYERS = "the engine is built", "golden input", "precisions of layers"


def engine_path(work: Path, name: str, library: Library) -> Path:
    """Where the engine of a graph is, or would be."""
    return work / "engines" / f"{name}{library.suffix}"


def require_engine(work: Path, name: str, library: Library) -> Path:
    """The engine of the graph of this name.

    Raises:
        NotHereError: it was not built.
    """
    path = engine_path(work, name, library)
    if not path.is_file():
        raise NotHereError(f"its engine is not there; see the step 'engine {name}'")
    return path


def build_selftest(report: Report, work: Path, library: Library) -> None:
    """The engine of two convolutions that edgedet brings along: the first there is."""
    _build(report, SELFTEST_GRAPH, engine_path(work, "selftest", library), library, level=0)


def build(report: Report, inputs: Inputs, graph: Graph, work: Path, library: Library) -> None:
    """The engine of a prepared graph."""
    _build(
        report, inputs.fetch(graph.file, work), engine_path(work, graph.name, library), library, level=graph.level
    )


def _build(report: Report, source: Path, target: Path, library: Library, *, level: int) -> None:
    gpu = _gpu_or_reason(library)
    options = EngineOptions(optimization_level=level, timing_cache=target.parent / "timing.cache")
    try:
        built = export_model(source, target, engine=options)
    except RuntimeUnavailableError as error:
        # Without the library there is nothing to fail; with a GPU and the library, there is.
        report.check(BUILT, "failed" if not gpu and library.installed() else "not_measured", reason(error))
        return
    except Exception as error:
        report.check(BUILT, "failed", reason(error))
        return
    facts: dict[str, Any] = built.card.engine or {}
    report.figure("engine", facts)
    report.figure("build_s", round(built.seconds, 2))
    report.figure("bytes", built.bytes)
    said = f"{built.bytes / 1e6:.1f} MB in {built.seconds:.1f} s, level {level}, by {library.name}"
    report.check(BUILT, "passed", said)
    # Nothing found at export shows nothing here.
    telling = bool((built.card.golden or {}).get("boxes"))
    report.check(PROVED, "passed" if telling and not gpu else "not_measured", gpu or _golden(built))
    told = dict(summary(facts))
    counted = bool((facts.get("inspector") or {}).get("layers"))
    said = [f"{part}: {told[part]}" for part in ("layers", "layer time", "memory") if part in told]
    report.check(
        LAYERS, "passed" if counted else "not_measured", "; ".join(said) or "the card says nothing of them"
    )


def _gpu_or_reason(library: Library) -> str:
    """Why there is no GPU, empty where there is one.

    Raises:
        NotHereError: there is none, and the library does not build without.
    """
    try:
        require_gpu()
    except NotHereError as error:
        if not library.builds_without_gpu:
            raise
        return str(error)
    return ""


def _golden(built: ExportReport) -> str:
    """What the export says of the replay: it writes no engine that fails."""
    return next((note for note in built.notes if "golden" in note), "; ".join(built.notes))

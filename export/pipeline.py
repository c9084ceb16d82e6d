"""The one way from a source to a graph or an engine: checked first, written whole or not at all."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import Container
from edgedet.artifacts.engine_library import TENSORRT, TENSORRT_RTX, EngineLibrary, library_of_name
from edgedet.artifacts.onnx_layers import read_layers
from edgedet.errors import UsageError
from edgedet.files import atomic_path
from edgedet.opening import read_card

from .options import (
    BUILD_DEFAULTS,
    EngineOptions,
    ExportOptions,
    ExportReport,
    Progress,
    default_output,
    silent,
)
from .request_checks import check_request, container_of, is_for_ncnn, require_unchanged
from .training.assumptions import assumption_note, assumptions_on, require_stated

if TYPE_CHECKING:
    from .finished_graph import FinishedGraph

AS_TRAINED = ExportOptions()


def export_model(
    source: str | Path,
    output: str | Path | None = None,
    options: ExportOptions = AS_TRAINED,
    *,
    engine: EngineOptions | None = None,
    container: Container | None = None,
    progress: Progress = silent,
) -> ExportReport:
    """Export a checkpoint, a foreign ONNX file or a graph of edgedet's own to a graph, an engine, or for ncnn.

    A finished graph becomes an engine as it is, with TensorRT alone: neither PyTorch nor onnx is imported. Nothing
    is written unless everything succeeded.

    Args:
        source: checkpoint, ONNX file, or folder of Hugging Face transformers.
        output: file to write: ``.onnx`` for a graph; ``.trt``, ``.engine`` or ``.plan`` for an engine of TensorRT,
            which needs it and a GPU; ``.rtx`` for one of TensorRT-RTX, which needs no GPU; ``.ncnn`` for ncnn. None
            writes a graph (with the target ncnn, a file for it) beside the source.
        options: of the graph. For an engine ``nms`` is the runtime's and ``target`` is the engine's library,
            whatever they say; likewise for ncnn.
        engine: how to build an engine; None takes the defaults, and is all that a graph allows.
        container: ``file`` puts the card in front of the plan, ``plan`` writes the bare plan and the card
            beside it. None takes ``plan`` for an output named ``.plan``, else ``file``.
        progress: called with (what, done, of); ``of`` is 0 where the end is not known.

    Returns:
        The artifact, its card, and what the user should know.

    Raises:
        CheckpointError, ArtifactError: a source that is not there or cannot be read.
        CalibrationError: int8 with unusable calibration images, or a network that is dead on made ones.
        DatasetError: calibration or evaluation images that are not there.
        UsageError: options that contradict each other, the source or the output.
        OutputError: the output cannot be written, has an unknown suffix, or is the source itself.
        AssumptionError: ``options.strict``, and the source leaves something unsaid.
        AccuracyBudgetError: int8 costs more than ``options.max_drop``.
        ReferenceBoxesError: ``options.reference`` cannot be compared with.
        RuntimeUnavailableError: an engine is wanted, and its library, or TensorRT's GPU, is not there.
        SelftestError: the engine gives other detections than the graph.
        ExportError: the result failed its own checks, or does not give the boxes of ``options.reference``.

    >>> report = export_model("yolo.onnx", "exported.onnx", ExportOptions(conf=0.4))
    >>> report.path.name, report.card.names, report.card.output.score_threshold
    ('exported.onnx', ('blue', 'green', 'red'), 0.4)
    """
    started = time.monotonic()
    source = Path(source)
    output = Path(output) if output is not None else default_output(source, options)
    check_request(source, output, options, engine=engine, container=container)
    if is_for_ncnn(output):
        report = _write_for_ncnn(source, output, options, progress)
        return replace(report, seconds=time.monotonic() - started)
    library = library_of_name(output)
    if library is None:
        report = _write_graph(_finish(source, output, options, progress), output, progress)
        return replace(report, seconds=time.monotonic() - started)
    from .engines.engine_export import build_engine_file

    graph = engine_source(source, output, options, progress=progress)
    report = build_engine_file(
        graph.content,
        graph.card,
        output,
        options=engine or BUILD_DEFAULTS,
        container=container_of(output, container),
        nodes=graph.nodes,
        notes=graph.notes,
        progress=progress,
    )
    return replace(report, seconds=time.monotonic() - started)


class EngineSource(NamedTuple):
    """What an engine is built from: a graph, serialised or in its file, without the model, for whose memory the
    builder has use."""

    content: bytes | Path
    card: ModelCard
    nodes: int
    notes: tuple[str, ...]


def graph_source(
    source: Path, output: Path, options: ExportOptions, *, progress: Progress = silent
) -> EngineSource:
    """The finished graph of ``source``, serialised, that :func:`export_model` would write to ``output``.

    Raises:
        EdgedetError: as :func:`export_model`.
    """
    from .embedded_card import graph_bytes

    graph = _finish(source, output, options, progress)
    return EngineSource(graph_bytes(graph.model), graph.card, len(graph.model.graph.node), graph.notes)


def engine_source(
    source: Path, output: Path, options: ExportOptions, *, progress: Progress = silent
) -> EngineSource:
    """The graph of ``source`` that an engine is built from: NMS outside, INT8 in TensorRT's dialect.

    Args:
        source: as in :func:`export_model`; a graph made for an engine is taken as it is.
        output: what will be written, whose suffix names the library; measurements are kept beside it.
        options: of the graph.
        progress: called with (what, done, of).

    Raises:
        EdgedetError: as :func:`export_model`.
    """
    from .engines.engine_export import is_ready_for_engine

    library = library_of_name(output) or TENSORRT
    if is_ready_for_engine(source, options.precision, library):
        return _read_finished(source, options, library)
    return _graph_for_engine(source, output, options, library, progress)


def _finish(source: Path, output: Path, options: ExportOptions, progress: Progress) -> FinishedGraph:
    from .finished_graph import finish_graph

    return finish_graph(source, output, options, progress=progress)


def _write_graph(graph: FinishedGraph, output: Path, progress: Progress) -> ExportReport:
    from .embedded_card import graph_bytes

    progress("writing", 0, 0)
    with atomic_path(output) as temporary:
        temporary.write_bytes(graph_bytes(graph.model))
    return ExportReport(
        output, graph.card, output.stat().st_size, len(graph.model.graph.node), seconds=0, notes=graph.notes
    )


def _write_for_ncnn(source: Path, output: Path, options: ExportOptions, progress: Progress) -> ExportReport:
    """A graph of one image with NMS outside, in ncnn's own layers."""
    plain = replace(options, nms="runtime", target="ncnn", batch=1)
    graph = _finish(source, output, plain, progress)
    from .ncnn.file import build_ncnn_file
    from .parity import parity_frames

    frames = parity_frames(plain)
    return build_ncnn_file(
        graph.model, graph.card, output, frames, batch=options.batch, notes=graph.notes, progress=progress
    )


def _read_finished(source: Path, options: ExportOptions, library: EngineLibrary) -> EngineSource:
    """A graph made for an engine is taken as it is; checked where the onnx package is at hand: boards have none."""
    if options.reference is not None:
        raise UsageError(
            f"{source} is a finished graph, which becomes an engine unchanged: compare it with "
            f"edgedet parity {source} --reference {options.reference}"
        )
    card = read_card(source)
    require_unchanged(source, card, options)
    assumed = assumptions_on(card)
    if options.strict:
        require_stated(source, assumed, boxes=card.task == "detection")
    if find_spec("onnx") is not None:
        from .engines.operator_check_process import require_parsable_file

        require_parsable_file(source, _versions(library))
    nodes = len(read_layers(source).nodes)
    return EngineSource(
        source, card, nodes, (assumption_note(assumed, boxes=card.task == "detection"),) if assumed else ()
    )


def _graph_for_engine(
    source: Path, output: Path, options: ExportOptions, library: EngineLibrary, progress: Progress
) -> EngineSource:
    target: Literal["tensorrt", "tensorrt-rtx"] = "tensorrt-rtx" if library is TENSORRT_RTX else "tensorrt"
    graph = _finish(source, output, replace(options, nms="runtime", target=target), progress)
    from .engines.operators import require_parsable

    require_parsable(graph.model, _versions(library), where=str(source))
    return EngineSource(graph.model.SerializeToString(), graph.card, len(graph.model.graph.node), graph.notes)


def _versions(library: EngineLibrary) -> tuple[str, ...]:
    """Those that a graph is held to, before the library's parser and builder are asked."""
    from .engines import parser_versions

    return parser_versions.TENSORRT_RTX if library is TENSORRT_RTX else parser_versions.TENSORRT

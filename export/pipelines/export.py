"""The one way from a source to a working folder for somebody else's pipeline."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import onnx

from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.artifacts.engine_file import Container, library_of, read_engine_header, read_plan
from edgedet.artifacts.engine_library import ENGINE_SUFFIXES, TENSORRT
from edgedet.artifacts.onnx_file import read_onnx
from edgedet.errors import ArtifactError, UsageError
from edgedet.opening import artifact_kind, read_card

from ..embedded_card import embed
from ..engines.build import content_of
from ..engines.engine_export import build_engine_file
from ..engines.operators import require_parsable
from ..for_cpu.interleaved import read_planes
from ..for_cpu.winograd import remove_winograd
from ..options import BUILD_DEFAULTS, EngineOptions, ExportOptions, ExportReport, Progress, silent
from ..pipeline import AS_TRAINED, EngineSource, engine_source, graph_source
from ..request_checks import check_request
from . import deepstream, triton
from .folder import atomic_folder
from .nvinfer_frames import differences, measured_difference
from .nvinfer_input import with_planar_input

Pipeline = Literal["deepstream", "triton"]


def export_pipeline(
    source: str | Path,
    pipeline: Pipeline,
    folder: str | Path,
    options: ExportOptions = AS_TRAINED,
    *,
    engine: EngineOptions | None = None,
    container: Container | None = None,
    progress: Progress = silent,
) -> ExportReport:
    """Write a folder that Triton or DeepStream works from; nothing is written unless everything succeeded.

    Args:
        source: checkpoint, ONNX file, folder of Hugging Face transformers, or finished graph; for Triton a finished
            engine, too. A finished graph of which nothing more is asked goes into Triton's repository as it is.
        pipeline: ``triton``: a model repository. ``deepstream``: what nvinfer needs, with the source of a parser.
        folder: to write. One that is there is replaced if it was written by this and nothing in it was changed.
        options: of the graph. DeepStream's has NMS in the parser and INT8 in TensorRT's dialect, whatever they say;
            ``frame_size`` is what its nvstreammux gives.
        engine: how to build an engine; only with ``container``.
        container: ``plan`` builds an engine, here and with the TensorRT here, and puts it into the folder.
        progress: called with (what, done, of).

    Returns:
        The folder, its card, its size, and what the user should know. For DeepStream that is what nvinfer does
        otherwise than training did, in numbers.

    Raises:
        UsageError: options that do not go together, or what the pipeline cannot do.
        OutputError: the folder holds something else, or cannot be written.
        EdgedetError: as :func:`edgedet.export.pipeline.export_model`.

    >>> report = export_pipeline("model.onnx", "triton", "repository")
    >>> sorted(path.name for path in report.path.iterdir())
    ['README.md', 'client.py', 'edgedet.json', 'model']
    """
    started = time.monotonic()
    source, folder = Path(source), Path(folder)
    if pipeline not in get_args(Pipeline):
        raise UsageError(f"--for is {pipeline!r}, expected {' or '.join(get_args(Pipeline))}")
    if container == "file":
        raise UsageError("--container file puts a card in front of the plan, which no pipeline reads: use plan")
    if options.outside_proposals is not None or _takes_proposals(source):
        raise UsageError(
            f"--for {pipeline} writes a folder for networks that take pictures alone; proposals from outside have "
            "no way in there: export an ordinary graph"
        )
    write = {"triton": _triton, "deepstream": _deepstream}[pipeline]
    products = deepstream.PRODUCTS if pipeline == "deepstream" else ()
    with atomic_folder(folder, products=products) as fresh:
        report = write(source, fresh, folder, options, engine=engine, container=container, progress=progress)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return replace(report, path=folder, bytes=size, seconds=time.monotonic() - started)


def _takes_proposals(source: Path) -> bool:
    """Whether ``source`` is an artifact of ours whose proposals come from outside."""
    try:
        return artifact_kind(source) != "checkpoint" and read_card(source).input.proposals is not None
    except ArtifactError:  # a checkpoint, another tool's file or a damaged one, which is said where it is read
        return False


def require_boxes(card: ModelCard, source: Path) -> None:
    """Check that a folder for others is of a detector: what they and the clients here read are boxes.

    Raises:
        UsageError: it is of a segmenter.
    """
    if card.task == "segmentation":
        raise UsageError(
            f"--for writes folders of detectors, whose boxes their programs read; {source} holds a segmenter: "
            "export a graph or an engine, and open it with edgedet.Segmenter"
        )


def _triton(
    source: Path,
    fresh: Path,
    folder: Path,
    options: ExportOptions,
    *,
    engine: EngineOptions | None,
    container: Container | None,
    progress: Progress,
) -> ExportReport:
    name = triton.model_name(source)
    if source.is_file() and _kind_of(source) == "engine":
        if container is not None or engine is not None or options != AS_TRAINED:
            raise UsageError(
                f"{source} is an engine, which goes into the repository as it is: drop the other options"
            )
        card, plan = _given_engine(source)
        triton.write_repository(
            fresh, name, plan, card, triton.engine_outputs(card), source=source.name, engine=True
        )
        return ExportReport(
            folder, card, 0, 0, 0, ("sizes of the outputs are left to Triton, which asks the engine",)
        )
    built_as = folder.with_name(f"{folder.name}.plan" if container else f"{folder.name}.onnx")
    check_request(source, fresh / built_as.name, options, engine=engine, container=container)
    if container is None and options == AS_TRAINED and _is_finished(source):
        graph = EngineSource(source.read_bytes(), read_card(source), 0, ())
    elif container is None:
        graph = graph_source(source, built_as, options, progress=progress)
    else:
        graph = engine_source(source, built_as, options, progress=progress)
    require_boxes(graph.card, source)
    content = content_of(graph.content)
    with tempfile.TemporaryDirectory() as beside:
        path = Path(beside) / "model.onnx"
        path.write_bytes(content)
        outputs = triton.graph_outputs(read_onnx(path).outputs)
    card, notes = graph.card, graph.notes
    nodes = graph.nodes or len(onnx.load_model_from_string(content).graph.node)
    if container is not None:
        card, content, more = _built(graph, engine, progress)
        notes = (*notes, *more)
    progress("writing", 0, 0)
    triton.write_repository(fresh, name, content, card, outputs, source=source.name, engine=container is not None)
    return ExportReport(folder, card, 0, nodes, 0, notes)


def _deepstream(
    source: Path,
    fresh: Path,
    folder: Path,
    options: ExportOptions,
    *,
    engine: EngineOptions | None,
    container: Container | None,
    progress: Progress,
) -> ExportReport:
    built_as = folder.with_name(f"{folder.name}.plan" if container else f"{folder.name}.onnx")
    check_request(source, fresh / built_as.name, options, engine=engine, container=container)
    frame = options.frame_size
    if _is_finished(source):
        require_boxes(read_card(source), source)
        deepstream.require_feedable(read_card(source))
        options = replace(options, frame_size=None)  # which can only shape a canvas that is not there yet
    graph = engine_source(source, built_as, options, progress=progress)
    require_boxes(graph.card, source)
    deepstream.require_feedable(graph.card)
    progress("giving the graph an input that nvinfer fills", 0, 0)
    model = onnx.load_model_from_string(content_of(graph.content))
    model = read_planes(remove_winograd(model))
    card = with_planar_input(model, graph.card)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    embed(model, card)
    onnx.checker.check_model(model, full_check=True)
    require_parsable(model, where=str(source))
    measured = measured_difference(model, card, frame)
    plan, notes = None, list(graph.notes)
    if container is not None:
        ready = EngineSource(model.SerializeToString(), card, len(model.graph.node), ())
        card, plan, more = _built(ready, engine, progress)
        notes += more
    progress("writing", 0, 0)
    deepstream.write_folder(fresh, model, card, source=source.name, frame=frame, plan=plan, measured=str(measured))
    notes += [f"nvinfer: {said}" for said in differences(card, frame)]
    notes.append(f"nvinfer's preprocessing: {measured}")
    return ExportReport(folder, card, 0, len(model.graph.node), 0, tuple(notes))


def _kind_of(source: Path) -> str | None:
    """What a file is; None where it is nothing that runs, which the export says better."""
    try:
        return artifact_kind(source)
    except ArtifactError:
        return "engine" if source.suffix.lower() in ENGINE_SUFFIXES else None


def _is_finished(source: Path) -> bool:
    """Whether ``source`` is a graph with a card of ours inside."""
    return source.suffix.lower() == ".onnx" and METADATA_KEY in read_onnx(source).metadata


def _given_engine(source: Path) -> tuple[ModelCard, bytes]:
    found = read_engine_header(source)
    library = library_of(found)
    if library is not TENSORRT:
        raise ArtifactError(
            f"{source} is an engine for {library.title}, and Triton's backend opens those of {TENSORRT.title} "
            "alone: give its graph or checkpoint"
        )
    card = read_card(source)
    require_boxes(card, source)
    if "family" not in found.header or card.output.format not in ("candidates", "detections"):
        raise ArtifactError(
            f"{source} carries another tool's metadata, which does not say what its outputs are called: export its "
            "graph or checkpoint"
        )
    return card, read_plan(found)


def _built(
    graph: EngineSource, engine: EngineOptions | None, progress: Progress
) -> tuple[ModelCard, bytes, tuple[str, ...]]:
    """An engine of ``graph``, proved: its card, its plan, and what is to be said."""
    with tempfile.TemporaryDirectory() as beside:
        path = Path(beside) / "model.plan"
        report = build_engine_file(
            graph.content, graph.card, path, options=engine or BUILD_DEFAULTS, container="plan", progress=progress
        )
        return report.card, path.read_bytes(), report.notes

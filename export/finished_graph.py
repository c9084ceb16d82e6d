"""A source becomes a finished graph: float graph, checked and compared, then the precision asked for; its card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import onnx

from edgedet import __version__
from edgedet.artifacts.card import ASSUMED_KEY, ModelCard, Precision
from edgedet.errors import CalibrationError, ExportError
from edgedet.files import file_sha256
from edgedet.onnx_graph.cleaning import simplify
from edgedet.proof.golden import record
from edgedet.proof.golden_map import record_map
from edgedet.reference.pictures import open_reference

from ..runtimes.heap_trimming import keep_free_memory, release_unused, return_free_memory
from . import map_parity, parity
from .embedded_card import embed, opened, opened_segmenter
from .for_cpu.dfl import shorten_distributions
from .for_cpu.focus import convolve_picture
from .for_cpu.interleaved import read_interleaved
from .for_cpu.level_heads import choose_by_level
from .for_cpu.winograd import add_winograd
from .ncnn.file import require_writable
from .options import ExportOptions, Progress
from .reference_parity import CONFIRMED_KEY, Confirmed, require_reference
from .sources import build_graph
from .training.assumptions import assumption_note, require_stated
from .training.batch_norm_statistics import statistics_of
from .training.settings import TrainingSettings

if TYPE_CHECKING:
    from ..calibration.calibration_frames import CalibrationFrames
    from ..calibration.judge import Judge
    from ..calibration.training_statistics import Statistics
    from .families.base import FrameworkReference
    from .segmentation.reference import SegmentationReference

FLOAT = ("precision", "fp32")
"""The option that asks for nothing, and is not worth a line on the card."""

HALF_FRAMES = 16
"""Calibration frames on which what is left of an INT8 graph is looked through for values too large for fp16, where
that was not done while it was judged."""

RUNS_AFTER = 44
"""Runs that such a graph still takes until it is written, those and the golden input's, as far as their time grows
with the network's: fitted to three detectors."""
MADE_NOTE = (
    "calibrated without pictures, on made ones, and judged by them alone: --calib with about 100 frames like those "
    "the device will see sets ranges for them, and --eval with labelled ones measures what INT8 costs"
)
MADE_JUDGED_NOTE = (
    "calibrated without pictures, on made ones: --calib with about 100 frames like those the device will see sets "
    "ranges for them"
)
"""What real pictures would add."""

STATIC_FORBIDDEN = ("If", "Loop", "Scan", "NonZero")


@dataclass(frozen=True)
class FinishedGraph:
    """An ONNX model that carries its ``card``, and what the user should know of it."""

    model: onnx.ModelProto
    card: ModelCard
    notes: tuple[str, ...]


def finish_graph(source: Path, output: Path, options: ExportOptions, *, progress: Progress) -> FinishedGraph:
    """Build the graph of ``source`` as ``options`` ask, hold it to its checks, and record its golden input.

    ``output``: what will be written; the measurements of int8 are kept beside it, so that a
    killed export resumes.

    Raises:
        EdgedetError: as :func:`edgedet.export.pipeline.export_model`, but for what concerns writing.
    """
    options = replace(options, precision=options.precision or "fp32")
    reference = None if options.reference is None else open_reference(options.reference, options.reference_images)
    frame_size = options.frame_size or parity.usual_frame(options)
    if frame_size is None and reference is not None:
        frame_size = reference.usual_size
    built = build_graph(source, options, frame_size=frame_size, progress=progress)
    if options.strict and reference is None:
        require_stated(source, built.assumed, boxes=built.card.task == "detection")
    model = checked(built.model, nms=options.nms)
    if options.target == "ncnn":
        require_writable(model, built.card)
    if options.target == "cpu":
        model = choose_by_level(shorten_distributions(model))
        model = read_interleaved(add_winograd(convolve_picture(model))) if options.precision == "fp32" else model
    card = replace(built.card, provenance=_provenance(source, options) | built.card.provenance)
    notes = list(built.notes)
    confirmed = None
    if reference is not None:
        progress("comparing with boxes made elsewhere", 0, 0)
        confirmed = require_reference(model, card, reference, built.assumed, progress=progress)
        card = replace(card, measured=card.measured | {"reference": confirmed.measured})
        notes.extend(confirmed.notes)
        if options.strict and not confirmed.thorough:
            require_stated(source, built.assumed)
    if built.assumed:
        facts: dict[str, Any] = {ASSUMED_KEY: [assumption.text() for assumption in built.assumed]}
        if confirmed is not None and confirmed.thorough:
            facts[CONFIRMED_KEY] = confirmed.by
        card = replace(card, provenance=card.provenance | facts)
        notes.append(
            assumption_note(
                built.assumed,
                confirmed_by=confirmed.by if confirmed and confirmed.thorough else None,
                boxes=card.task == "detection",
            )
        )
    if isinstance(built.reference, str):
        notes.append(f"not compared with its framework: {built.reference}")
    else:
        progress("comparing with the framework", 0, 0)
        agreement, said = _compared(model, card, built.reference, options, confirmed, source=source)
        card = replace(card, measured=card.measured | {"parity": agreement})
        notes.append(said)
    if options.precision == "fp32" and options.calib is not None:
        notes.append("not quantised: --calib only served the comparison and the shape of frames; add --int8")
    if options.precision != "fp32":
        made = options.precision == "int8" and options.calib is None
        statistics = statistics_of(built.module, model) if made and built.module is not None else {}
        # The framework's network and the graph as it came from it have served; ranges need the room.
        del built
        release_unused()
        # Layer after layer and frame after frame, a reduction takes arrays of the same few sizes.
        keep_free_memory()
        model, card, more = _reduce_precision(
            model, card, output, options, statistics=statistics, progress=progress
        )
        notes.extend(more)
        return_free_memory()
    progress("recording the golden input", 0, 0)
    embed(model, card)
    if card.task == "segmentation":
        with opened_segmenter(model) as segmenter:
            card = replace(card, golden=record_map(segmenter))
    else:
        with opened(model) as detector:
            card = replace(card, golden=record(detector))
    embed(model, card)
    return FinishedGraph(model, card, tuple(notes))


def _compared(
    model: onnx.ModelProto,
    card: ModelCard,
    reference: FrameworkReference | SegmentationReference,
    options: ExportOptions,
    confirmed: Confirmed | None,
    *,
    source: Path,
) -> tuple[dict[str, Any], str]:
    """Agreement with the framework, as the card keeps it and in words.

    Raises:
        ExportError: the graph is of something else.
    """
    frames = parity.affordable(model, parity.parity_frames(options))
    precision = options.precision or "fp32"
    if card.task == "segmentation":
        of_pixels = cast("SegmentationReference", reference)
        agreement = map_parity.measure(model, card, of_pixels, frames)
        map_parity.require_agreement(agreement, of_pixels, frames, source=source)
        return agreement, map_parity.note(agreement, precision=precision)
    of_boxes = cast("FrameworkReference", reference)
    agreement = parity.measure(model, card, of_boxes, frames)
    if confirmed is None or not confirmed.thorough:
        parity.require_agreement(agreement, of_boxes, frames, source=source)
    return agreement, parity.note(agreement, precision=precision)


def checked(model: onnx.ModelProto, *, nms: str) -> onnx.ModelProto:
    """Clean a graph, infer all its shapes, and hold it to the contract.

    Raises:
        ExportError: the checker refuses it, or something in it is not static.
    """
    model = simplify(model)
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"the exported graph is not valid ONNX ({error}); please report this") from error
    forbidden = [node.name for node in model.graph.node if node.op_type in STATIC_FORBIDDEN]
    final = next((i for i, n in enumerate(model.graph.node) if n.op_type == "NonMaxSuppression"), None)
    static = {
        value.name
        for value in (*model.graph.value_info, *model.graph.output)
        if all(size.HasField("dim_value") for size in value.type.tensor_type.shape.dim)
    }
    dynamic = [name for node in model.graph.node[:final] for name in node.output if name and name not in static]
    if forbidden or dynamic or (nms == "runtime" and final is not None):
        what = (forbidden + dynamic)[:3] or ["NonMaxSuppression"]
        raise ExportError(f"the exported graph is not static: {', '.join(what)}; please report this")
    return model


def _provenance(source: Path, options: ExportOptions) -> dict[str, Any]:
    asked = {
        name: value
        for name, value in vars(options).items()
        if value not in (None, ExportOptions.__dataclass_fields__[name].default) and (name, value) != FLOAT
    }
    tools = ("onnx", "torch", "torchvision", *(("transformers",) if source.is_dir() else ()))
    return {
        "source": source.resolve().name,
        "source_sha256": _sha256(source),
        "tools": {"edgedet": __version__} | _versions(tools),
        "options": {name: _plain(value) for name, value in asked.items()},
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those that are installed: an ONNX file needs no PyTorch."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _plain(value: Any) -> Any:
    """An option's value as the card's JSON keeps it."""
    if isinstance(value, TrainingSettings):
        return value.stated()
    return list(value) if isinstance(value, tuple) else value


def _sha256(source: Path) -> str:
    """Digest of a file; of a folder, digest of the list of its files' digests."""
    if not source.is_dir():
        return file_sha256(source)
    from edgedet.artifacts.hugging_face_folder import digests, open_folder

    files = digests(open_folder(source, trust="code"))
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in files.items()).encode()).hexdigest()


def _reduce_precision(
    model: onnx.ModelProto,
    card: ModelCard,
    output: Path,
    options: ExportOptions,
    *,
    statistics: Statistics,
    progress: Progress,
) -> tuple[onnx.ModelProto, ModelCard, list[str]]:
    """The float graph in fp16 or int8, and the card that says what became of it."""
    if options.precision == "fp16":
        from ..calibration.fp16 import to_half

        frames = _given_frames(card, options)
        half = to_half(model, frames, progress=progress)
        card = replace(card, precision="fp16", measured=card.measured | {"fp16": half.report})
        counts = f"{half.report['nodes_fp16']} nodes in fp16, {half.report['nodes_fp32']} in fp32"
        note = "; ".join([counts, *half.report["absent"].values()])
        return half.model, card, [*(frames.warnings if frames is not None else ()), note]
    from ..calibration.pipeline import QuantiseOptions, quantise

    calibration = _calibration(model, card, options, statistics, progress)
    quantised = quantise(
        model,
        card,
        calibration.frames,
        judge=calibration.judge,
        options=QuantiseOptions(
            target="cpu" if options.target == "cpu" else "tensorrt",
            layers=options.int8_layers,
            max_drop=options.max_drop,
            over_budget=options.over_budget,
            effort=options.effort,
            cache=output.with_name(f".{output.stem}.int8-cache"),
        ),
        progress=progress,
        runs_after=RUNS_AFTER,
    )
    report = quantised.report | calibration.report
    # Where INT8 gained nothing or cost too much, the graph is as it was, and so is what its card says of it.
    precision: Precision = "int8" if report["layers_int8"] else card.precision
    card = replace(card, precision=precision, measured=card.measured | {"int8": report})
    notes = [*calibration.notes, *quantised.warnings]
    if options.target == "cpu":
        return quantised.model, card, notes
    from ..calibration.calibration_frames import Sample
    from ..calibration.fp16 import to_half

    # A strongly typed engine runs in fp32 what its graph leaves in fp32: slower than fp16 throughout.
    frames_of_half = Sample(calibration.frames, HALF_FRAMES)
    half = to_half(quantised.model, frames_of_half, magnitudes=quantised.magnitudes, progress=progress)
    precision = "int8" if report["layers_int8"] else "fp16"
    card = replace(card, precision=precision, measured=card.measured | {"fp16": half.report})
    note = f"what is not int8: {half.report['nodes_fp16']} nodes in fp16, {half.report['nodes_fp32']} in fp32"
    return half.model, card, [*notes, note]


@dataclass(frozen=True)
class _Calibration:
    """What INT8 is calibrated on and judged by, what the card says of it, and what the user should know."""

    frames: CalibrationFrames
    judge: Judge | None
    report: dict[str, Any]
    notes: tuple[str, ...] = ()


def _calibration(
    model: onnx.ModelProto, card: ModelCard, options: ExportOptions, statistics: Statistics, progress: Progress
) -> _Calibration:
    """The pictures that were given; where there are none, made ones, held against what training saw."""
    from edgedet.datasets import read_dataset

    from ..calibration.judge import MapJudge

    outputs = [value.name for value in model.graph.output]
    judge: Judge | None = None
    if card.task == "segmentation":
        return _calibration_of_maps(card, options, outputs)
    if options.eval:
        labelled = read_dataset(
            options.eval,
            outlines=card.output.masks is not None,
            keypoints=card.output.keypoints is not None,
        )
        judge = MapJudge(card, labelled, outputs)
    frames = _given_frames(card, options)
    if frames is not None:
        return _Calibration(frames, judge, {"pictures": "given"})
    from ..calibration.made_frames import made_judge, make_frames

    made = make_frames(model, card, statistics, progress=progress)
    notes = [MADE_NOTE if judge is None else MADE_JUDGED_NOTE, *made.warnings]
    if judge is None:
        judge, doubt = made_judge(model, card, made)
        notes += doubt
    return _Calibration(made.frames, judge, {"pictures": "made", "made": made.report}, tuple(notes))


def _calibration_of_maps(card: ModelCard, options: ExportOptions, outputs: list[str]) -> _Calibration:
    """Calibration of a segmenter: pictures that were given, and labels where there are some.

    Raises:
        CalibrationError: no pictures.
        DatasetError: no labels of pixels.
    """
    from edgedet.datasets.map_dataset import read_map_dataset

    from ..calibration.segmenter_judge import MeanIouJudge

    frames = _given_frames(card, options)
    if frames is None:
        raise CalibrationError(
            "INT8 of a segmenter is calibrated on pictures, and there are none: give about 100 frames like those "
            "the device will see (--calib)"
        )
    judge = MeanIouJudge(card, read_map_dataset(options.eval), outputs) if options.eval else None
    return _Calibration(frames, judge, {"pictures": "given"})


def _given_frames(card: ModelCard, options: ExportOptions) -> CalibrationFrames | None:
    """The pictures of ``--calib``; None where there are none."""
    if options.calib is None:
        return None
    from ..calibration.calibration_frames import CalibrationFrames
    from ..calibration.pictures import pictures_of

    return CalibrationFrames(pictures_of(options.calib), card)

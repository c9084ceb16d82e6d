"""From a checkpoint of a network for semantic segmentation, and what was asked for, to its graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.errors import UsageError

from ..options import ExportOptions
from ..training.assumptions import Assumption
from .graph import export
from .reference import SegmentationReference
from .trained import TrainedSegmenter

OF_DETECTORS = (
    "family", "outputs", "proposals", "outside_proposals", "conf", "iou", "max_detections", "label_mode",
    "reference", "reference_images", "input_dtype",
)  # fmt: skip
"""Options that have no meaning for a class of every pixel."""


@dataclass(frozen=True)
class SegmentationGraph:
    """A graph, its card, the framework it is compared with, what was assumed, and notes for the report."""

    model: onnx.ModelProto
    card: ModelCard
    reference: SegmentationReference
    assumed: tuple[Assumption, ...]
    notes: tuple[str, ...]


def require_for_segmenters(options: ExportOptions, path: Path) -> None:
    """Check that nothing is asked for that only detectors have.

    Raises:
        UsageError: something is.
    """
    wrong = next((name for name in OF_DETECTORS if getattr(options, name) is not None), None)
    if wrong is not None:
        raise UsageError(
            f"--{wrong.replace('_', '-')} is for detectors; {path} holds a segmenter, which gives a class for "
            "every pixel: leave the option out"
        )
    if options.target == "ncnn":
        raise UsageError(
            f"{path} holds a segmenter, and files for ncnn are of detectors alone: write a graph (.onnx) or an "
            "engine"
        )


def build(
    trained: TrainedSegmenter, options: ExportOptions, frame_size: tuple[int, int], *, asked: bool
) -> SegmentationGraph:
    """The graph of ``trained`` for frames shaped like ``frame_size`` (width, height); ``asked``: whether somebody
    said so.

    Raises:
        UsageError: options of detectors.
        CheckpointError: a network that does not give scores.
        ExportError: PyTorch cannot export it.
    """
    require_for_segmenters(options, trained.path)
    notes, assumed = list(trained.notes), trained.assumed
    size = trained.min_size
    if options.imgsz is not None:
        if size is not None and trained.stated.min_size is not None:
            notes.append("--imgsz takes the place of the size the network was trained at")
        assumed = tuple(each for each in assumed if each.what != "input size")
        size = min(options.imgsz)
        if options.imgsz[0] != options.imgsz[1]:
            frame_size, asked = (options.imgsz[1], options.imgsz[0]), True
    if size is None:
        size = min(frame_size)
        assumed = (Assumption("input size", f"shortest side {size}, the frames' own", "min_size"), *assumed)
    preparation = trained.preparation(size)
    exported = export(trained.module, preparation, frame_size, batch=options.batch)
    card = ModelCard(
        family=trained.family,
        architecture=trained.arch,
        names=trained.names,
        input=exported.input,
        resize=exported.resize,
        output=exported.output,
        provenance=dict(exported.said) | ({"weights": list(trained.weights)} if trained.weights else {}),
    )
    if not asked:
        notes.append(
            f"made for frames shaped like {frame_size[0]}x{frame_size[1]}; others are shrunk and lose detail: say "
            "what your camera gives with --frame-size WIDTHxHEIGHT"
        )
    reference = SegmentationReference(trained.module, card, preparation)
    return SegmentationGraph(exported.model, card, reference, assumed, (*notes, *trained.weights))

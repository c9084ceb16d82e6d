"""From a checkpoint of a network for semantic segmentation, and what was asked for, to its graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgedet.artifacts.card import ModelCard

from ..options import ExportOptions
from ..training.assumptions import Assumption
from .graph import export
from .reference import SegmentationReference
from .request_checks import require_for_segmenters
from .trained import TrainedSegmenter


@dataclass(frozen=True)
class SegmentationGraph:
    """A graph, its card, the framework it is compared with, what was assumed, and notes for the report."""

    model: onnx.ModelProto
    card: ModelCard
    reference: SegmentationReference
    assumed: tuple[Assumption, ...]
    notes: tuple[str, ...]


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

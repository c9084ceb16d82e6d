"""From a checkpoint, and what was asked for, to a float graph and its card: what PyTorch is needed for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor, nn

from edgedet.artifacts.card import PROPOSAL_COUNT, PROPOSALS, InputSpec, ModelCard, OutputSpec
from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.masks.box_masks import BoxMasks
from edgedet.proof.made_proposals import made_proposals

from .built_graph import DEFAULT_FRAME, BuiltGraph, card_of, graph_options
from .checkpoints.checkpoint import is_ultralytics
from .checkpoints.file import read_content
from .checkpoints.trained import TrainedDetector, load_trained, require_sizes
from .families import trained_family, yolox_network
from .families.base import TrainedFamily
from .foreign_source import from_foreign
from .options import ExportOptions
from .request_checks import require_label_mode
from .segmentation import source as segmentation
from .segmentation.trained import load_segmenter
from .training.settings import NOTHING_STATED


class Reference:
    """torchvision's own inference with ``model``: a BGR frame in, detections in its pixels out.

    ``graph_from`` makes the graph that goes with it anew, for another score threshold.
    """

    def __init__(self, model: nn.Module, card: ModelCard, graph_from: Callable[[float], onnx.ModelProto]) -> None:
        self.graph_from = graph_from
        self.module = model
        from .torch_runtime import TorchRuntime

        keypoints = card.output.keypoints
        output = OutputSpec(
            "detections",
            0.0,
            card.output.iou_threshold,
            card.output.max_detections,
            masks=card.output.masks,
            keypoints=None if keypoints is None else replace(keypoints, form="points"),
        )
        self._skeleton = None if keypoints is None else keypoints.skeleton
        self._runtime = TorchRuntime(
            replace(card, input=InputSpec(height=0, width=0), output=output), model.eval(), "cpu"
        )
        self._names = card.names
        self._proposals = card.input.proposals
        self._settings = trained_family(card.family).final_nms(model)

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """What torchvision finds; where proposals come from outside, made ones."""
        inputs: dict[str, NDArray[Any]] = {"images": frame[None]}
        if self._proposals is not None:
            boxes = made_proposals(frame, self._proposals)
            inputs |= {PROPOSALS: boxes[None], PROPOSAL_COUNT: np.array([len(boxes)], np.int32)}
        found = self._runtime.run(inputs)
        count = int(found["count"][0])
        size = (frame.shape[0], frame.shape[1])
        boxes, scores, labels = (found[name][0, :count] for name in ("boxes", "scores", "labels"))
        masks = BoxMasks(found["masks"][0, :count], boxes, size) if "masks" in found else None
        return Detections(
            boxes,
            scores,
            labels,
            names=self._names,
            frame_size=size,
            masks=masks,
            keypoints=found["keypoints"][0, :count] if "keypoints" in found else None,
            skeleton=self._skeleton,
        )

    def candidates(self, frame: NDArray[np.uint8]) -> Detections:
        """What it would find were there no score threshold."""
        threshold, self._settings.score_thresh = self._settings.score_thresh, 0.0
        try:
            return self(frame)
        finally:
            self._settings.score_thresh = threshold


def from_checkpoint(source: Path, options: ExportOptions, *, frame_size: tuple[int, int] | None) -> BuiltGraph:
    """Build the float graph of a checkpoint; see :func:`~edgedet.export.sources.build_graph`."""
    content = read_content(source, trust=options.trust)
    if is_ultralytics(content):
        from .ultralytics import to_foreign

        del content
        foreign, size = to_foreign(source, imgsz=options.imgsz, batch=options.batch)
        built = from_foreign(foreign, source, options)
        card = replace(built.card, provenance=built.card.provenance | {"input_size": size})
        return replace(built, card=card, notes=(f"input size {size}", *built.notes))
    tensors = yolox_network.tensors_of(content)
    if tensors is not None:
        return _from_yolox(tensors, source, options)
    segmenter = load_segmenter(
        source,
        content=content,
        arch=options.arch,
        classes=options.classes,
        given=options.detector or NOTHING_STATED,
    )
    if segmenter is not None:
        made = segmentation.build(segmenter, options, frame_size or DEFAULT_FRAME, asked=frame_size is not None)
        return BuiltGraph(made.model, made.card, made.reference, made.notes, made.assumed, segmenter.module)
    require_label_mode(options, None, source)
    return _from_trained(trained_as_told(source, content, options), options, frame_size or DEFAULT_FRAME)


def trained_as_told(source: Path, content: Any, options: ExportOptions) -> TrainedDetector:
    """The detector in an unpickled checkpoint, with what the options say of it; see :func:`load_trained`."""
    return load_trained(
        source,
        content=content,
        arch=options.arch,
        classes=options.classes,
        given=options.detector or NOTHING_STATED,
    )


def _from_trained(trained: TrainedDetector, options: ExportOptions, frame_size: tuple[int, int]) -> BuiltGraph:
    family, checkpoint = trained_family(trained.family), trained.checkpoint
    if options.family is not None:
        raise UsageError(f"--family {options.family} is for foreign ONNX files; {checkpoint.path} is a checkpoint")
    if options.outputs is not None:
        raise UsageError(f"--outputs is for foreign ONNX files; {checkpoint.path} is a checkpoint")
    model: Any = trained.module
    if options.outside_proposals is not None:
        _require_second_stage(model, family, checkpoint.path)
    family.override(model, options.imgsz, options.proposals)
    require_sizes(model, checkpoint.path)
    if family.shaped_by_frames and options.imgsz is not None and options.imgsz[0] != options.imgsz[1]:
        frame_size = (options.imgsz[1], options.imgsz[0])
    # The framework is told the same, so that it can be compared with.
    settings = family.final_nms(model)
    for name, value in (
        ("score_thresh", options.conf),
        ("nms_thresh", options.iou),
        ("detections_per_img", options.max_detections),
    ):
        if value is not None:
            setattr(settings, name, value)
    exported = family.export(model, replace(graph_options(options), skeleton=trained.skeleton), frame_size)
    card = card_of(exported, family.name, checkpoint.arch, checkpoint.names)
    notes = trained.notes
    kept = [words for option, words in trained.selection if not option or getattr(options, option) is None]
    if kept:
        notes = (*notes, f"thresholds and counts as the file has them: {', '.join(kept)}")
    if checkpoint.notes:
        card = replace(card, provenance=card.provenance | {"weights": list(checkpoint.notes)})
    if family.shaped_by_frames and options.imgsz is None:
        notes = (
            *notes,
            f"made for frames shaped like {frame_size[0]}x{frame_size[1]}; others are shrunk and lose detail: "
            "say what your camera gives with --frame-size WIDTHxHEIGHT",
        )

    def graph_from(conf: float) -> onnx.ModelProto:
        return family.export(model, graph_options(replace(options, conf=conf)), frame_size).model

    assumed = trained.assumed
    if options.imgsz is not None and (trained.stated.input_size or trained.stated.min_size) is not None:
        notes = (*notes, "--imgsz takes the place of the size the detector was trained at")
    if options.imgsz is not None:
        assumed = tuple(assumption for assumption in assumed if assumption.what != "input size")
    return BuiltGraph(exported.model, card, Reference(model, card, graph_from), notes, assumed, model)


def _require_second_stage(model: nn.Module, family: TrainedFamily, path: Path) -> None:
    """One that proposals from outside can be given to, and whose results the framework's own are compared with."""
    from .torch_runtime import keypoints_of, mask_shape

    if not family.two_stages:
        raise UsageError(
            f"--outside-proposals is for Faster R-CNN; {path} holds a one-stage detector, which has no region "
            "proposals"
        )
    for kind, what, there in (
        ("Mask", "masks", mask_shape(model)),
        ("Keypoint", "keypoints", keypoints_of(model)),
    ):
        if there is not None:
            raise UsageError(
                f"--outside-proposals is for Faster R-CNN; {path} holds a {kind} R-CNN, whose {what} nothing would "
                "be held against: leave the option out"
            )


def _from_yolox(tensors: Mapping[str, Tensor], source: Path, options: ExportOptions) -> BuiltGraph:
    if options.family not in (None, "yolox"):
        raise UsageError(f"--family is {options.family}, but {source} has the tensors of YOLOX; leave it out")
    foreign, assumed = yolox_network.to_foreign(tensors, source, imgsz=options.imgsz, batch=options.batch)
    built = from_foreign(foreign, source, replace(options, family="yolox"))
    return replace(built, assumed=(*assumed, *built.assumed))

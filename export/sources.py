"""From whatever a user has (checkpoint, foreign ONNX, a graph of ours) to a float graph and its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor, nn

from edgedet.artifacts.card import (
    METADATA_KEY,
    PROPOSAL_COUNT,
    PROPOSALS,
    Family,
    InputSpec,
    ModelCard,
    OutputSpec,
)
from edgedet.artifacts.class_lists import LISTS, class_list
from edgedet.artifacts.file_signs import START, is_safetensors
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, CheckpointError, UsageError
from edgedet.masks import BoxMasks
from edgedet.proof.made_proposals import made_proposals

from .checkpoints.checkpoint import is_ultralytics
from .checkpoints.class_names import renamed_note, require_same_order
from .checkpoints.file import read_content
from .checkpoints.trained import TrainedDetector, load_trained, require_sizes
from .darknet import source as darknet
from .families import foreign_family, trained_family, yolo, yolox_network
from .families.base import Exported, ForeignFamily, FrameworkReference, GraphOptions, Pooling, TrainedFamily
from .families.proof import require_places
from .families.recognition import recognised_family
from .families.stated import stated_family, stated_tensors
from .for_cpu.interleaved import read_planes
from .for_cpu.winograd import remove_winograd
from .foreign import ForeignGraph, open_foreign, read_graph
from .options import ExportOptions
from .request import require_label_mode, require_unchanged
from .segmentation import source as segmentation
from .segmentation.reference import SegmentationReference
from .segmentation.trained import load_segmenter
from .training.assumptions import Assumption, assumptions_on
from .training.settings import NOTHING_STATED

POOLING: dict[str, Pooling] = {
    "cpu": "products",
    "tensorrt": "operator",
    "tensorrt-rtx": "plain",
    "ncnn": "operator",
}
"""How RoIAlign is written, by target."""
COCO = {"coco": "COCO's"}
COCO_OR_VOC = {**COCO, "voc": "Pascal VOC's"}
"""Lists that a number of classes makes likely, and whose they are: Darknet's own weights are of these two."""
DEFAULT_FRAME = (640, 480)
"""(width, height): 4:3, what most camera modules give."""


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


@dataclass(frozen=True)
class BuiltGraph:
    """A float graph, cleaned and shape-checked by nobody yet, and the card that goes with it.

    ``reference``: the framework's own inference, or why there is none to compare with. ``assumed``: what the
    source left unsaid. ``module``: the trained network with its normalisation layers, where the source is one.
    """

    model: onnx.ModelProto
    card: ModelCard
    reference: FrameworkReference | SegmentationReference | str
    notes: tuple[str, ...] = ()
    assumed: tuple[Assumption, ...] = ()
    module: nn.Module | None = None


def build_graph(source: Path, options: ExportOptions, *, frame_size: tuple[int, int] | None) -> BuiltGraph:
    """Build the float graph of ``source``.

    ``frame_size`` (width, height) shapes a Faster R-CNN's canvas; None is 4:3.

    Raises:
        CheckpointError, ArtifactError: a source that cannot be read or is of no known kind.
        UsageError: options the family has no use for.
        ExportError, MissingDependencyError: the framework's part failed, or is not there.
    """
    if source.suffix.lower() == darknet.SUFFIX:
        require_label_mode(options, None, source)
        return _from_darknet(source, options)
    for name in ("weights", "darknet", "resize"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for Darknet's .cfg files; {source} is none")
    if source.is_dir():
        require_label_mode(options, None, source)
        return _from_folder(source, options)
    if _is_onnx(source):
        model = read_graph(source)
        if any(entry.key == METADATA_KEY for entry in model.metadata_props):
            return _reopened(read_planes(remove_winograd(model)), source, options)
        return _from_foreign(_opened(source, options), source, options)
    content = read_content(source, trust=options.trust)
    if is_ultralytics(content):
        from .ultralytics import to_foreign

        del content
        foreign, size = to_foreign(source, imgsz=options.imgsz, batch=options.batch)
        built = _from_foreign(foreign, source, options)
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


def _opened(source: Path, options: ExportOptions) -> ForeignGraph:
    stated = stated_tensors(options.outputs) if options.outputs is not None else ()
    return open_foreign(source, imgsz=options.imgsz, batch=options.batch, family=options.family, outputs=stated)


def trained_as_told(source: Path, content: Any, options: ExportOptions) -> TrainedDetector:
    """The detector in an unpickled checkpoint, with what the options say of it; see :func:`load_trained`."""
    return load_trained(
        source,
        content=content,
        arch=options.arch,
        classes=options.classes,
        given=options.detector or NOTHING_STATED,
    )


def graph_options(options: ExportOptions) -> GraphOptions:
    """The part of the options that every family understands."""
    return GraphOptions(
        batch=options.batch,
        conf=options.conf,
        iou=options.iou,
        max_detections=options.max_detections,
        nms=options.nms,
        label_mode=options.label_mode,
        input_dtype=options.input_dtype,
        pooling=POOLING[options.target],
        outside_proposals=options.outside_proposals,
    )


def _is_onnx(source: Path) -> bool:
    """By name; a file of another name by its first bytes, as torch.save writes ZIP archives or pickles."""
    if source.suffix.lower() == ".onnx":
        return True
    if source.suffix.lower() in (".pt", ".pth", ".ckpt", ".bin", ".safetensors"):
        return False
    try:
        with source.open("rb") as file:
            start = file.read(START)
        # The first field of an ONNX file is a small number; so may be the length that safetensors begin with.
        return start[:1] == b"\x08" and not is_safetensors(start, source.stat().st_size)
    except OSError:
        return False


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
    card = _card(exported, family.name, checkpoint.arch, checkpoint.names)
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


def _refuse_what_others_need(options: ExportOptions, what: str) -> None:
    """Options of a source that does not say such things itself; ``what`` this one is, in words."""
    for name, value, of in (
        ("arch", options.arch, "checkpoints"),
        ("family", options.family, "foreign ONNX files"),
        ("outputs", options.outputs, "foreign ONNX files"),
        ("proposals", options.proposals, "Faster R-CNN"),
        ("outside-proposals", options.outside_proposals, "Faster R-CNN"),
        ("detector", options.detector, "checkpoints"),
    ):
        if value is not None:
            raise UsageError(f"--{name} is for {of}; {what}")


def _from_folder(source: Path, options: ExportOptions) -> BuiltGraph:
    """A folder that transformers saved a detector into."""
    from .hugging_face import graph as hugging_face

    _refuse_what_others_need(options, f"{source} is a folder of Hugging Face transformers")
    loaded = hugging_face.load(source, trust=options.trust, classes=options.classes, imgsz=options.imgsz)
    exported, reference = hugging_face.export(loaded, graph_options(options))
    card = _card(exported, "detr", loaded.folder.architecture, loaded.names)
    card = replace(card, provenance=card.provenance | hugging_face.provenance(loaded.folder))
    labels: Any = loaded.model.config.id2label
    notes = renamed_note(loaded.names, [str(labels[column]) for column in loaded.classes])
    return BuiltGraph(exported.model, card, reference, notes, loaded.assumed, loaded.model)


def _from_darknet(source: Path, options: ExportOptions) -> BuiltGraph:
    _refuse_what_others_need(options, f"{source} is Darknet's, whose .cfg says all of it")
    read = darknet.open_darknet(
        source,
        weights=None if options.weights is None else Path(options.weights),
        imgsz=options.imgsz,
        fork=options.darknet,
        resize=options.resize,
    )
    require_same_order(options.classes or (), read.names, source)
    names, assumed = options.classes or read.names, read.assumed
    renamed = renamed_note(names, read.names)
    if not names:
        names, invented = _invented_names(read.classes, COCO_OR_VOC)
        assumed = (*assumed, invented)
    elif len(names) != read.classes:
        raise CheckpointError(
            f"{source} has {read.classes} classes, but {len(names)} names were given; one name per class"
        )
    exported = darknet.export(read, graph_options(options))
    return BuiltGraph(
        exported.model,
        _card(exported, "darknet", source.stem, names),
        "Darknet is a program of its own; benchmarks/darknet_parity.py compares with it",
        notes=(*read.notes, *renamed),
        assumed=assumed,
    )


def _from_foreign(foreign: ForeignGraph, source: Path, options: ExportOptions) -> BuiltGraph:
    if options.proposals is not None:
        raise UsageError("--proposals is for Faster R-CNN; one-stage detectors have no region proposals")
    if options.outside_proposals is not None:
        raise UsageError(
            f"--outside-proposals is for checkpoints of Faster R-CNN, whose second stage stands apart; {source} is "
            "an ONNX file"
        )
    for name, value in (("arch", options.arch), ("detector", options.detector)):
        if value is not None:
            raise UsageError(f"--{name} is for checkpoints; {source} is an ONNX file")
    if options.batch != foreign.batch:
        raise UsageError(
            f"{source} was exported for batch {foreign.batch}, --batch asks for {options.batch}; the batch of a "
            "foreign graph cannot be changed: export it anew from its training framework"
        )
    require_same_order(options.classes or (), yolo.class_names(foreign), source)
    names = options.classes or yolo.class_names(foreign)
    renamed = renamed_note(names, yolo.class_names(foreign))
    family, why = _foreign_family(foreign, options, names)
    family.require_inner_nms(foreign)
    asked = replace(graph_options(options), names=names)
    if options.family is not None and not yolo.is_known(foreign):
        require_places(family, foreign, replace(asked, iou=None), len(names) or None)
    found = family.export(foreign, asked, len(names) or None)
    require_label_mode(options, found.exported.output, source)
    assumed = found.assumed
    names = found.names or names
    if not names:
        names, invented = _invented_names(found.classes)
        assumed = (*assumed, invented)
    architecture = (foreign.metadata.get("description") or found.architecture).strip()
    card = _card(found.exported, found.family, architecture, names)
    said: dict[str, Any] = {"nms": "none"} if found.chosen else {}
    licence = foreign.metadata.get("license")
    if licence:
        said |= {"licence": licence, "author": foreign.metadata.get("author", "")}
    return BuiltGraph(
        found.exported.model,
        replace(card, provenance=card.provenance | said),
        "an ONNX graph is all that comes from it; edgedet eval judges the result on labelled images",
        notes=(*why, *found.notes, *renamed),
        assumed=assumed,
    )


def _from_yolox(tensors: Mapping[str, Tensor], source: Path, options: ExportOptions) -> BuiltGraph:
    if options.family not in (None, "yolox"):
        raise UsageError(f"--family is {options.family}, but {source} has the tensors of YOLOX; leave it out")
    foreign, assumed = yolox_network.to_foreign(tensors, source, imgsz=options.imgsz, batch=options.batch)
    built = _from_foreign(foreign, source, replace(options, family="yolox"))
    return replace(built, assumed=(*assumed, *built.assumed))


def _foreign_family(
    foreign: ForeignGraph, options: ExportOptions, names: tuple[str, ...]
) -> tuple[ForeignFamily, tuple[str, ...]]:
    """The family of a foreign graph, and, where nobody said it, by what it was recognised."""
    if options.outputs is not None:
        return stated_family(options.outputs), ()
    if yolo.is_known(foreign):
        family = foreign_family(options.family or yolo.YOLO.name)
        if not family.with_metadata:
            raise UsageError(
                f"{foreign.path} carries the metadata of Ultralytics or YOLOv5, --family says {family.name}; leave "
                "--family out"
            )
        return family, ()
    if options.family is not None:
        return foreign_family(options.family), ()
    return recognised_family(foreign, names)


def _invented_names(classes: int, usual: Mapping[str, str] = COCO) -> tuple[tuple[str, ...], Assumption]:
    for name, whose in usual.items():
        if classes == LISTS[name]:
            said = f"{whose}, because there are {classes} classes"
            return class_list(name), Assumption("class names", said, "--classes")
    names = tuple(f"class_{index}" for index in range(classes))
    return names, Assumption("class names", f"invented ({names[0]} to {names[-1]})", "--classes")


def _reopened(model: onnx.ModelProto, source: Path, options: ExportOptions) -> BuiltGraph:
    """A float graph edgedet made before: only its precision may still change."""
    card = ModelCard.from_json(next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY))
    if card.precision != "fp32":
        raise ArtifactError(f"{source} is already {card.precision}; start from the fp32 graph or the checkpoint")
    require_unchanged(source, card, options)
    if card.task == "segmentation":
        segmentation.require_for_segmenters(options, source)
    place = (
        "runtime"
        if card.task == "segmentation" or card.output.format == "candidates"
        else card.provenance.get("nms", "graph")
    )
    if place == "graph" and options.nms == "runtime":
        raise UsageError(f"{source} has its NMS in the graph; for --nms runtime export the checkpoint again")
    require_same_order(options.classes or (), card.names, source)
    names = options.classes or card.names
    if len(names) != len(card.names):
        raise CheckpointError(f"{source} has {len(card.names)} classes, but {len(names)} names were given")
    return BuiltGraph(
        model,
        replace(card, names=names),
        f"{source.name} was when it was made; edgedet parity compares this graph with it, on frames of your own",
        notes=renamed_note(names, card.names),
        assumed=assumptions_on(card),
    )


def _card(exported: Exported, family: Family, architecture: str, names: tuple[str, ...]) -> ModelCard:
    return ModelCard(
        family=family,
        architecture=architecture,
        names=names,
        input=exported.input,
        resize=exported.resize,
        output=exported.output,
        provenance=dict(exported.said),
    )

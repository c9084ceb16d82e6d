"""From whatever a user has (checkpoint, foreign ONNX, a graph of ours) to a float graph and its card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from edgedet.card import METADATA_KEY, Family, InputSpec, ModelCard, OutputSpec
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, CheckpointError, UsageError
from edgedet.export import faster_rcnn, ssd, yolo, yolox
from edgedet.export.architectures import ARCHITECTURES, build
from edgedet.export.assumptions import Assumption
from edgedet.export.checkpoint import Checkpoint, interpret, is_ultralytics, read_pickle
from edgedet.export.family import Exported, FrameworkReference, GraphOptions
from edgedet.export.foreign import ForeignGraph, open_foreign, read_graph
from edgedet.export.interleaved import read_planes
from edgedet.export.options import ExportOptions
from edgedet.export.winograd import remove_winograd

DEFAULT_FRAME = (640, 480)
"""(width, height): 4:3, what most camera modules give."""


class Reference:
    """torchvision's own inference with ``model``: a BGR frame in, detections in its pixels out.

    ``graph_from`` makes the graph that goes with it anew, for another score threshold.
    """

    def __init__(self, model: nn.Module, card: ModelCard, graph_from: Callable[[float], onnx.ModelProto]) -> None:
        self.graph_from = graph_from
        from edgedet.runtimes.torch import TorchRuntime

        output = OutputSpec("detections", 0.0, card.output.iou_threshold, card.output.max_detections)
        self._runtime = TorchRuntime(
            replace(card, input=InputSpec(height=0, width=0), output=output), model.eval(), "cpu"
        )
        self._names = card.names
        self._settings = final_nms(model)

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """What torchvision finds."""
        found = self._runtime.run({"images": frame[None]})
        count = int(found["count"][0])
        size = (frame.shape[0], frame.shape[1])
        boxes, scores, labels = (found[name][0, :count] for name in ("boxes", "scores", "labels"))
        return Detections(boxes, scores, labels, names=self._names, frame_size=size)

    def candidates(self, frame: NDArray[np.uint8]) -> Detections:
        """What it would find were there no score threshold."""
        threshold, self._settings.score_thresh = self._settings.score_thresh, 0.0
        try:
            return self(frame)
        finally:
            self._settings.score_thresh = threshold


def final_nms(model: nn.Module) -> Any:
    """The part of a torchvision detector that holds ``score_thresh``, ``nms_thresh`` and ``detections_per_img``."""
    return getattr(model, "roi_heads", model)


@dataclass(frozen=True)
class BuiltGraph:
    """A float graph, cleaned and shape-checked by nobody yet, and the card that goes with it.

    ``reference``: the framework's own inference, or why there is none to compare with. ``assumed``: what the
    source left unsaid.
    """

    model: onnx.ModelProto
    card: ModelCard
    reference: FrameworkReference | str
    notes: tuple[str, ...] = ()
    assumed: tuple[Assumption, ...] = ()


def build_graph(source: Path, options: ExportOptions, *, frame_size: tuple[int, int] | None) -> BuiltGraph:
    """Build the float graph of ``source``.

    ``frame_size`` (width, height) shapes a Faster R-CNN's canvas; None is 4:3.

    Raises:
        CheckpointError, ArtifactError: a source that cannot be read or is of no known kind.
        UsageError: options the family has no use for.
        ExportError, MissingDependencyError: the framework's part failed, or is not there.
    """
    if source.is_dir():
        return _from_folder(source, options)
    if _is_onnx(source):
        model = read_graph(source)
        if any(entry.key == METADATA_KEY for entry in model.metadata_props):
            return _reopened(read_planes(remove_winograd(model)), source, options)
        return _from_foreign(open_foreign(source, imgsz=options.imgsz), source, options)
    content = read_pickle(source, trust=options.trust)
    if is_ultralytics(content):
        from edgedet.export.ultralytics import to_foreign

        del content
        foreign = to_foreign(source, imgsz=options.imgsz, batch=options.batch)
        return _from_foreign(foreign, source, options)
    checkpoint = interpret(source, content, arch=options.arch, classes=options.classes)
    return _from_checkpoint(checkpoint, options, frame_size or DEFAULT_FRAME)


def graph_options(options: ExportOptions) -> GraphOptions:
    """The part of the options that every family understands."""
    return GraphOptions(
        batch=options.batch,
        conf=options.conf,
        iou=options.iou,
        max_detections=options.max_detections,
        nms=options.nms,
        input_dtype=options.input_dtype,
        pooling="products" if options.target == "cpu" else "operator",
    )


def _is_onnx(source: Path) -> bool:
    """By name; a file of another name by its first bytes, since torch.save writes zip archives or pickles."""
    if source.suffix.lower() == ".onnx":
        return True
    if source.suffix.lower() in (".pt", ".pth", ".ckpt", ".bin"):
        return False
    try:
        with source.open("rb") as file:
            return file.read(1) == b"\x08"
    except OSError:
        return False


def _from_checkpoint(checkpoint: Checkpoint, options: ExportOptions, frame_size: tuple[int, int]) -> BuiltGraph:
    family = ARCHITECTURES[checkpoint.arch].family
    if options.family is not None:
        raise UsageError(f"--family {options.family} is for foreign ONNX files; {checkpoint.path} is a checkpoint")
    overrides = OVERRIDES[family](options)
    model: Any = build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict, **overrides)
    # The framework is told the same, so that it can be compared with.
    settings = final_nms(model)
    for name, value in (
        ("score_thresh", options.conf),
        ("nms_thresh", options.iou),
        ("detections_per_img", options.max_detections),
    ):
        if value is not None:
            setattr(settings, name, value)
    exported = EXPORTERS[family](model, options, frame_size)
    card = _card(exported, family, checkpoint.arch, checkpoint.names)
    notes: tuple[str, ...] = ()
    if family == "faster_rcnn" and options.imgsz is None:
        notes = (
            f"made for frames shaped like {frame_size[0]}x{frame_size[1]}; others are shrunk and lose detail: "
            "say what your camera gives with --frame-size WIDTHxHEIGHT",
        )

    def graph_from(conf: float) -> onnx.ModelProto:
        return EXPORTERS[family](model, replace(options, conf=conf), frame_size).model

    return BuiltGraph(exported.model, card, Reference(model, card, graph_from), notes)


def _from_folder(source: Path, options: ExportOptions) -> BuiltGraph:
    """A folder that transformers saved a detector into."""
    from edgedet.export import hugging_face

    for name, value, of in (
        ("arch", options.arch, "checkpoints"),
        ("family", options.family, "foreign ONNX files"),
        ("proposals", options.proposals, "Faster R-CNN"),
    ):
        if value is not None:
            raise UsageError(f"--{name} is for {of}; {source} is a folder of Hugging Face transformers")
    loaded = hugging_face.load(source, trust=options.trust, classes=options.classes, imgsz=options.imgsz)
    exported, reference = hugging_face.export(loaded, graph_options(options))
    card = _card(exported, "detr", loaded.folder.architecture, loaded.names)
    card = replace(card, provenance=hugging_face.provenance(loaded.folder))
    return BuiltGraph(exported.model, card, reference, assumed=loaded.assumed)


def _export_ssd(model: nn.Module, options: ExportOptions, frame_size: tuple[int, int]) -> Exported:
    return ssd.export(model, graph_options(options))


def _export_faster_rcnn(model: nn.Module, options: ExportOptions, frame_size: tuple[int, int]) -> Exported:
    if options.imgsz is not None and options.imgsz[0] != options.imgsz[1]:
        frame_size = (options.imgsz[1], options.imgsz[0])
    return faster_rcnn.export(model, graph_options(options), frame_size=frame_size)


def _override_ssd(options: ExportOptions) -> dict[str, Any]:
    if options.proposals is not None:
        raise UsageError("--proposals is for Faster R-CNN; SSD has no region proposals")
    return {} if options.imgsz is None else {"size": (options.imgsz[1], options.imgsz[0])}


def _override_faster_rcnn(options: ExportOptions) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if options.proposals is not None:
        overrides["rpn_post_nms_top_n_test"] = options.proposals
    if options.imgsz is not None:
        overrides["min_size"], overrides["max_size"] = min(options.imgsz), max(options.imgsz)
        if options.imgsz[0] == options.imgsz[1]:
            overrides["max_size"] = options.imgsz[0] * 2
    return overrides


EXPORTERS: dict[str, Callable[[nn.Module, ExportOptions, tuple[int, int]], Exported]] = {
    "ssd": _export_ssd,
    "faster_rcnn": _export_faster_rcnn,
}
OVERRIDES: dict[str, Callable[[ExportOptions], dict[str, Any]]] = {
    "ssd": _override_ssd,
    "faster_rcnn": _override_faster_rcnn,
}


def _from_foreign(foreign: ForeignGraph, source: Path, options: ExportOptions) -> BuiltGraph:
    if options.proposals is not None:
        raise UsageError("--proposals is for Faster R-CNN; one-stage detectors have no region proposals")
    if options.arch is not None:
        raise UsageError(f"--arch is for checkpoints; {source} is an ONNX file")
    if options.batch != foreign.batch:
        raise UsageError(
            f"{source} was exported for batch {foreign.batch}, --batch asks for {options.batch}; the batch of a "
            "foreign graph cannot be changed: export it anew from its training framework"
        )
    family = options.family or ("yolo" if yolo.is_ultralytics(foreign) else None)
    if family is None:
        likely = "yolox" if yolox.num_classes(foreign) else "yolo" if yolo.num_classes(foreign) else None
        hint = f"it looks like --family {likely}" if likely else "its outputs are of no known family"
        raise UsageError(f"{source} does not say what its outputs mean; add --family yolox or yolo ({hint})")
    exporter = {"yolo": yolo, "yolox": yolox}[family]
    classes = exporter.num_classes(foreign)
    names = options.classes or yolo.class_names(foreign)
    if classes is not None and names and len(names) != classes:
        raise CheckpointError(
            f"{source} has {classes} classes, but {len(names)} names were given; one name per class"
        )
    if not names and classes is not None:
        names = coco80_names() if classes == 80 else tuple(f"class_{index}" for index in range(classes))
    exported = exporter.export(foreign, graph_options(options))
    architecture = foreign.metadata.get("description", "") or family
    card = _card(exported, family, architecture.strip(), names)
    licence = foreign.metadata.get("license")
    if licence:
        card = replace(card, provenance={"licence": licence, "author": foreign.metadata.get("author", "")})
    return BuiltGraph(
        exported.model,
        card,
        "an ONNX graph is all that comes from it; edgedet eval judges the result on labelled images",
    )


def _reopened(model: onnx.ModelProto, source: Path, options: ExportOptions) -> BuiltGraph:
    """A float graph edgedet made before: only its precision may still change."""
    card = ModelCard.from_json(next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY))
    if card.precision != "fp32":
        raise ArtifactError(f"{source} is already {card.precision}; start from the fp32 graph or the checkpoint")
    fixed = {
        "arch": options.arch,
        "family": options.family,
        "imgsz": options.imgsz,
        "frame-size": options.frame_size,
        "proposals": options.proposals,
        "conf": options.conf,
        "iou": options.iou,
        "max-detections": options.max_detections,
        "input-dtype": options.input_dtype,
    }
    asked = [f"--{name}" for name, value in fixed.items() if value is not None]
    if asked:
        raise UsageError(
            f"{source} is already a graph of edgedet's, in which {', '.join(asked)} can no longer be changed; "
            "export the checkpoint again"
        )
    if options.batch not in (1, card.input.batch):
        raise UsageError(f"{source} was exported for batch {card.input.batch}; export the checkpoint again")
    place = "runtime" if card.output.format == "candidates" else card.provenance.get("nms", "graph")
    if place == "graph" and options.nms == "runtime":
        raise UsageError(f"{source} has its NMS in the graph; for --nms runtime export the checkpoint again")
    names = options.classes or card.names
    if len(names) != len(card.names):
        raise CheckpointError(f"{source} has {len(card.names)} classes, but {len(names)} names were given")
    return BuiltGraph(
        model,
        replace(card, names=names),
        f"{source.name} was when it was made; edgedet parity compares this graph with it, on frames of your own",
    )


def _card(exported: Exported, family: Family, architecture: str, names: tuple[str, ...]) -> ModelCard:
    return ModelCard(
        family=family,
        architecture=architecture,
        names=names,
        input=exported.input,
        resize=exported.resize,
        output=exported.output,
    )


def coco80_names() -> tuple[str, ...]:
    """The 80 COCO classes in the order one-stage detectors number them."""
    from edgedet.export.checkpoint import coco_names

    # Ten of COCO's 90 ids were never given to anything.
    return tuple(name for name in coco_names() if name != "N/A")

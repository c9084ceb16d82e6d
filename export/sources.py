"""From whatever a user has (checkpoint, foreign ONNX, a graph of ours) to a float graph and its card.

PyTorch is imported only for what needs it: checkpoints, and folders of Hugging Face transformers. It takes seconds,
and hundreds of megabytes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.artifacts.file_signs import START, is_safetensors
from edgedet.errors import ArtifactError, CheckpointError, UsageError

from .built_graph import COCO, BuiltGraph, card_of, graph_options, invented_names
from .checkpoints.class_names import renamed_note, require_same_order
from .darknet import source as darknet
from .families.stated_outputs import stated_tensors
from .for_cpu.interleaved import read_planes
from .for_cpu.winograd import remove_winograd
from .foreign import ForeignGraph, open_foreign, read_graph
from .foreign_source import from_foreign
from .options import ExportOptions, Progress, silent
from .request_checks import require_label_mode, require_unchanged
from .segmentation.request_checks import require_for_segmenters
from .training.assumptions import assumptions_on

LOADING, BUILDING = "loading PyTorch", "building the graph"
"""What is being done, in words."""
COCO_OR_VOC = {**COCO, "voc": "Pascal VOC's"}
"""Lists that a number of classes makes likely, and whose they are: Darknet's own weights are of these two."""


def build_graph(
    source: Path, options: ExportOptions, *, frame_size: tuple[int, int] | None, progress: Progress = silent
) -> BuiltGraph:
    """Build the float graph of ``source``.

    ``frame_size`` (width, height) shapes a Faster R-CNN's canvas; None is 4:3. ``progress``: called with (what,
    done, of).

    Raises:
        CheckpointError, ArtifactError: a source that cannot be read or is of no known kind.
        UsageError: options the family has no use for.
        ExportError, MissingDependencyError: the framework's part failed, or is not there.
    """
    progress(BUILDING, 0, 0)
    if source.suffix.lower() == darknet.SUFFIX:
        require_label_mode(options, None, source)
        return _from_darknet(source, options)
    for name in ("weights", "darknet", "resize"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for Darknet's .cfg files; {source} is none")
    if source.is_dir():
        require_label_mode(options, None, source)
        return _from_folder(source, options, progress)
    if _is_onnx(source):
        model = read_graph(source)
        if any(entry.key == METADATA_KEY for entry in model.metadata_props):
            return _reopened(read_planes(remove_winograd(model)), source, options)
        return from_foreign(_opened(source, options), source, options)
    progress(LOADING, 0, 0)
    from .checkpoint_source import from_checkpoint

    progress(BUILDING, 0, 0)
    return from_checkpoint(source, options, frame_size=frame_size)


def _opened(source: Path, options: ExportOptions) -> ForeignGraph:
    stated = stated_tensors(options.outputs) if options.outputs is not None else ()
    return open_foreign(source, imgsz=options.imgsz, batch=options.batch, family=options.family, outputs=stated)


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


def _from_folder(source: Path, options: ExportOptions, progress: Progress) -> BuiltGraph:
    """A folder that transformers saved a detector into."""
    _refuse_what_others_need(options, f"{source} is a folder of Hugging Face transformers")
    progress(LOADING, 0, 0)
    from .hugging_face import graph as hugging_face

    progress(BUILDING, 0, 0)
    loaded = hugging_face.load(source, trust=options.trust, classes=options.classes, imgsz=options.imgsz)
    exported, reference = hugging_face.export(loaded, graph_options(options))
    card = card_of(exported, "detr", loaded.folder.architecture, loaded.names)
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
        names, invented = invented_names(read.classes, COCO_OR_VOC)
        assumed = (*assumed, invented)
    elif len(names) != read.classes:
        raise CheckpointError(
            f"{source} has {read.classes} classes, but {len(names)} names were given; one name per class"
        )
    exported = darknet.export(read, graph_options(options))
    return BuiltGraph(
        exported.model,
        card_of(exported, "darknet", source.stem, names),
        "Darknet is a program of its own; benchmarks/darknet_parity.py compares with it",
        notes=(*read.notes, *renamed),
        assumed=assumed,
    )


def _reopened(model: onnx.ModelProto, source: Path, options: ExportOptions) -> BuiltGraph:
    """A float graph edgedet made before: only its precision may still change."""
    card = ModelCard.from_json(next(entry.value for entry in model.metadata_props if entry.key == METADATA_KEY))
    if card.precision != "fp32":
        raise ArtifactError(f"{source} is already {card.precision}; start from the fp32 graph or the checkpoint")
    require_unchanged(source, card, options)
    if card.task == "segmentation":
        require_for_segmenters(options, source)
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

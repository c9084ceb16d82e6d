"""YOLO heads that give decoded boxes (Ultralytics, YOLOv5, YOLOv7), and RT-DETR from Ultralytics' exporter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.artifacts.foreign_cards import (
    CENTRED,
    RTDETR_HEAD,
    is_ultralytics,
    is_yolov5,
)
from edgedet.errors import ArtifactError, CheckpointError, UsageError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.outputs.plausible_values import anchor_places

from ..foreign import ForeignGraph, keep_outputs, literal
from ..training.assumptions import Assumption
from .base import Exported, ForeignExport, ForeignFamily, GraphOptions
from .end_to_end_trial import judged_chosen
from .head_layout import Layout, add_chosen, decode_head, layouts_of
from .network_input import add_network, picture_spec
from .nms import Chosen, add_all_labels_nms, add_best_label_nms, keep_best
from .trial import judged, observe
from .yolo_framework_defaults import CLASS_STEP, Thresholds
from .yolo_tasks import BOXES_ALONE, Task, task_of

METADATA = "metadata such as Ultralytics' exporter writes"
UNSAID = (
    Assumption(
        "pixels",
        "RGB, 0 to 1, as Ultralytics, YOLOv5, YOLOv6 and YOLOv7 train",
        METADATA,
    ),
    Assumption(
        "resizing",
        "letterbox, the picture in the middle, padded with 114",
        METADATA,
    ),
)
"""What a file without metadata does not say, and all of these do alike."""


def unsaid(foreign: ForeignGraph) -> tuple[Assumption, ...]:
    """What a file without metadata leaves open: what it does with its pixels itself is said."""
    if foreign.pixel_settings is None:
        return UNSAID
    return (Assumption("colours", "RGB, as Ultralytics, YOLOv5, YOLOv6 and YOLOv7 train", METADATA), *UNSAID[1:])


def is_known(foreign: ForeignGraph) -> bool:
    """Whether Ultralytics or YOLOv5 wrote the graph, by its metadata."""
    return isinstance(literal(foreign.metadata.get("names")), dict | list) and "stride" in foreign.metadata


def class_names(foreign: ForeignGraph) -> tuple[str, ...]:
    """The class names in the metadata, empty when there are none."""
    names = literal(foreign.metadata.get("names"))
    if isinstance(names, list | tuple):
        return tuple(map(str, names))
    return tuple(str(names[index]) for index in sorted(names)) if isinstance(names, dict) else ()


def find_layout(
    foreign: ForeignGraph, classes: int | None, *, yolov5: bool = False, task: Task = BOXES_ALONE
) -> tuple[str, Layout]:
    """The output with the boxes, and their form, where ``classes`` is known from names or metadata.

    ``task``: what it gives beside them.

    Raises:
        ArtifactError: no output of a known layout.
        CheckpointError: the outputs are of another number of classes.
        UsageError: the number of classes cannot be told.
    """
    if foreign.metadata.get("head") == RTDETR_HEAD and foreign.nms is None:
        return _rtdetr_layout(foreign, classes)
    if foreign.nms is not None and foreign.nms.joined:
        return joined_layout(foreign, classes)
    if foreign.nms is not None and not is_known(foreign):
        return _layout_before_nms(foreign, classes)
    for name, shape in foreign.outputs.items():
        count = _count_by_shape(shape, yolov5, task.further) if classes is None else classes
        if count is None:
            continue
        for layout in layouts_of(shape, count, task.further):
            if yolov5 and not layout.objectness:
                continue
            if layout.order == "ranked" and _are_anchors(foreign, shape, count):
                continue
            # Ultralytics' NMS takes corners, so that the head in front of it gives them.
            inner = foreign.nms is not None and is_ultralytics(foreign.metadata)
            return name, replace(layout, form="corners") if inner else layout
    shape = next(iter(foreign.outputs.values()))
    implied = _count_by_shape(shape, yolov5, task.further)
    if classes is not None and implied is not None:
        raise CheckpointError(
            f"{foreign.path} has {implied} classes, but {classes} names were given; one name per class"
        )
    if classes is None and len(shape) == 3 and shape[2] == 6 + task.further:
        raise UsageError(
            f"{foreign.path} gives class numbers without saying how many there are; add --classes NAMES"
        )
    wanted = (
        "[N, anchors, 5 + classes]" if yolov5 else "[N, 4 + classes, anchors], [N, anchors, 5 + classes] (YOLOv5)"
    )
    wanted += "" if yolov5 else " or [N, boxes, 6]"
    if task.further:
        wanted = task.wanted
    raise ArtifactError(f"{foreign.path}: outputs {foreign.outputs} are not of shape {wanted}")


def export(
    foreign: ForeignGraph, options: GraphOptions, *, classes: int | None, yolov5: bool = False, alone: bool = False
) -> tuple[Exported, Layout, tuple[Assumption, ...]]:
    """Put pixels in front of the graph, and what turns its numbers into detections behind it.

    ``classes``: by names or metadata. ``yolov5``: the user says so; ``alone``: and that objectness alone is the
    score of one class. Also returns what the output turned out to be,
    and what of it was said nowhere.

    Raises:
        ArtifactError: a head edgedet does not know, or numbers that contradict what the file says.
        CheckpointError: another number of classes than names.
        UsageError: options that a head without NMS has no use for.
    """
    task = BOXES_ALONE if yolov5 else task_of(foreign, options.names)
    name, layout = find_layout(foreign, classes, yolov5=yolov5, task=task)
    alone = alone or (foreign.nms is not None and foreign.nms.alone)
    layout = replace(layout, alone=alone and layout.objectness and layout.classes == 1)
    shape = foreign.outputs[name]
    seen = layout.without_further(observe(foreign, scale=1 / 255, colour="RGB")[name])
    if layout.order == "ranked":
        layout, assumed = judged_chosen(foreign, layout, seen, name)
    else:
        known = yolov5 or is_known(foreign)
        layout, assumed = judged(foreign, layout, seen, known=known, form_stated=_form_is_stated(foreign))
        assumed = (*assumed, *_of_shape(foreign, layout, yolov5))
    spec = picture_spec(foreign, options)
    thresholds = Thresholds.of(foreign, layout)
    output = task.described(thresholds.output(options))
    graph = GraphBuilder("yolo")
    kept = (name, *task.outputs)
    tensors = dict(zip(kept, add_network(graph, keep_outputs(foreign.model, kept), spec), strict=True))
    raw = tensors[name]
    size = {"height": foreign.height, "width": foreign.width}
    resize = CENTRED
    chosen: Chosen | None
    if layout.order == "ranked":
        if options.iou is not None:
            raise UsageError("--iou is for NMS, which this detector does without; leave it out")
        output = replace(output, format="detections")
        conf, most = output.score_threshold, output.max_detections
        chosen, further = add_chosen(graph, raw, layout, shape=shape, conf=conf, max_detections=most, **size)
        if foreign.metadata.get("head") == RTDETR_HEAD:
            resize = ResizeRule("stretch")
    else:
        boxes, scores, further = decode_head(graph, raw, layout, **size)
        chosen = add_candidates_or_nms(
            graph,
            boxes,
            scores,
            output,
            spec=spec,
            anchors=layout.anchors(shape),
            classes=layout.classes,
            nms=options.nms,
            class_step=thresholds.apart,
            candidates=thresholds.candidates,
        )
    task.add(graph, further, tensors, chosen, foreign=foreign, anchors=layout.anchors(shape))
    return Exported(graph.model(), spec, resize, output, task.said), layout, (*assumed, *task.assumed)


def joined_layout(foreign: ForeignGraph, classes: int | None) -> tuple[str, Layout]:
    """The output that boxes and class scores were joined in, as an NMS took them.

    Raises:
        CheckpointError: another number of classes than names.
    """
    ((name, shape),) = foreign.outputs.items()
    if classes is not None and classes != shape[2] - 4:
        raise CheckpointError(
            f"{foreign.path} has {shape[2] - 4} classes, but {classes} names were given; one name per class"
        )
    form = foreign.nms.form if foreign.nms else None
    return name, Layout("rows", shape[2] - 4, form=form or "corners")


def _layout_before_nms(foreign: ForeignGraph, classes: int | None) -> tuple[str, Layout]:
    """The head in front of an NMS that was cut out, as what stood between them treated its numbers.

    Raises:
        CheckpointError: another number of classes than names.
        UsageError: the number of classes cannot be told.
    """
    assert foreign.nms is not None
    ((name, shape),) = foreign.outputs.items()
    if shape[1] < shape[2]:
        layout = Layout("columns", shape[1] - 4)
    elif shape[2] == 6 and foreign.nms.alone:
        if classes is None:
            raise UsageError(
                f"{foreign.path} gives six numbers per box: two classes, or objectness and one; add --classes NAMES"
            )
        layout = Layout("rows", classes, objectness=classes == 1)
    else:
        objectness = not foreign.nms.alone
        layout = Layout("rows", shape[2] - (5 if objectness else 4), objectness=objectness)
    if classes is not None and classes != layout.classes:
        raise CheckpointError(
            f"{foreign.path} has {layout.classes} classes, but {classes} names were given; one name per class"
        )
    return name, layout


def _rtdetr_layout(foreign: ForeignGraph, classes: int | None) -> tuple[str, Layout]:
    name, shape = next(iter(foreign.outputs.items()))
    if len(foreign.outputs) == 1 and len(shape) == 3 and shape[2] == 6 and classes is not None:
        return name, Layout("ranked", classes, form="centre", unit="shares")
    raise ArtifactError(
        f"{foreign.path} has the head {RTDETR_HEAD}, which gives [N, boxes, 6], but its output is {list(shape)}; "
        "export it again with a current Ultralytics"
    )


def _form_is_stated(foreign: ForeignGraph) -> bool:
    """Whether the NMS that was inside says what the numbers of a box are."""
    inner = foreign.nms
    return inner is not None and (inner.form is not None or is_ultralytics(foreign.metadata))


def _of_shape(foreign: ForeignGraph, layout: Layout, yolov5: bool) -> tuple[Assumption, ...]:
    """What nothing but the number of columns and of names decided."""
    if layout.background is not None:
        return ()
    if layout.alone:
        return ()
    if layout.objectness:
        stated = (yolov5 and layout.classes > 1) or is_yolov5(foreign.metadata)
        value = "the fifth number of every box, times its class scores"
        value += " (YOLOv7 takes it alone where there is one class: --family yolov7)" if layout.classes == 1 else ""
    else:
        stated = is_ultralytics(foreign.metadata)
        value = "none, every number after a box is the score of a class"
    return () if stated else (Assumption("objectness", value, f"{METADATA}, or --family yolov5"),)


def _are_anchors(foreign: ForeignGraph, shape: tuple[int, ...], classes: int) -> bool:
    """Whether [N, A, 6] are all anchors with one class and objectness, or two classes, not a choice among them."""
    if classes > 2 or foreign.metadata.get("end2end") == "True":
        return False
    return anchor_places(foreign.height, foreign.width, shape[1]) is not None


def _count_by_shape(shape: tuple[int, ...], yolov5: bool, further: int = 0) -> int | None:
    """How many classes an output has where only its shape tells: there are more anchors than classes."""
    if len(shape) != 3:
        return None
    if further:
        return shape[1] - 4 - further if 4 + further < shape[1] < shape[2] else None
    if yolov5:
        return shape[2] - 5 if 5 < shape[2] < shape[1] else None
    return shape[1] - 4 if 4 < shape[1] < shape[2] else None


def add_candidates_or_nms(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    output: OutputSpec,
    *,
    spec: InputSpec,
    anchors: int,
    classes: int,
    nms: Literal["graph", "runtime"],
    class_step: float = CLASS_STEP,
    per_class: int | None = None,
    candidates: int | None = None,
) -> Chosen | None:
    """Finish a graph of ``boxes`` [N, A, 4] and ``scores`` [N, C, A] with the outputs ``output.format`` names.

    Returns what was chosen, None where that is left to the runtime.

    ``class_step``: pixels by which boxes of different classes are moved apart; with 0, all suppress each other.
    ``per_class``: how many of each class at most, where all labels of a box count (None: as many as of all).
    ``candidates``: how many boxes, by their best scores, enter NMS, wherever that is (None: all).

    Raises:
        UsageError: a runtime's NMS that would have to suppress across classes.
    """
    if nms == "runtime" and class_step == 0:
        raise UsageError(
            "this file's NMS lets all classes suppress each other, which edgedet does in the graph only; leave out "
            "--nms runtime (engines have their NMS at run time and would give more boxes)"
        )
    if candidates is not None and candidates < anchors:
        scores = keep_best(graph, scores, candidates)
    if nms == "runtime":
        rows = graph.op("Transpose", scores, name="candidates/scores", perm=[0, 2, 1])
        graph.output(boxes, "boxes", "float32", (spec.batch, anchors, 4))
        graph.output(rows, "scores", "float32", (spec.batch, anchors, classes))
        return None
    common: dict[str, Any] = {
        "batch": spec.batch,
        "anchors": anchors,
        "conf": output.score_threshold,
        "iou": output.iou_threshold,
        "max_detections": output.max_detections,
    }
    if output.label_mode == "best":
        return add_best_label_nms(graph, boxes, scores, class_step=class_step, **common)
    return add_all_labels_nms(graph, boxes, scores, classes=classes, per_class=per_class, **common)


def _export_foreign(
    foreign: ForeignGraph, options: GraphOptions, classes: int | None, *, yolov5: bool = False, alone: bool = False
) -> ForeignExport:
    exported, layout, assumed = export(foreign, options, classes=classes, yolov5=yolov5, alone=alone)
    if not is_known(foreign):
        assumed = (*unsaid(foreign), *assumed)
    return ForeignExport(
        exported,
        family="detr" if exported.resize.rule == "stretch" else "yolo",
        architecture="YOLOv5" if layout.objectness else "yolov5" if yolov5 else "yolo",
        classes=layout.classes,
        chosen=layout.order == "ranked",
        assumed=assumed,
        notes=foreign.notes,
    )


YOLO = ForeignFamily("yolo", _export_foreign, with_metadata=True, inner_nms="any")
YOLOV5 = ForeignFamily("yolov5", partial(_export_foreign, yolov5=True), with_metadata=True, inner_nms="any")
YOLOV7 = ForeignFamily(
    "yolov7", partial(_export_foreign, yolov5=True, alone=True), with_metadata=True, inner_nms="any"
)
"""As YOLOv5's, except that objectness alone is the score where there is one class: its training leaves the class
score at any value then."""

"""Model cards for artifacts other tools made, from the metadata they carry."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, Precision, ResizeRule
from edgedet.errors import ArtifactError

ULTRALYTICS_SCORE, ULTRALYTICS_IOU, ULTRALYTICS_DETECTIONS = 0.25, 0.7, 300
"""Defaults of Ultralytics' own predict call."""


YOLOV5_IOU, YOLOV5_DETECTIONS = 0.45, 1000
"""Defaults of YOLOv5's detect.py that differ from those."""

HEADS = (
    "Detect",
    "v10Detect",
    "WorldDetect",
    "YOLOEDetect",
    "Segment",
    "Segment26",
    "YOLOESegment",
    "YOLOESegment26",
    "Pose",
    "Pose26",
)
"""Ultralytics' heads of the YOLO kind; ``RTDETRDecoder`` is its other one for detection."""
DETECT, SEGMENT, POSE = "detect", "segment", "pose"
TASKS = (DETECT, SEGMENT, POSE)
"""Its tasks that an export reads."""
RTDETR_HEAD = "RTDETRDecoder"

CENTRED = ResizeRule("letterbox", pad=(114.0, 114.0, 114.0), place="center", rounding="round")
"""Resize rule of Ultralytics, YOLOv5 and YOLOv7."""


def is_ultralytics(metadata: Mapping[str, Any]) -> bool:
    """Whether ``metadata`` is what Ultralytics' exporter writes (strings in ONNX, JSON values in engines)."""
    return all(key in metadata for key in ("stride", "task", "names", "imgsz"))


def is_yolov5(metadata: Mapping[str, Any]) -> bool:
    """Whether ``metadata`` is what YOLOv5's export.py writes: two of the keys its successor took over."""
    return all(key in metadata for key in ("stride", "names")) and not is_ultralytics(metadata)


def require_detection(metadata: Mapping[str, Any], where: str) -> None:
    """Refuse a task that is not read, and a head that is not known, by the metadata of a file ``where``.

    Raises:
        ArtifactError: with the name of the task or the head.
    """
    task = metadata.get("task", DETECT)
    if task not in TASKS:
        raise ArtifactError(
            f"{where} is an Ultralytics model for {task!r}; edgedet runs models for {', '.join(TASKS)} and has "
            "no output for rotated boxes or image classes"
        )
    head = metadata.get("head")
    if head is not None and head not in (*HEADS, RTDETR_HEAD):
        raise ArtifactError(
            f"{where} has the head {head!r}, whose output edgedet does not know; it knows {', '.join(HEADS)} and "
            f"{RTDETR_HEAD}"
        )
    if head is not None and task != _task_of(head):
        raise ArtifactError(
            f"{where} states the task {task!r} and the head {head!r}, which is one for {_task_of(head)!r}: one of "
            "them is wrong; export it again"
        )


def _task_of(head: str) -> str:
    return SEGMENT if "Segment" in head else POSE if "Pose" in head else DETECT


def has_nms_inside(metadata: Mapping[str, Any]) -> bool:
    """Whether Ultralytics put its NMS into the graph (``nms=True``)."""
    return bool(_arguments(metadata).get("nms")) and metadata.get("head") != RTDETR_HEAD and not _end2end(metadata)


def ultralytics_card(
    metadata: Mapping[str, Any],
    *,
    where: str,
    input_name: str = "images",
    output_shape: Sequence[int | None] = (),
) -> ModelCard:
    """The card of a detector exported by Ultralytics.

    ``where``: the file, for messages. ``output_shape``: of its first output, by which heads with NMS inside
    ([N, K, 6]) are told from those without ([N, 4 + C, A]) where the metadata names no head.

    Raises:
        ArtifactError: another task than detection, a head that is not known, an output that no head of its name
            gives, or metadata that cannot be read.
    """
    require_detection(metadata, where)
    if metadata.get("task", DETECT) != DETECT:
        raise ArtifactError(
            f"{where} is an Ultralytics model for {metadata['task']!r} as it was exported; edgedet runs the graph "
            f"that it makes of it: edgedet export {where} -o OUT.onnx"
        )
    names = class_names(metadata, where)
    size = _value(metadata["imgsz"], "imgsz", where)
    size = [size, size] if isinstance(size, int) else size
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise ArtifactError(f"{where}: metadata imgsz is {size!r}, expected [height, width]; export it again")
    batch = _value(metadata.get("batch", 1), "batch", where)
    rtdetr = metadata.get("head") == RTDETR_HEAD
    nms_inside = has_nms_inside(metadata)
    ranked = rtdetr or nms_inside or _end2end(metadata)
    if len(output_shape) == 3 and output_shape[2] is not None:
        ranked = output_shape[2] == 6 and output_shape[1] != 4 + len(names)
        if not ranked and (rtdetr or output_shape[1] not in (None, 4 + len(names))):
            raise ArtifactError(_unexpected_output(metadata, output_shape, len(names), where))
    baked = _arguments(metadata).get("conf")
    return ModelCard(
        family="detr" if rtdetr else "yolo",
        architecture=str(metadata.get("description") or "Ultralytics detector").replace("Ultralytics ", "").strip(),
        names=names,
        input=_planes(size[0], size[1], batch if isinstance(batch, int) and batch > 0 else 1, input_name),
        resize=ResizeRule("stretch") if rtdetr else CENTRED,
        output=OutputSpec(
            format="rtdetr_rows" if rtdetr else "yolo_end2end" if ranked else "yolo_xywh",
            score_threshold=float(baked) if nms_inside and isinstance(baked, float) else ULTRALYTICS_SCORE,
            iou_threshold=ULTRALYTICS_IOU,
            max_detections=ULTRALYTICS_DETECTIONS,
            label_mode="best",
        ),
        precision=_precision(metadata),
        provenance={
            "exporter": f"ultralytics {metadata.get('version', 'of unknown version')}",
            "licence": str(metadata.get("license", "")),
            "nms": "graph" if nms_inside else "none" if ranked else "host",
        },
    )


def yolov5_card(
    metadata: Mapping[str, Any],
    *,
    where: str,
    input_name: str,
    input_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
) -> ModelCard:
    """The card of a detector that YOLOv5's export.py wrote: one output [N, A, 5 + C].

    Raises:
        ArtifactError: another output, an input without fixed size, or class names that cannot be read.
    """
    names = class_names(metadata, where)
    if len(output_shape) != 3 or output_shape[2] != 5 + len(names):
        raise ArtifactError(
            f"{where} names {len(names)} classes as YOLOv5's exporter does, but gives {list(output_shape)}, "
            f"expected [N, anchors, {5 + len(names)}]; models for segmentation and classification do not run here"
        )
    _, _, height, width = input_shape
    if height is None or width is None:
        raise ArtifactError(
            f"{where} does not say the size of its input; fix it once: edgedet export {where} --imgsz HEIGHTxWIDTH "
            "-o OUT.onnx"
        )
    return ModelCard(
        family="yolo",
        architecture="YOLOv5",
        names=names,
        input=_planes(height, width, input_shape[0] or 1, input_name),
        resize=CENTRED,
        output=OutputSpec(
            format="yolo_objectness",
            score_threshold=ULTRALYTICS_SCORE,
            iou_threshold=YOLOV5_IOU,
            max_detections=YOLOV5_DETECTIONS,
            label_mode="best",
        ),
        provenance={"exporter": "yolov5", "nms": "host"},
    )


def class_names(metadata: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The class names in ``metadata``, in the order of their numbers.

    Raises:
        ArtifactError: what is there is not ``{0: 'name', ...}``.
    """
    value = _value(metadata["names"], "names", where)
    if isinstance(value, list | tuple):
        return tuple(str(name) for name in value)
    # Engines carry JSON, whose keys are strings.
    try:
        indices = {int(key): str(name) for key, name in value.items()} if isinstance(value, dict) else {}
    except (TypeError, ValueError):
        indices = {}
    if not indices or sorted(indices) != list(range(len(indices))):
        raise ArtifactError(f"{where}: its class names are {str(value)[:60]!r}, expected {{0: 'name', ...}}")
    return tuple(indices[index] for index in range(len(indices)))


def _unexpected_output(metadata: Mapping[str, Any], shape: Sequence[int | None], classes: int, where: str) -> str:
    head = metadata.get("head", "detection")
    wanted = "[N, boxes, 6]" if head == RTDETR_HEAD else f"[N, {4 + classes}, anchors] or [N, boxes, 6]"
    return (
        f"{where}: its metadata says {classes} classes and a {head} head, which gives {wanted}, but its output is "
        f"{list(shape)}; RT-DETR of older Ultralytics versions gives [N, 300, {4 + classes}]: export it again "
        "with a current one"
    )


def _planes(height: int, width: int, batch: int, name: str) -> InputSpec:
    return InputSpec(
        height=height,
        width=width,
        batch=batch,
        name=name,
        dtype="float32",
        layout="NCHW",
        colour="RGB",
        normalise="host",
        scale=1 / 255,
    )


def _arguments(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments of the export call; empty where they cannot be read."""
    try:
        arguments = _value(metadata.get("args", "{}"), "args", "")
    except ArtifactError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _precision(metadata: Mapping[str, Any]) -> Precision:
    """Precision of the weights; inputs and outputs may be float32 all the same."""
    arguments = _arguments(metadata)
    if arguments.get("quantize") == 8 or arguments.get("int8"):
        return "int8"
    return "fp16" if arguments.get("quantize") == 16 or arguments.get("half") else "fp32"


def _end2end(metadata: Mapping[str, Any]) -> bool:
    return str(metadata.get("end2end", False)) == "True"


def _value(text: Any, key: str, where: str) -> Any:
    """Ultralytics writes Python literals; evaluated as literals only, never as code."""
    if not isinstance(text, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ArtifactError(
            f"{where}: Ultralytics metadata {key!r} is {text[:60]!r}, expected a Python literal; export it again"
        ) from error

"""Outputs of detectors that other tools exported: whose they are, by names and shapes, and what to do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgedet.artifacts.grid_cells import STRIDES, cell_count

Shape = Sequence[int | None]

SSD_BOXES = (8732, 3000, 2568)
"""Default boxes of the SSDs that pytorch-ssd builds: on VGG-16, MobileNet, SqueezeNet."""
MAX_ROWS = 1000
"""Maximum number of boxes of an NMS-free head or a graph with NMS inside."""


@dataclass(frozen=True)
class Outputs:
    """The detector that outputs look like (``what``), and what to do: ``families`` that ``edgedet export --family``
    takes for them, or ``advice``.

    ``named``: names say so, and not shapes alone. ``counted``: how many classes there are is plain from the shapes;
    where it is not, class names must be given before anything is believed. ``shown``: a trial run can tell the
    families apart; where they differ in their pixels alone, it cannot. ``nms_inside``: the families are for files
    whose NMS is a node that can be cut out; of others, ``advice`` holds.
    """

    what: str
    families: tuple[str, ...] = ()
    advice: str = ""
    named: bool = False
    counted: bool = False
    shown: bool = True
    nms_inside: bool = False

    def hint(self, path: object) -> str:
        """What to do about the file ``path``, in words."""
        if not self.families:
            return f"it looks like {self.what}: {self.advice}"
        commands = " or ".join(
            f"edgedet export {path} --family {family} --classes NAMES -o OUT.onnx" for family in self.families
        )
        return f"it looks like {self.what}; export it once: {commands}"


@dataclass(frozen=True)
class Facts:
    """What is known of a graph before it is run: ``outputs`` and ``inputs`` (name to shape), and how many
    ``classes`` its user named (None: nobody did)."""

    outputs: Mapping[str, Shape]
    inputs: Mapping[str, Shape] = field(default_factory=dict)
    classes: int | None = None

    @property
    def size(self) -> tuple[int | None, int | None]:
        """(height, width) of the picture [N, 3, H, W], where the first input is one."""
        shape = next(iter(self.inputs.values()), ())
        return (shape[2], shape[3]) if len(shape) == 4 else (None, None)

    @property
    def channels_last(self) -> bool:
        """Whether the first input is a picture [N, H, W, 3]."""
        shape = next(iter(self.inputs.values()), ())
        return len(shape) == 4 and shape[3] == 3 and shape[1] != 3


def recognise(facts: Facts) -> Outputs | None:
    """The detector that outputs look like, or None: what the first of :data:`SIGNS` says that says anything."""
    return next(iter(recognise_all(facts)), None)


def recognise_all(facts: Facts) -> tuple[Outputs, ...]:
    """Every detector that outputs look like, the surest first."""
    return tuple(found for sign in SIGNS if (found := sign(facts)) is not None)


def _by_name(facts: Facts) -> Outputs | None:
    names = set(facts.outputs)
    if {"boxes", "scores"} <= names and ("count" in names or (facts.channels_last and "labels" not in names)):
        return Outputs("a graph of edgedet's own that has lost its card", advice="export the checkpoint again")
    if {"num_dets", "det_boxes"} <= names or {"num_detections", "detection_boxes"} <= names:
        return Outputs(
            "a detector with its NMS inside (TensorRT's plugin), which edgedet export takes over",
            ("yolo",),
            advice="export it again without NMS (end2end)",
            named=True,
            counted=True,
            nms_inside=True,
        )
    return None


def _transformer(facts: Facts) -> Outputs | None:
    """DETRs, which give boxes as shares of the canvas and need no NMS."""
    outputs, names = facts.outputs, set(facts.outputs)
    ranks = sorted(len(shape) for shape in outputs.values())
    if "orig_target_sizes" in facts.inputs or ({"boxes", "labels", "scores"} == names and ranks == [2, 2, 3]):
        return Outputs("RT-DETR, D-FINE or DEIM with its ranking inside", ("rtdetr",), named=True)
    if ranks == [2, 2, 3] and any(len(shape) == 3 and shape[2] == 4 for shape in outputs.values()):
        return Outputs("a detector that ranks its boxes inside, as RT-DETR, D-FINE and DEIM do", ("rtdetr",))
    if {"dets", "labels"} <= names and len(outputs["dets"]) == len(outputs["labels"]) == 3:
        return Outputs("RF-DETR (boxes as shares of the canvas beside class logits)", ("rfdetr",), named=True)
    if {"pred_boxes", "logits"} <= names:
        return Outputs(
            "a DETR of Hugging Face transformers",
            advice="give edgedet export the folder that it was saved into, which says what its pixels are",
        )
    return None


def _torchvision(facts: Facts) -> Outputs | None:
    names = set(facts.outputs)
    if {"boxes", "labels", "scores"} <= names:
        return Outputs(
            "torchvision's own export of one of its detectors",
            advice="give edgedet export the checkpoint (.pth) in its place, with --arch",
        )
    return None


def prototypes_of(outputs: Mapping[str, Shape], size: tuple[int | None, int | None]) -> str | None:
    """Name of that one of a segment model's two outputs which masks are drawn of: [N, M, h, w], a cell for every
    four pixels of a canvas of ``size`` (height, width); None where that is not so."""
    named = {len(shape): name for name, shape in outputs.items()}
    if len(outputs) != 2 or set(named) != {3, 4} or None in size:
        return None
    height, width = outputs[named[4]][2:]
    return named[4] if size == (4 * (height or 0), 4 * (width or 0)) else None


def _segments(facts: Facts) -> Outputs | None:
    """Boxes with coefficients beside prototypes of masks."""
    prototypes = prototypes_of(facts.outputs, facts.size)
    if prototypes is None:
        return None
    masks = facts.outputs[prototypes][1] or 0
    (shape,) = (shape for name, shape in facts.outputs.items() if name != prototypes)
    _, first, second = shape
    if first is None or second is None:
        return None
    ranked = second == 6 + masks and first <= MAX_ROWS
    if ranked or 4 + masks < first < second:
        return Outputs(
            "an Ultralytics segment model's ([N, 4 + classes + masks, anchors] or [N, boxes, 6 + masks] beside "
            "prototypes)",
            ("yolo",),
            counted=not ranked,
        )
    return Outputs(
        "a segment model of YOLOv5 or YOLOv7, whose outlines edgedet does not know",
        advice="train or export an Ultralytics segment model in its place, or export the detector alone",
    )


def _ssd(facts: Facts) -> Outputs | None:
    """Boxes beside scores, one of which is the background's."""
    shapes = {name: shape for name, shape in facts.outputs.items() if len(shape) in (3, 4)}
    if {"scores", "boxes"} == set(facts.outputs) and len(shapes) == 2 and shapes["boxes"][-1] == 4:
        return Outputs(
            "an SSD's of pytorch-ssd or jetson-inference (boxes beside scores, the background's first)",
            ("ssd",),
            named=True,
            counted=True,
        )
    if len(shapes) != len(facts.outputs) or len(shapes) != 2:
        return None
    first, second = shapes.values()
    if (
        first[1] == second[1]
        and 4 in (first[-1], second[-1])
        and facts.size == (300, 300)
        and first[1] in SSD_BOXES
    ):
        return Outputs(f"an SSD's with {first[1]} default boxes (boxes beside scores)", ("ssd",), counted=True)
    return None


def _dense(facts: Facts) -> Outputs | None:
    """Heads that give a box for every cell, of NanoDet, FastestDet and MMDetection."""
    outputs, names, shapes = facts.outputs, set(facts.outputs), list(facts.outputs.values())
    height, width = facts.size
    if any(name.startswith(("cls_pred_stride", "dis_pred_stride")) for name in names):
        return Outputs(
            "a NanoDet of before 2022, with two outputs per stride",
            advice="export it again with NanoDet's current tools/export_onnx.py (one output)",
        )
    if {"dets", "labels"} <= names and len(outputs["dets"]) == 3 and outputs["dets"][2] == 5:
        return Outputs("a detector of MMDetection from MMDeploy, its NMS inside", ("rtmdet", "mmdet"), shown=False)
    rows = [shape[1] for shape in shapes if len(shape) == 3]
    if len(rows) == len(shapes) == 2 and rows[0] == rows[1] and any(shape[2] == 4 for shape in shapes):
        return Outputs(
            "boxes [N, boxes, 4] beside class scores: RF-DETR's, MMDetection's from MMDeploy without NMS, "
            "YOLO-NAS's, DAMO-YOLO's or PP-YOLOE's",
            ("rfdetr", "rtmdet", "mmdet", "yolo-nas", "damo-yolo", "pp-yoloe"),
            shown=False,
        )
    if height is None or width is None or len(shapes) != 1:
        return None
    (shape,) = shapes
    if len(shape) == 4 and shape[1] is not None and shape[1] > 5 and shape[2] == height // 16:
        return Outputs("FastestDet's map ([N, 5 + classes, H / 16, W / 16])", ("fastestdet",))
    if len(shape) == 3 and shape[1] == _padded_cells(height, width, (*STRIDES, 64)):
        return Outputs("NanoDet-Plus's ([N, cells, classes + 4 * bins])", ("nanodet-plus",))
    return None


def _padded_cells(height: int, width: int, strides: Sequence[int]) -> int:
    """Cells of feature maps that are rounded up."""
    return sum(-(-height // stride) * -(-width // stride) for stride in strides)


def _raw_maps(facts: Facts) -> Outputs | None:
    shapes = list(facts.outputs.values())
    if len(shapes) >= 2 and all(len(shape) in (4, 5) for shape in shapes):
        return Outputs(
            "the raw maps of a YOLO head, one per stride",
            advice="export it again with the decoded output (YOLOv5 export.py does so, YOLOv7 with --grid)",
        )
    if len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] == 7:
        return Outputs(
            "YOLOv7 with its NMS inside, which edgedet export takes over",
            ("yolov7",),
            advice="export it again without --end2end",
            nms_inside=True,
        )
    return None


def _rows(facts: Facts) -> Outputs | None:
    """One tensor that holds boxes and scores side by side."""
    shape = next((shape for shape in facts.outputs.values() if len(shape) == 3), None)
    if shape is None:
        return None
    _, rows, columns = shape
    if columns == 6 and (rows is None or rows <= MAX_ROWS):
        return Outputs("a detector that needs no NMS ([N, boxes, 6])", ("yolo",))
    if rows is None or columns is None:
        return None
    if rows < columns:
        return Outputs("an Ultralytics detector ([N, 4 + classes, anchors])", ("yolo",)) if rows > 4 else None
    if columns <= 5:
        return None
    if facts.classes is not None and columns == 4 + facts.classes:
        return Outputs("a detector without objectness ([N, anchors, 4 + classes])", ("yolo",))
    height, width = facts.size
    if height is not None and width is not None and rows == cell_count(height, width):
        return Outputs(
            "YOLOX's ([N, cells, 5 + classes]), YOLOv6's, which is read as YOLOv5's, or NanoDet's "
            "([N, cells, classes + 4 * bins])",
            ("yolox", "yolov5", "nanodet", "nanodet-plus"),
        )
    return Outputs("YOLOv5's or YOLOv7's ([N, anchors, 5 + classes])", ("yolov5",))


SIGNS: tuple[Callable[[Facts], Outputs | None], ...] = (
    _by_name,
    _transformer,
    _torchvision,
    _segments,
    _ssd,
    _dense,
    _raw_maps,
    _rows,
)
"""By what detectors are known, asked in this order: what names say before what only shapes do."""

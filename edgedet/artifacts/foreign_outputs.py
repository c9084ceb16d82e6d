"""Outputs of detectors that other tools exported: whose they are, by names and shapes, and what to do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Shape = Sequence[int | None]

STRIDES = (8, 16, 32)
"""Strides of most one-stage detectors' feature maps."""
MAX_ROWS = 1000
"""Maximum number of boxes of an NMS-free head or a graph with NMS inside."""


@dataclass(frozen=True)
class Outputs:
    """The detector that outputs look like (``what``), and what to do: ``families`` that ``edgedet export --family``
    takes for them, or ``advice``. ``named``: names say so, and not shapes alone."""

    what: str
    families: tuple[str, ...] = ()
    advice: str = ""
    named: bool = False

    def hint(self, path: object) -> str:
        """What to do about the file ``path``, in words."""
        if not self.families:
            return f"it looks like {self.what}: {self.advice}"
        commands = " or ".join(
            f"edgedet export {path} --family {family} --classes NAMES -o OUT.onnx" for family in self.families
        )
        return f"it looks like {self.what}; export it once: {commands}"


def cell_count(height: int, width: int, strides: Sequence[int] = STRIDES) -> int:
    """Cells of the feature maps of a ``height`` x ``width`` canvas."""
    return sum((height // stride) * (width // stride) for stride in strides)


def recognise(
    outputs: Mapping[str, Shape], inputs: Sequence[str] = (), size: tuple[int | None, int | None] = (None, None)
) -> Outputs | None:
    """The detector that ``outputs`` (name to shape) look like, or None. ``size``: (height, width) of the input."""
    names, shapes = set(outputs), list(outputs.values())
    if {"boxes", "scores"} <= names and ("count" in names or "labels" not in names):
        return Outputs("a graph of edgedet's own that has lost its card", advice="export the checkpoint again")
    if {"num_dets", "det_boxes"} <= names or {"num_detections", "detection_boxes"} <= names:
        return Outputs(
            "a detector with TensorRT's NMS plugin inside", advice="export it again without NMS (end2end)"
        )
    found = _transformer(outputs, inputs)
    if found is not None:
        return found
    if {"boxes", "labels", "scores"} <= names:
        return Outputs(
            "torchvision's own export of one of its detectors",
            advice="give edgedet export the checkpoint (.pth) in its place, with --arch",
        )
    found = _dense(outputs, size)
    if found is not None:
        return found
    if len(shapes) >= 2 and all(len(shape) in (4, 5) for shape in shapes):
        return Outputs(
            "the raw maps of a YOLO head, one per stride",
            advice="export it again with the decoded output (YOLOv5 export.py does so, YOLOv7 with --grid)",
        )
    shape = next((shape for shape in shapes if len(shape) == 3), None)
    if shape is None:
        if len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] == 7:
            return Outputs("YOLOv7 with NMS inside", advice="export it again without --end2end")
        return None
    return _of_shape(shape, size)


def _transformer(outputs: Mapping[str, Shape], inputs: Sequence[str]) -> Outputs | None:
    """DETRs, which give boxes as shares of the canvas and need no NMS."""
    names = set(outputs)
    ranks = sorted(len(shape) for shape in outputs.values())
    if "orig_target_sizes" in inputs or ({"boxes", "labels", "scores"} == names and ranks == [2, 2, 3]):
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


def _dense(outputs: Mapping[str, Shape], size: tuple[int | None, int | None]) -> Outputs | None:
    """Heads that give a box for every cell, of NanoDet, FastestDet and MMDetection."""
    names, shapes = set(outputs), list(outputs.values())
    height, width = size
    if any(name.startswith(("cls_pred_stride", "dis_pred_stride")) for name in names):
        return Outputs(
            "a NanoDet of before 2022, with two outputs per stride",
            advice="export it again with NanoDet's current tools/export_onnx.py (one output)",
        )
    if {"dets", "labels"} <= names and len(outputs["dets"]) == 3 and outputs["dets"][2] == 5:
        return Outputs("a detector of MMDetection from MMDeploy, its NMS inside", ("rtmdet", "mmdet"))
    rows = [shape[1] for shape in shapes if len(shape) == 3]
    if len(rows) == len(shapes) == 2 and rows[0] == rows[1] and any(shape[2] == 4 for shape in shapes):
        return Outputs(
            "boxes [N, boxes, 4] beside class scores: RF-DETR's, or MMDetection's from MMDeploy without NMS",
            ("rfdetr", "rtmdet", "mmdet"),
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


def _of_shape(shape: Shape, size: tuple[int | None, int | None]) -> Outputs | None:
    _, rows, columns = shape
    if columns == 6 and (rows is None or rows <= MAX_ROWS):
        return Outputs("a detector that needs no NMS ([N, boxes, 6])", ("yolo",))
    if rows is None or columns is None:
        return None
    if rows < columns:
        return Outputs("an Ultralytics detector ([N, 4 + classes, anchors])", ("yolo",)) if rows > 4 else None
    if columns <= 5:
        return None
    if size[0] is not None and size[1] is not None and rows == cell_count(size[0], size[1]):
        return Outputs(
            "YOLOX's ([N, cells, 5 + classes]), YOLOv6's, which is read as YOLOv5's, or NanoDet's "
            "([N, cells, classes + 4 * bins])",
            ("yolox", "yolov5", "nanodet", "nanodet-plus"),
        )
    return Outputs("YOLOv5's or YOLOv7's ([N, anchors, 5 + classes])", ("yolov5",))

"""Detector families: each from its framework's modules or its foreign graph to a graph of the contract.

A new family is a module with a record (:class:`~edgedet.export.families.base.TrainedFamily` or
:class:`~edgedet.export.families.base.ForeignFamily`) and a line in a table here, which loads nothing; the card
learns its name where detections are decoded in a way of their own (:data:`edgedet.artifacts.card.Family`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import ForeignFamily, TrainedFamily

TRAINED = {"ssd": "ssd:SSD", "faster_rcnn": "faster_rcnn:FASTER_RCNN"}
"""Family of a checkpoint's architecture to module and record."""

FOREIGN = {
    "yolo": "yolo:YOLO",
    "yolov5": "yolo:YOLOV5",
    "yolov7": "yolo:YOLOV7",
    "yolox": "yolox:YOLOX",
    "yolo-nas": "paired_heads:YOLO_NAS",
    "damo-yolo": "paired_heads:DAMO_YOLO",
    "pp-yoloe": "paired_heads:PP_YOLOE",
    "rtdetr": "detr_foreign:RTDETR",
    "rfdetr": "detr_foreign:RFDETR",
    "nanodet": "nanodet:NANODET",
    "nanodet-plus": "nanodet:NANODET_PLUS",
    "fastestdet": "fastestdet:FASTESTDET",
    "rtmdet": "mmdet:RTMDET",
    "mmdet": "mmdet:MMDET",
    "ssd": "ssd_foreign:SSD_FILES",
}
"""What ``--family`` takes, to module and record."""

FOREIGN_HELP = (
    "kind of an ONNX file without metadata: Ultralytics (yolo); YOLOv5, YOLOv6 (yolov5); yolov7; YOLOX; YOLO-NAS, "
    "DAMO-YOLO, PP-YOLOE; "
    "RT-DETR, D-FINE, DEIM (rtdetr); RF-DETR; NanoDet before Plus (nanodet) and NanoDet-Plus; FastestDet; "
    "RTMDet; MMDetection's others from MMDeploy (mmdet); pytorch-ssd, jetson-inference, TensorFlow (ssd)"
)


def trained_family(name: str) -> TrainedFamily:
    """The record of a family of checkpoints; its module is imported now."""
    module, _, record = TRAINED[name].partition(":")
    found: TrainedFamily = getattr(import_module(f"{__name__}.{module}"), record)
    return found


def foreign_family(name: str) -> ForeignFamily:
    """The record of a family of foreign graphs; its module is imported now."""
    module, _, record = FOREIGN[name].partition(":")
    found: ForeignFamily = getattr(import_module(f"{__name__}.{module}"), record)
    return found

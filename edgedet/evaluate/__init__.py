"""Accuracy of what will really run: COCO, Pascal VOC and ranked precision, misses, false alarms, thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.doors import lazy_names

if TYPE_CHECKING:
    from edgedet.evaluate.coco import ClassMetrics, CocoMetrics, evaluate_coco
    from edgedet.evaluate.curve_picture import save_curves
    from edgedet.evaluate.evaluation import ClassPrecision, Evaluation, ImageErrors, evaluate
    from edgedet.evaluate.frames import DetectorLike, Progress
    from edgedet.evaluate.working_point import WorkingPoint
    from edgedet.evaluate.worst import save_worst

__all__ = [
    "ClassMetrics",
    "ClassPrecision",
    "CocoMetrics",
    "DetectorLike",
    "Evaluation",
    "ImageErrors",
    "Progress",
    "WorkingPoint",
    "evaluate",
    "evaluate_coco",
    "save_curves",
    "save_worst",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ClassMetrics": "edgedet.evaluate.coco",
        "ClassPrecision": "edgedet.evaluate.evaluation",
        "CocoMetrics": "edgedet.evaluate.coco",
        "DetectorLike": "edgedet.evaluate.frames",
        "Evaluation": "edgedet.evaluate.evaluation",
        "ImageErrors": "edgedet.evaluate.evaluation",
        "Progress": "edgedet.evaluate.frames",
        "WorkingPoint": "edgedet.evaluate.working_point",
        "evaluate": "edgedet.evaluate.evaluation",
        "evaluate_coco": "edgedet.evaluate.coco",
        "save_curves": "edgedet.evaluate.curve_picture",
        "save_worst": "edgedet.evaluate.worst",
    },
)

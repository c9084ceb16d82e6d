"""Accuracy of what will really run: COCO, Pascal VOC and ranked precision, misses, false alarms, thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.doors import lazy_names

if TYPE_CHECKING:
    from edgedet.evaluate.coco import evaluate_coco, evaluate_keypoints
    from edgedet.evaluate.coco_figures import ClassMetrics, CocoMetrics, KeypointMetrics
    from edgedet.evaluate.curve_picture import save_curves
    from edgedet.evaluate.evaluation import Evaluation, evaluate
    from edgedet.evaluate.frames import DetectorLike, Progress
    from edgedet.evaluate.summaries import ClassPrecision, ImageErrors
    from edgedet.evaluate.working_point import WorkingPoint
    from edgedet.evaluate.worst import save_worst

__all__ = [
    "ClassMetrics",
    "ClassPrecision",
    "CocoMetrics",
    "DetectorLike",
    "Evaluation",
    "ImageErrors",
    "KeypointMetrics",
    "Progress",
    "WorkingPoint",
    "evaluate",
    "evaluate_coco",
    "evaluate_keypoints",
    "save_curves",
    "save_worst",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ClassMetrics": "edgedet.evaluate.coco_figures",
        "ClassPrecision": "edgedet.evaluate.summaries",
        "CocoMetrics": "edgedet.evaluate.coco_figures",
        "DetectorLike": "edgedet.evaluate.frames",
        "Evaluation": "edgedet.evaluate.evaluation",
        "ImageErrors": "edgedet.evaluate.summaries",
        "KeypointMetrics": "edgedet.evaluate.coco_figures",
        "Progress": "edgedet.evaluate.frames",
        "WorkingPoint": "edgedet.evaluate.working_point",
        "evaluate": "edgedet.evaluate.evaluation",
        "evaluate_coco": "edgedet.evaluate.coco",
        "evaluate_keypoints": "edgedet.evaluate.coco",
        "save_curves": "edgedet.evaluate.curve_picture",
        "save_worst": "edgedet.evaluate.worst",
    },
)

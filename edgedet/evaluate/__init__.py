"""Accuracy of what will really run: COCO, Pascal VOC and ranked precision, misses, false alarms, thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgedet.evaluate.application_figures import ClipFigures, ImageRates
    from edgedet.evaluate.class_and_image_results import ClassPrecision, ImageErrors
    from edgedet.evaluate.coco import evaluate_coco, evaluate_keypoints
    from edgedet.evaluate.coco_figures import ClassMetrics, CocoMetrics, KeypointMetrics
    from edgedet.evaluate.curve_picture import save_curves
    from edgedet.evaluate.detection_delay import Delay
    from edgedet.evaluate.detection_pass import DetectorLike, Progress
    from edgedet.evaluate.evaluation import Evaluation, evaluate
    from edgedet.evaluate.intervals import Rate
    from edgedet.evaluate.maps import MapEvaluation, SegmenterLike, evaluate_maps
    from edgedet.evaluate.negatives import FalseAlarm, NegativeGroup, write_false_alarms
    from edgedet.evaluate.working_point import WorkingPoint
    from edgedet.evaluate.worst import save_false_alarms, save_worst

__all__ = [
    "ClassMetrics",
    "ClassPrecision",
    "ClipFigures",
    "CocoMetrics",
    "Delay",
    "DetectorLike",
    "Evaluation",
    "FalseAlarm",
    "ImageErrors",
    "ImageRates",
    "KeypointMetrics",
    "MapEvaluation",
    "NegativeGroup",
    "Progress",
    "Rate",
    "SegmenterLike",
    "WorkingPoint",
    "evaluate",
    "evaluate_coco",
    "evaluate_keypoints",
    "evaluate_maps",
    "save_curves",
    "save_false_alarms",
    "save_worst",
    "write_false_alarms",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ClassMetrics": "edgedet.evaluate.coco_figures",
        "ClassPrecision": "edgedet.evaluate.class_and_image_results",
        "ClipFigures": "edgedet.evaluate.application_figures",
        "CocoMetrics": "edgedet.evaluate.coco_figures",
        "Delay": "edgedet.evaluate.detection_delay",
        "DetectorLike": "edgedet.evaluate.detection_pass",
        "Evaluation": "edgedet.evaluate.evaluation",
        "FalseAlarm": "edgedet.evaluate.negatives",
        "ImageErrors": "edgedet.evaluate.class_and_image_results",
        "ImageRates": "edgedet.evaluate.application_figures",
        "KeypointMetrics": "edgedet.evaluate.coco_figures",
        "MapEvaluation": "edgedet.evaluate.maps",
        "NegativeGroup": "edgedet.evaluate.negatives",
        "Progress": "edgedet.evaluate.detection_pass",
        "Rate": "edgedet.evaluate.intervals",
        "SegmenterLike": "edgedet.evaluate.maps",
        "WorkingPoint": "edgedet.evaluate.working_point",
        "evaluate": "edgedet.evaluate.evaluation",
        "evaluate_coco": "edgedet.evaluate.coco",
        "evaluate_keypoints": "edgedet.evaluate.coco",
        "evaluate_maps": "edgedet.evaluate.maps",
        "save_curves": "edgedet.evaluate.curve_picture",
        "save_false_alarms": "edgedet.evaluate.worst",
        "save_worst": "edgedet.evaluate.worst",
        "write_false_alarms": "edgedet.evaluate.negatives",
    },
)

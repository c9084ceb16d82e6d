"""An evaluation as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.evaluate.absence_reasons import NO_COUNTED_OBJECT, NO_OBJECT, OF_CLASS, OF_COCO, OF_POINT
from edgedet.evaluate.application_figures import rate_dict
from edgedet.evaluate.json_values import without_nan
from edgedet.evaluate.result import KIND, VERSION
from edgedet.evaluate.working_point import WorkingPoint
from edgedet.missing_figures import explained

if TYPE_CHECKING:
    from edgedet.evaluate.evaluation import Evaluation

IMAGES_LISTED = 20
NO_ALERTS = "not asked for (--alert)"
OF_IMAGE = {name: OF_POINT[name] for name in ("misses", "false_alarms")}


def evaluation_dict(
    evaluation: Evaluation, drawn: Mapping[int, Path], drawn_negatives: Mapping[int, Path]
) -> dict[str, Any]:
    """Plain values, as :meth:`Evaluation.to_dict` describes them."""
    coco = explained(evaluation.coco.to_dict(), OF_COCO, otherwise=NO_OBJECT)
    coco["per_class"] = [
        explained(entry, OF_CLASS, otherwise="no object of this class") for entry in coco["per_class"]
    ]
    curves = {
        entry.name: [round(value, 6) for value in evaluation.coco.curves[entry.name].tolist()]
        if entry.objects
        else None
        for entry in evaluation.coco.per_class
    }
    alarms = {"false_alarm_rate": evaluation.alarm_rate, "false_alarm_threshold": evaluation.alarm_threshold}
    coco["absent"] |= explained(alarms, {}, otherwise=evaluation.no_alarm_threshold)["absent"]
    clips, alerts = (
        None if figures is None else figures.to_dict() for figures in (evaluation.clips, evaluation.alerts)
    )
    by_clip = {"clips": clips, "alerts": alerts}
    reasons = {"clips": evaluation.no_clips, "alerts": evaluation.no_clips or NO_ALERTS}
    coco["absent"] |= explained(by_clip, reasons, otherwise="")["absent"]
    captions = {entry.number: f"{Path(entry.path).name}: {entry.caption}" for entry in evaluation.images}
    plain: dict[str, Any] = without_nan(
        {
            "kind": KIND,
            "version": VERSION,
            "dataset": evaluation.dataset,
            "problems": [str(problem) for problem in evaluation.problems],
            "hints": evaluation.hints,
            "names": evaluation.names,
            **coco,
            "voc": explained(
                {"map_11_point": evaluation.voc_11_point, "map_area": evaluation.voc_area},
                {},
                otherwise=NO_COUNTED_OBJECT,
            ),
            "ranked": explained({"map": evaluation.ranked}, {}, otherwise=NO_COUNTED_OBJECT),
            "per_class_at_iou_50": [
                explained(asdict(entry), {}, otherwise="no object of this class that counts")
                for entry in evaluation.classes
            ],
            "working_point": explained(asdict(evaluation.at), OF_POINT, otherwise=NO_OBJECT)
            | {"chosen_by": evaluation.chosen_by},
            "false_alarm_rate": evaluation.alarm_rate,
            "false_alarm_threshold": evaluation.alarm_threshold,
            "by_threshold": [_table_row(point) for point in evaluation.by_threshold],
            "precision_at_recall": {
                "recall": [k / 100 for k in range(101)],
                "precision": curves,
                "absent": explained(curves, {}, otherwise="no object of this class")["absent"],
            },
            "image_errors": [asdict(entry) for entry in evaluation.images[:IMAGES_LISTED] if entry.errors],
            "worst": [{"drawn": str(path), "caption": captions[number]} for number, path in drawn.items()],
            "per_image": {
                name: rate_dict(getattr(evaluation.per_image, name), OF_IMAGE.get(name, NO_OBJECT))
                for name in ("misses", "false_alarms", "missed_objects", "false_boxes")
            },
            "negatives": [
                {"name": group.name, **rate_dict(group.false_alarms, "")} for group in evaluation.negatives
            ],
            "false_alarms": [asdict(alarm) for alarm in evaluation.false_alarms[:IMAGES_LISTED]],
            "worst_negatives": [
                {"drawn": str(drawn_negatives[alarm.number]), "caption": alarm.caption}
                for alarm in evaluation.false_alarms
                if alarm.number in drawn_negatives
            ],
            **by_clip,
        }
    )
    return plain | _masks_plain(evaluation) | _keypoints_plain(evaluation)


def _masks_plain(evaluation: Evaluation) -> dict[str, Any]:
    """``masks`` in JSON, only of a detector that gives some."""
    if evaluation.masks is None:
        return {"masks": None, "masks_absent": evaluation.no_masks} if evaluation.no_masks else {}
    figures = explained(evaluation.masks.to_dict(), OF_COCO, otherwise=NO_OBJECT)
    figures["per_class"] = [
        explained(entry, OF_CLASS, otherwise="no object of this class") for entry in figures["per_class"]
    ]
    return {"masks": figures}


def _table_row(point: WorkingPoint) -> dict[str, Any]:
    keys = ("threshold", "precision", "recall", "f1", "misses", "false_alarms")
    return explained({key: getattr(point, key) for key in keys}, OF_POINT, otherwise=NO_OBJECT)


def _keypoints_plain(evaluation: Evaluation) -> dict[str, Any]:
    """``keypoints`` in JSON, only of a detector that gives some."""
    if evaluation.keypoints is None:
        return {"keypoints": None, "keypoints_absent": evaluation.no_keypoints} if evaluation.no_keypoints else {}
    return {"keypoints": explained(evaluation.keypoints.to_dict(), OF_COCO, otherwise=NO_OBJECT)}

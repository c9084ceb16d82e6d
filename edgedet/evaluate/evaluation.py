"""Everything there is to say about a detector's accuracy on a dataset, in one pass over the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.datasets.dataset import Dataset, Problem
from edgedet.datasets.rows import Strictness
from edgedet.errors import DatasetError
from edgedet.evaluate.application import Application
from edgedet.evaluate.application_figures import ClipFigures, ImageRates
from edgedet.evaluate.by_class_and_image import class_precision, image_errors
from edgedet.evaluate.class_and_image_results import ClassPrecision, ImageErrors
from edgedet.evaluate.class_match import match_classes, relabel, shared_classes
from edgedet.evaluate.coco_figures import CocoMetrics, KeypointMetrics
from edgedet.evaluate.coco_iou_types import why_no_keypoints, why_no_outlines
from edgedet.evaluate.collector import Collector
from edgedet.evaluate.confusion import called_otherwise, confusion_table
from edgedet.evaluate.detection_pass import Detect, DetectorLike, Progress, require_labels, run_over
from edgedet.evaluate.detection_pass import silent as no_progress
from edgedet.evaluate.evaluation_json import evaluation_dict
from edgedet.evaluate.footage import find_footage, require_judged
from edgedet.evaluate.negatives import FalseAlarm, NegativeGroup
from edgedet.evaluate.working_point import (
    Ranking,
    WorkingPoint,
    best_f1_threshold,
    false_alarm_threshold,
    threshold_table,
    working_point,
)
from edgedet.watching.rule import AlertRule


@dataclass(frozen=True)
class Evaluation:
    """A detector's accuracy on a dataset. Shares are in [0, 1]; NaN where there is nothing to count.

    Attributes:
        dataset: what was judged, one line.
        names: classes that were judged, by label.
        coco: COCO's figures.
        classes: other average precisions, by label.
        voc_11_point: mean over the classes that occur.
        voc_area: mean over the classes that occur.
        ranked: mean over the classes that occur.
        at: the working point.
        chosen_by: why the working point is where it is.
        by_threshold: working points at 0.00, 0.01, … 0.99.
        images: errors of every picture at the working point, worst first.
        alarm_rate: largest share of false alarms that was asked for; None where it was not.
        alarm_threshold: lowest threshold that keeps false alarms at ``alarm_rate``; None where not asked, NaN where
            there is none.
        problems: pictures that could not be decoded. No figure includes them: their objects count neither as found
            nor as missed.
        hints: classes whose objects are found, but under other names.
        per_image: misses and false alarms by image.
        negatives: false alarms of each folder of the object-free pictures that were given.
        false_alarms: those of these pictures with a box, the surest first.
        clips: figures by hour and delays, each frame by itself; None where pictures are no frames of clips.
        alerts: the same with alert rules; None without.
        no_clips: why ``clips`` is None.
        masks: COCO's figures of outlines; None where the detector gives none, or an object has none.
        no_masks: why ``masks`` is None of a detector that gives some; else empty.
        keypoints: COCO's figures of keypoints; None where the detector gives none, or the labels have none like
            them.
        no_keypoints: why ``keypoints`` is None of a detector that gives some; else empty.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> result = evaluate(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> result.at.recall, result.at.false, result.images[0].errors
    (1.0, 0, 0)
    """

    dataset: str
    names: tuple[str, ...]
    coco: CocoMetrics
    classes: tuple[ClassPrecision, ...]
    voc_11_point: float
    voc_area: float
    ranked: float
    at: WorkingPoint
    chosen_by: str
    by_threshold: tuple[WorkingPoint, ...] = field(repr=False)
    images: tuple[ImageErrors, ...] = field(repr=False)
    per_image: ImageRates
    negatives: tuple[NegativeGroup, ...] = ()
    false_alarms: tuple[FalseAlarm, ...] = field(default=(), repr=False)
    clips: ClipFigures | None = None
    alerts: ClipFigures | None = None
    no_clips: str = ""
    alarm_rate: float | None = None
    alarm_threshold: float | None = None
    problems: tuple[Problem, ...] = ()
    hints: tuple[str, ...] = ()
    masks: CocoMetrics | None = None
    no_masks: str = ""
    keypoints: KeypointMetrics | None = None
    no_keypoints: str = ""

    def to_dict(
        self, drawn: Mapping[int, Path] | None = None, drawn_negatives: Mapping[int, Path] | None = None
    ) -> dict[str, Any]:
        """Plain values for JSON, as ``edgedet eval --json`` writes them.

        Args:
            drawn: what :func:`save_worst` gave; those pictures are listed under ``worst``.
            drawn_negatives: what :func:`save_false_alarms` gave, listed under ``worst_negatives``.

        Returns:
            COCO's figures at the top, everything else by its name. A figure that is not there is None, and
            ``absent`` beside it says why.
        """
        return evaluation_dict(self, drawn or {}, drawn_negatives or {})

    @property
    def no_alarm_threshold(self) -> str:
        """Reason for an ``alarm_threshold`` that is None or NaN."""
        if self.alarm_rate is None:
            return "not asked for (--false-alarm-rate)"
        return "none is high enough" if self.at.images_without_objects else "there are no object-free images"


def evaluate(
    detector: DetectorLike | Detect,
    dataset: Dataset,
    *,
    negatives: Dataset | None = None,
    threshold: float | None = None,
    false_alarm_rate: float | None = None,
    fps: float | None = None,
    negatives_fps: float | None = None,
    rules: Sequence[AlertRule] = (),
    lowest_score: float = 0.0,
    unreadable: Strictness = "drop",
    progress: Progress = no_progress,
) -> Evaluation:
    """Judge a detector on a labelled dataset, in one pass over the pictures.

    Memory grows by a few bytes per picture.

    Args:
        detector: an open detector, or a function from frame (uint8 [H, W, 3] BGR) to ``Detections``. Open it with
            the threshold that figures are published with (0.001): average precision needs every detection.
        dataset: labelled pictures.
        negatives: further pictures without objects, for false alarms.
        threshold: score of the working point; None takes the one with the best F1.
        false_alarm_rate: largest share of object-free pictures with a box; the lowest threshold that keeps it is
            looked for.
        fps: the dataset's pictures are frames of clips, so many of them (or of the numbers that the annotations
            give them) a second. Each folder is a clip, where the annotations name none. None where the annotations
            say all of it, and for pictures that are no frames.
        negatives_fps: the same of ``negatives``.
        rules: when to alert, for clips. Their ``conf`` gives way to the threshold of the working point.
        lowest_score: score below which the detector reports nothing; lower thresholds are not judged.
        unreadable: ``drop`` leaves out pictures that cannot be decoded, with their objects, and names them in
            ``problems``; ``stop`` raises at the first.
        progress: called with (stage, pictures done, number of pictures).

    Returns:
        Every figure.

    Raises:
        DatasetError: no labels, or none left once what cannot be decoded is left out; a picture that cannot be
            decoded, where that stops; ``negatives`` that hold what is looked for; a number of frames per second
            that contradicts the annotations, or frame numbers that do not tell frames apart.
        UsageError: detector and dataset share no class; rules without clips, or about a class that is not judged.
        MissingDependencyError: pycocotools is not installed.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> result = evaluate(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> round(result.coco.ap50, 3), result.at.threshold, result.chosen_by
    (1.0, 0.875, 'best F1 on this dataset')
    """
    require_labels(dataset)
    footage = find_footage(dataset, fps, negatives, negatives_fps, rules)
    collector: Collector | None = None
    judged = dataset
    problems: list[Problem] = []
    table = np.zeros((0, 0), np.int64)
    names: tuple[str, ...] = ()
    no_masks = no_keypoints = ""
    drop = problems.append if unreadable == "drop" else None
    for index, _, detections in run_over(detector, dataset, unreadable=drop, progress=progress):
        if collector is None:
            judged = dataset.select_classes(shared_classes(dataset.names, detections.names))
            notes = match_classes(dataset.names, detections.names).notes
            dataset = replace(dataset, notes=(*dataset.notes, *notes))
            no_masks = why_no_outlines(judged) if detections.masks is not None else ""
            require_judged(rules, judged.names)
            has_keypoints = detections.keypoints is not None
            no_keypoints = why_no_keypoints(judged, detections) if has_keypoints else ""
            collector = Collector(
                judged.names,
                masks=detections.masks is not None and not no_masks,
                keypoints=has_keypoints and not no_keypoints,
                frames=bool(footage),
                boxes=bool(rules),
            )
            names = tuple(detections.names)
            table = np.zeros((len(dataset.names), len(names)), np.int64)
        table += confusion_table(
            [dataset.images[index]], [detections], classes=len(dataset.names), labels=len(names)
        )
        collector.add(index, judged.images[index], relabel(detections, judged.names))
    if collector is None:
        raise DatasetError(
            f"none of the {len(problems)} pictures of {dataset.source} can be read: {problems[0].reason}"
        )
    if problems:
        require_labels(replace(dataset, images=tuple(dataset.images[number] for number in collector.numbers)))
    if negatives is not None:
        _require_object_free(negatives, judged.names)
        stage = "looking for false alarms"
        for index, _, detections in run_over(detector, negatives, unreadable=drop, progress=progress, stage=stage):
            collector.add_negative(index, relabel(detections, judged.names))
    left_out = tuple(name for name in dataset.names if name not in judged.names)
    ranking = _ranking(collector)
    at, chosen_by, alarm = _chosen_threshold(ranking, threshold, false_alarm_rate, lowest_score)
    used = replace(dataset, images=tuple(dataset.images[number] for number in collector.numbers))
    classes = tuple(class_precision(collector, label) for label in range(len(collector.names)))
    application = Application(collector, judged, negatives, footage, at)
    return Evaluation(
        dataset=used.describe(),
        names=collector.names,
        coco=collector.coco.metrics(left_out),
        classes=classes,
        voc_11_point=_mean([entry.voc_11_point for entry in classes]),
        voc_area=_mean([entry.voc_area for entry in classes]),
        ranked=_mean([entry.ranked for entry in classes]),
        at=working_point(ranking, at),
        chosen_by=chosen_by,
        by_threshold=threshold_table(ranking, lowest=lowest_score),
        images=image_errors(collector, dataset, at),
        per_image=application.image_rates(),
        negatives=application.negative_groups(),
        false_alarms=application.false_alarms(),
        clips=application.clip_figures(),
        alerts=application.alert_figures(rules),
        no_clips=footage.why_not,
        alarm_rate=false_alarm_rate,
        alarm_threshold=alarm,
        problems=tuple(problems),
        hints=called_otherwise(table, dataset.names, names),
        masks=None if collector.masks is None else collector.masks.metrics(left_out),
        no_masks=no_masks,
        keypoints=None if collector.keypoints is None else collector.keypoints.keypoint_metrics(),
        no_keypoints=no_keypoints,
    )


def _require_object_free(negatives: Dataset, names: tuple[str, ...]) -> None:
    """A box on a picture that holds such an object is no false alarm.

    Raises:
        DatasetError: a picture of ``negatives`` holds an object of a class in ``names``.
    """
    sought = np.flatnonzero(np.array(match_classes(names, negatives.names).labels) >= 0)
    holding = [record for record in negatives.images if np.isin(record.labels, sought).any()]
    if holding:
        raise DatasetError(
            f"{len(holding)} of {len(negatives)} pictures of {negatives.source} hold objects of a class that is "
            f"looked for, first {holding[0].path.name}; give pictures without them, or a folder without its labels"
        )


def _ranking(collector: Collector) -> Ranking:
    rows = collector.rows.all()
    top, has_objects = np.array(collector.top, np.float32), np.array(collector.to_find) > 0
    free = top[np.array(collector.empty, np.bool_)]
    return Ranking(rows["score"], rows["state"], int(collector.objects.sum()), top[has_objects], free)


def _chosen_threshold(
    ranking: Ranking, threshold: float | None, false_alarm_rate: float | None, lowest_score: float
) -> tuple[float, str, float | None]:
    """Threshold of the working point, the reason for it, and ``Evaluation.alarm_threshold``."""
    alarm = None
    if false_alarm_rate is not None:
        alarm = false_alarm_threshold(ranking.top_without, false_alarm_rate, lowest=lowest_score)
    if threshold is not None:
        return threshold, "as asked", alarm
    if alarm is not None and not np.isnan(alarm):
        return alarm, f"false alarms on at most {false_alarm_rate:.2%} of the object-free images", alarm
    best = best_f1_threshold(ranking)
    if np.isnan(best):
        return lowest_score, "all that is reported: no box is right, so no threshold is best", alarm
    return best, "best F1 on this dataset", alarm


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")

"""Everything there is to say about a detector's accuracy on a dataset, in one pass over the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.absent import explained
from edgedet.datasets.dataset import Dataset, ImageRecord, Problem
from edgedet.datasets.rows import Strictness
from edgedet.detections import Detections
from edgedet.errors import DatasetError
from edgedet.evaluate.absent import NO_COUNTED_OBJECT, NO_OBJECT, OF_CLASS, OF_COCO, OF_POINT
from edgedet.evaluate.class_match import match_classes, relabel, shared_classes
from edgedet.evaluate.coco import CocoEvaluator, why_no_keypoints, why_no_outlines
from edgedet.evaluate.coco_figures import CocoMetrics, KeypointMetrics
from edgedet.evaluate.confusion import called_otherwise, confusion_table
from edgedet.evaluate.frames import Detect, DetectorLike, Progress, require_labels, run_over
from edgedet.evaluate.frames import silent as no_progress
from edgedet.evaluate.matching import State, counted_objects, match_image
from edgedet.evaluate.plain import without_nan
from edgedet.evaluate.ranked import ranked_average_precision
from edgedet.evaluate.result import KIND, VERSION
from edgedet.evaluate.row_store import RowStore
from edgedet.evaluate.summaries import ClassPrecision, ImageErrors
from edgedet.evaluate.voc import voc_average_precision
from edgedet.evaluate.working_point import (
    Ranking,
    WorkingPoint,
    best_f1_threshold,
    false_alarm_threshold,
    threshold_table,
    working_point,
)

IMAGES_LISTED = 20
_ROW = np.dtype([("image", "<i4"), ("label", "<i4"), ("score", "<f4"), ("state", "u1")])


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
    alarm_rate: float | None = None
    alarm_threshold: float | None = None
    problems: tuple[Problem, ...] = ()
    hints: tuple[str, ...] = ()
    masks: CocoMetrics | None = None
    no_masks: str = ""
    keypoints: KeypointMetrics | None = None
    no_keypoints: str = ""

    def to_dict(self, drawn: Mapping[int, Path] | None = None) -> dict[str, Any]:
        """Plain values for JSON, as ``edgedet eval --json`` writes them.

        Args:
            drawn: what :func:`save_worst` gave; those pictures are listed under ``worst``.

        Returns:
            COCO's figures at the top, everything else by its name. A figure that is not there is None, and
            ``absent`` beside it says why.
        """
        coco = explained(self.coco.to_dict(), OF_COCO, otherwise=NO_OBJECT)
        coco["per_class"] = [
            explained(entry, OF_CLASS, otherwise="no object of this class") for entry in coco["per_class"]
        ]
        curves = {
            entry.name: [round(value, 6) for value in self.coco.curves[entry.name].tolist()]
            if entry.objects
            else None
            for entry in self.coco.per_class
        }
        alarms = {"false_alarm_rate": self.alarm_rate, "false_alarm_threshold": self.alarm_threshold}
        coco["absent"] |= explained(alarms, {}, otherwise=self.no_alarm_threshold)["absent"]
        captions = {entry.number: f"{Path(entry.path).name}: {entry.caption}" for entry in self.images}
        plain: dict[str, Any] = without_nan(
            {
                "kind": KIND,
                "version": VERSION,
                "dataset": self.dataset,
                "problems": [str(problem) for problem in self.problems],
                "hints": self.hints,
                "names": self.names,
                **coco,
                "voc": explained(
                    {"map_11_point": self.voc_11_point, "map_area": self.voc_area}, {}, otherwise=NO_COUNTED_OBJECT
                ),
                "ranked": explained({"map": self.ranked}, {}, otherwise=NO_COUNTED_OBJECT),
                "per_class_at_iou_50": [
                    explained(asdict(entry), {}, otherwise="no object of this class that counts")
                    for entry in self.classes
                ],
                "working_point": explained(asdict(self.at), OF_POINT, otherwise=NO_OBJECT)
                | {"chosen_by": self.chosen_by},
                "false_alarm_rate": self.alarm_rate,
                "false_alarm_threshold": self.alarm_threshold,
                "by_threshold": [_table_row(point) for point in self.by_threshold],
                "precision_at_recall": {
                    "recall": [k / 100 for k in range(101)],
                    "precision": curves,
                    "absent": explained(curves, {}, otherwise="no object of this class")["absent"],
                },
                "image_errors": [asdict(entry) for entry in self.images[:IMAGES_LISTED] if entry.errors],
                "worst": [
                    {"drawn": str(path), "caption": captions[number]} for number, path in (drawn or {}).items()
                ],
            }
        )
        return plain | self._masks_plain() | self._keypoints_plain()

    def _masks_plain(self) -> dict[str, Any]:
        """``masks`` in JSON, only of a detector that gives some."""
        if self.masks is None:
            return {"masks": None, "masks_absent": self.no_masks} if self.no_masks else {}
        figures = explained(self.masks.to_dict(), OF_COCO, otherwise=NO_OBJECT)
        figures["per_class"] = [
            explained(entry, OF_CLASS, otherwise="no object of this class") for entry in figures["per_class"]
        ]
        return {"masks": figures}

    def _keypoints_plain(self) -> dict[str, Any]:
        """``keypoints`` in JSON, only of a detector that gives some."""
        if self.keypoints is None:
            return {"keypoints": None, "keypoints_absent": self.no_keypoints} if self.no_keypoints else {}
        return {"keypoints": explained(self.keypoints.to_dict(), OF_COCO, otherwise=NO_OBJECT)}

    @property
    def no_alarm_threshold(self) -> str:
        """Reason for an ``alarm_threshold`` that is None or NaN."""
        if self.alarm_rate is None:
            return "not asked for (--false-alarm-rate)"
        return "none is high enough" if self.at.images_without_objects else "there are no object-free images"


class _Collector:
    """What one pass leaves behind: COCO's rows and our own, on disk, and two numbers per image."""

    def __init__(self, names: tuple[str, ...], *, masks: bool, keypoints: bool) -> None:
        self.names = names
        self.coco = CocoEvaluator(names)
        self.masks = CocoEvaluator(names, of="masks") if masks else None
        self.keypoints = CocoEvaluator(names, of="keypoints") if keypoints else None
        self.rows = RowStore(_ROW)
        self.objects = np.zeros(len(names), np.int64)
        self.top: list[float] = []
        self.to_find: list[int] = []
        self.empty: list[bool] = []
        self.numbers: list[int] = []

    def add(self, number: int, record: ImageRecord, detections: Detections) -> None:
        self.numbers.append(number)
        self.coco.add(record, detections)
        for more in (self.masks, self.keypoints):
            if more is not None:
                more.add(record, detections)
        self._keep(record, detections)

    def add_negative(self, detections: Detections) -> None:
        """A picture without objects from elsewhere; it has no part in the average precisions."""
        self.top.append(_top(detections))
        self.to_find.append(0)
        self.empty.append(True)

    def _keep(self, record: ImageRecord, detections: Detections) -> None:
        states, _ = match_image(record, detections)
        rows = np.zeros(len(detections), _ROW)
        rows["image"], rows["label"] = len(self.top), detections.labels
        rows["score"], rows["state"] = detections.scores, states
        self.rows.append(rows)
        counted = counted_objects(record)
        np.add.at(self.objects, record.labels[counted], 1)
        self.top.append(_top(detections))
        self.to_find.append(int(counted.sum()))
        self.empty.append(not len(record))


def evaluate(
    detector: DetectorLike | Detect,
    dataset: Dataset,
    *,
    negatives: Dataset | None = None,
    threshold: float | None = None,
    false_alarm_rate: float | None = None,
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
        lowest_score: score below which the detector reports nothing; lower thresholds are not judged.
        unreadable: ``drop`` leaves out pictures that cannot be decoded, with their objects, and names them in
            ``problems``; ``stop`` raises at the first.
        progress: called with (stage, pictures done, number of pictures).

    Returns:
        Every figure.

    Raises:
        DatasetError: no labels, or none left once what cannot be decoded is left out; a picture that cannot be
            decoded, where that stops; ``negatives`` that hold what is looked for.
        UsageError: detector and dataset share no class.
        MissingDependencyError: pycocotools is not installed.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> result = evaluate(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> round(result.coco.ap50, 3), result.at.threshold, result.chosen_by
    (1.0, 0.875, 'best F1 on this dataset')
    """
    require_labels(dataset)
    collector: _Collector | None = None
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
            has_keypoints = detections.keypoints is not None
            no_keypoints = why_no_keypoints(judged, detections) if has_keypoints else ""
            collector = _Collector(
                judged.names,
                masks=detections.masks is not None and not no_masks,
                keypoints=has_keypoints and not no_keypoints,
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
        for _, _, detections in run_over(detector, negatives, unreadable=drop, progress=progress, stage=stage):
            collector.add_negative(relabel(detections, judged.names))
    left_out = tuple(name for name in dataset.names if name not in judged.names)
    evaluation = _conclude(collector, dataset, left_out, threshold, false_alarm_rate, lowest_score)
    return replace(
        evaluation,
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


def _conclude(  # noqa: PLR0917
    collector: _Collector,
    dataset: Dataset,
    left_out: tuple[str, ...],
    threshold: float | None,
    false_alarm_rate: float | None,
    lowest_score: float,
) -> Evaluation:
    classes = tuple(_class_precision(collector, label) for label in range(len(collector.names)))
    rows = collector.rows.all()
    top, empty = np.array(collector.top, np.float32), np.array(collector.empty, np.bool_)
    has_objects = np.array(collector.to_find) > 0
    ranking = Ranking(rows["score"], rows["state"], int(collector.objects.sum()), top[has_objects], top[empty])
    alarm = (
        None
        if false_alarm_rate is None
        else false_alarm_threshold(top[empty], false_alarm_rate, lowest=lowest_score)
    )
    if threshold is not None:
        at, chosen_by = threshold, "as asked"
    elif alarm is not None and not np.isnan(alarm):
        at, chosen_by = alarm, f"false alarms on at most {false_alarm_rate:.2%} of the object-free images"
    else:
        at, chosen_by = best_f1_threshold(ranking), "best F1 on this dataset"
        if np.isnan(at):
            at, chosen_by = lowest_score, "all that is reported: no box is right, so no threshold is best"
    used = replace(dataset, images=tuple(dataset.images[number] for number in collector.numbers))
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
        images=_image_errors(collector, dataset, rows, at),
        alarm_rate=false_alarm_rate,
        alarm_threshold=alarm,
    )


def _class_precision(collector: _Collector, label: int) -> ClassPrecision:
    rows = collector.rows.where("label", label)
    rows = rows[rows["state"] != State.IGNORED]
    scores, correct, objects = rows["score"], rows["state"] == State.TRUE, int(collector.objects[label])
    return ClassPrecision(
        name=collector.names[label],
        voc_11_point=voc_average_precision(scores, correct, objects, rule="11-point"),
        voc_area=voc_average_precision(scores, correct, objects, rule="area"),
        ranked=ranked_average_precision(correct, scores, total=objects),
    )


def _image_errors(
    collector: _Collector, dataset: Dataset, rows: np.ndarray[Any, Any], threshold: float
) -> tuple[ImageErrors, ...]:
    kept = rows[rows["score"] >= np.float32(threshold)]
    numbers = collector.numbers
    found = np.bincount(kept["image"][kept["state"] == State.TRUE], minlength=len(numbers))
    false = np.bincount(kept["image"][kept["state"] == State.FALSE], minlength=len(numbers))
    missed = np.array(collector.to_find[: len(numbers)]) - found
    order = np.lexsort((np.arange(len(numbers)), -(missed + false)))
    return tuple(
        ImageErrors(numbers[i], str(dataset.images[numbers[i]].path), int(missed[i]), int(false[i])) for i in order
    )


def _top(detections: Detections) -> float:
    return float(detections.scores.max()) if len(detections) else -1.0


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _table_row(point: WorkingPoint) -> dict[str, Any]:
    keys = ("threshold", "precision", "recall", "f1", "misses", "false_alarms")
    return explained({key: getattr(point, key) for key in keys}, OF_POINT, otherwise=NO_OBJECT)

"""COCO detection metrics by pycocotools, without its memory.

pycocotools keeps a Python dictionary per detection and per image, class and area: gigabytes for ten thousand
images. Here it matches a few images at a time (``COCOeval.evaluate``), what it found is packed into 28 bytes per
detection on disk, and it accumulates and summarises (``COCOeval.accumulate``, ``summarize``) one class at a time.
Only what cannot match, boxes of a class that their image has no object of, does not pass through it: that took most
of the time. The figures are pycocotools' own to the last bits.

Of masks the figures are the same, with the overlap of pixels in place of that of boxes; of keypoints there are ten,
with their similarity (OKS) in its place.

Difficult objects count like any others here, as in pycocotools; crowds are ignored by its rules.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.skeleton import COCO_PERSON
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.detections import Detections
from edgedet.errors import DatasetError, MissingDependencyError, UsageError
from edgedet.evaluate.class_match import relabel, shared_classes
from edgedet.evaluate.coco_figures import KEYPOINT_STATS, STATS, ClassMetrics, CocoMetrics, KeypointMetrics
from edgedet.evaluate.frames import Detect, DetectorLike, Progress, require_labels, run_over
from edgedet.evaluate.frames import silent as no_progress
from edgedet.evaluate.row_store import RowStore
from edgedet.masks import Masks

CHUNK_IMAGES = 16
ROWS_AT_ONCE = 200_000
"""Detections × IoU thresholds pycocotools accumulates in one call: about 30 bytes each."""

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = ("all", "small", "medium", "large")
AREA_RANGES = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
"""Least and largest area of each, square pixels (``Params.setDetParams`` of pycocotools)."""
MAX_DETECTIONS = (1, 10, 100)
_ROW = np.dtype(
    [("label", "<i4"), ("rank", "<i4"), ("score", "<f4"), ("matched", "<u2", 4), ("ignored", "<u2", 4)], align=False
)
Overlap = Literal["boxes", "masks", "keypoints"]
OF_KEYPOINTS = (0, 2, 3)
"""Sizes that keypoints are judged by, as indices into :data:`AREAS`: nobody labels those of small persons."""
MOST_WITH_KEYPOINTS = (20,)
_BITS = 1 << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)


class CocoEvaluator:
    """Takes images one by one, then tells the figures. ``names``: class names, indexed by label. ``of``: what
    overlaps; detections and records have masks and outlines where that is theirs.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """

    def __init__(self, names: tuple[str, ...], *, of: Overlap = "boxes") -> None:
        self._coco, self._cocoeval = _pycocotools()
        self._of = of
        self._areas = OF_KEYPOINTS if of == "keypoints" else tuple(range(len(AREAS)))
        self._most = MOST_WITH_KEYPOINTS if of == "keypoints" else MAX_DETECTIONS
        self._names = names
        self._store = RowStore(_ROW)
        self._objects = np.zeros((len(names), len(AREAS)), np.int64)
        self._pending: list[tuple[ImageRecord, Detections]] = []
        self._images = 0

    def add(self, record: ImageRecord, detections: Detections) -> None:
        """One image; labels of both index ``names``."""
        self._pending.append((record, detections))
        self._images += 1
        if len(self._pending) >= CHUNK_IMAGES:
            self._match()

    def metrics(self, left_out: tuple[str, ...] = ()) -> CocoMetrics:
        """Figures over all images so far, of boxes or masks."""
        stats, precision, recall, detections = self._summarised()
        figures = {name: _defined(value) for name, value in zip(STATS, stats, strict=True)}
        return CocoMetrics(
            **figures,
            images=self._images,
            per_class=tuple(
                _class_metrics(name, int(self._objects[k, 0]), detections[k], precision[:, :, k], recall[:, k])
                for k, name in enumerate(self._names)
            ),
            objects_by_size={area: int(self._objects[:, a].sum()) for a, area in enumerate(AREAS) if a},
            curves={name: precision[0, :, k, 0, -1].copy() for k, name in enumerate(self._names)},
            left_out=left_out,
        )

    def keypoint_metrics(self) -> KeypointMetrics:
        """Figures over all images so far, of keypoints."""
        stats, precision, _, _ = self._summarised()
        figures = {name: _defined(value) for name, value in zip(KEYPOINT_STATS, stats, strict=True)}
        return KeypointMetrics(
            **figures,
            images=self._images,
            objects=int(self._objects[:, 0].sum()),
            by_class={name: _mean(precision[:, :, k, 0, -1]) for k, name in enumerate(self._names)},
        )

    def _summarised(self) -> tuple[list[float], NDArray[np.float64], NDArray[np.float64], list[int]]:
        """pycocotools' figures, its precision [T, R, C, A, M] and recall [T, C, A, M], and detections by class."""
        self._match()
        evaluation = self._new_evaluation(list(range(len(self._names))))
        params = evaluation.params
        shape = (len(params.iouThrs), len(params.recThrs), len(self._names), len(self._areas), len(self._most))
        precision = np.full(shape, -1.0)
        recall = np.full((shape[0], *shape[2:]), -1.0)
        detections = []
        for label in range(len(self._names)):
            rows = self._store.where("label", label)
            detections.append(len(rows))
            self._accumulate(label, rows, precision[:, :, label], recall[:, label])
        evaluation.eval = {"params": params, "precision": precision, "recall": recall}
        with _quiet():
            evaluation.summarize()
        return evaluation.stats.tolist(), precision, recall, detections

    def _new_evaluation(self, labels: list[int]) -> Any:
        kind = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}[self._of]
        evaluation = self._cocoeval(iouType=kind)
        evaluation.params.catIds = labels
        evaluation.params.iouThrs = IOU_THRESHOLDS
        evaluation.params.areaRng = [list(AREA_RANGES[area]) for area in self._areas]
        evaluation.params.maxDets = list(self._most)
        return evaluation

    def _match(self) -> None:
        """The waiting images, matched and packed."""
        pending = self._pending
        if not pending:
            return
        parts: dict[tuple[int, int], NDArray[Any]] = {}
        """By label and image: pycocotools would meet them in this order, and equal scores keep it when sorted."""
        for image, (record, detections) in enumerate(pending):
            alone = ~np.isin(detections.labels, record.labels)
            unmatched = unmatched_rows(detections, alone, of=self._of)
            parts |= {(label, image): rows[: self._most[-1]] for label, rows in unmatched}
        labels = sorted({int(label) for record, _ in pending for label in record.labels})
        if labels:
            evaluation = self._new_evaluation(labels)
            with _quiet():
                evaluation.cocoGt = self._as_coco([_truth(record, self._of) for record, _ in pending], labels)
                evaluation.cocoDt = self._as_coco([_found(*pair, self._of) for pair in pending], labels)
                evaluation.params.imgIds = list(range(len(pending)))
                evaluation.evaluate()
            parts |= self._matched_rows(evaluation, labels)
        if parts:
            self._store.append(np.concatenate([parts[place] for place in sorted(parts)]))
        pending.clear()

    def _matched_rows(self, evaluation: Any, labels: list[int]) -> dict[tuple[int, int], NDArray[Any]]:
        """What pycocotools has found, by label and image; counts the objects."""
        images, areas = len(self._pending), len(self._areas)
        parts = {}
        for k, label in enumerate(labels):
            for i in range(images):
                found = [evaluation.evalImgs[(k * areas + a) * images + i] for a in range(areas)]
                if found[0] is None:
                    continue
                packed = np.zeros(len(found[0]["dtScores"]), _ROW)
                packed["label"], packed["rank"], packed["score"] = (
                    label,
                    np.arange(len(packed)),
                    found[0]["dtScores"],
                )
                for a, result in zip(self._areas, found, strict=True):
                    self._objects[label, a] += np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
                    packed["matched"][:, a] = _BITS @ (result["dtMatches"] > 0)
                    packed["ignored"][:, a] = _BITS @ (result["dtIgnore"] > 0)
                parts[label, i] = packed
        return parts

    def _as_coco(self, images: list[list[dict[str, Any]]], labels: list[int]) -> Any:
        coco = self._coco()
        annotations = [{**a, "image_id": i} for i, image in enumerate(images) for a in image]
        for number, annotation in enumerate(annotations, 1):
            annotation["id"] = number
        coco.dataset = {
            # Outlines are drawn on frames of their picture's size.
            "images": [
                {"id": i, "height": record.height, "width": record.width}
                for i, (record, _) in enumerate(self._pending)
            ],
            "categories": [{"id": label} for label in labels],
            "annotations": annotations,
        }
        coco.createIndex()
        return coco

    def _accumulate(
        self, label: int, rows: NDArray[Any], precision: NDArray[np.float64], recall: NDArray[np.float64]
    ) -> None:
        """Fill precision [T, R, A, M] and recall [T, A, M] of one class.

        All its images stand in one entry per area, cut to each limit of detections beforehand, so pycocotools sees
        the very arrays it would have concatenated itself.
        """
        if not len(rows) and not self._objects[label].any():
            return
        step = max(1, ROWS_AT_ONCE // max(len(rows), 1))
        for m, limit in enumerate(self._most):
            kept = rows[rows["rank"] < limit]
            for start in range(0, len(IOU_THRESHOLDS), step):
                bits = _BITS[start : start + step, None]
                evaluation = self._new_evaluation([label])
                evaluation.params.iouThrs = IOU_THRESHOLDS[start : start + step]
                evaluation.params.maxDets = [max(len(kept), 1)]
                evaluation.params.imgIds = [0]
                evaluation._paramsEval = evaluation.params
                evaluation.evalImgs = [
                    {
                        "dtScores": kept["score"].astype(np.float64),
                        "dtMatches": (kept["matched"][:, a] & bits) > 0,
                        "dtIgnore": (kept["ignored"][:, a] & bits) > 0,
                        "gtIgnore": np.zeros(self._objects[label, a], np.uint8),
                    }
                    for a in self._areas
                ]
                with _quiet():
                    evaluation.accumulate()
                precision[start : start + step, :, :, m] = evaluation.eval["precision"][:, :, 0, :, 0]
                recall[start : start + step, :, m] = evaluation.eval["recall"][:, 0, :, 0]


def evaluate_coco(
    detector: DetectorLike | Detect,
    dataset: Dataset,
    *,
    of: Literal["boxes", "masks"] = "boxes",
    progress: Progress = no_progress,
) -> CocoMetrics:
    """COCO's figures of a detector on a labelled dataset, by pycocotools.

    Classes are matched by name; those only one side knows are left out. Memory does not grow with the dataset.

    Args:
        detector: an open detector, or a function from frame (uint8 [H, W, 3] BGR) to ``Detections``. Open it with
            a low threshold (0.001): average precision needs every detection.
        dataset: labelled pictures.
        of: whether ``boxes`` or ``masks`` are judged. For masks read the dataset with ``outlines=True``.
        progress: called with (stage, pictures done, number of pictures).

    Returns:
        The figures.

    Raises:
        DatasetError: no labels, or a picture that cannot be decoded; masks, and an object has no outline.
        UsageError: detector and dataset share no class; masks, and the detector gives none.
        MissingDependencyError: pycocotools is not installed.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> metrics = evaluate_coco(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> round(metrics.ap50, 3), metrics.images
    (1.0, 12)
    """
    require_labels(dataset)
    return coco_metrics((found for _, _, found in run_over(detector, dataset, progress=progress)), dataset, of=of)


def coco_metrics(
    found: Iterable[Detections], dataset: Dataset, *, of: Literal["boxes", "masks"] = "boxes"
) -> CocoMetrics:
    """COCO figures of what was found on a labelled dataset.

    Args:
        found: the detections of every image, in the dataset's order.
        dataset: its labelled images, one at least.
        of: what overlaps.

    Raises:
        DatasetError: masks, and an object has no outline.
        UsageError: detector and dataset share no class; masks, and the detections have none.
        MissingDependencyError: pycocotools is not installed.
    """
    evaluator, judged = _judged(found, dataset, of)
    return evaluator.metrics(tuple(name for name in dataset.names if name not in judged.names))


def keypoint_metrics(found: Iterable[Detections], dataset: Dataset) -> KeypointMetrics:
    """COCO figures of keypoints that were found on a labelled dataset.

    Args:
        found: the detections of every image, in the dataset's order.
        dataset: its labelled images, one at least, read with their keypoints.

    Raises:
        DatasetError: it has no keypoints, or others than the detector gives.
        UsageError: detector and dataset share no class, or the detections have no keypoints.
        MissingDependencyError: pycocotools is not installed.
    """
    return _judged(found, dataset, "keypoints")[0].keypoint_metrics()


def evaluate_keypoints(
    detector: DetectorLike | Detect, dataset: Dataset, *, progress: Progress = no_progress
) -> KeypointMetrics:
    """COCO's ten figures of keypoints on a labelled dataset, by pycocotools.

    Args:
        detector: an open detector, or a function from frame (uint8 [H, W, 3] BGR) to ``Detections``.
        dataset: labelled pictures, read with ``keypoints=True``.
        progress: called with (stage, pictures done, number of pictures).

    Returns:
        The figures.

    Raises:
        DatasetError: no labels, a picture that cannot be decoded, or no keypoints of COCO's 17.
        UsageError: detector and dataset share no class; the detector gives no keypoints.
        MissingDependencyError: pycocotools is not installed.

    >>> from edgedet.datasets import read_dataset
    >>> evaluate_keypoints(lambda frame: None, read_dataset("photos/labels.json", keypoints=True))
    Traceback (most recent call last):
    edgedet.errors.DatasetError: keypoints are to be judged, and photos/labels.json has none
    """
    require_labels(dataset)
    if dataset.skeleton is None:
        raise DatasetError(f"keypoints are to be judged, and {dataset.source} has none")
    return keypoint_metrics((found for _, _, found in run_over(detector, dataset, progress=progress)), dataset)


def _judged(found: Iterable[Detections], dataset: Dataset, of: Overlap) -> tuple[CocoEvaluator, Dataset]:
    """All of ``found`` added to an evaluator, and the part of ``dataset`` that is judged."""
    evaluator: CocoEvaluator | None = None
    judged = dataset
    for index, detections in enumerate(found):
        if evaluator is None:
            judged = dataset.select_classes(shared_classes(dataset.names, detections.names))
            _require_parts(detections, judged, of)
            evaluator = CocoEvaluator(judged.names, of=of)
        evaluator.add(judged.images[index], relabel(detections, judged.names))
    assert evaluator is not None, "a dataset without images has no boxes either"
    return evaluator, judged


def _require_parts(detections: Detections, dataset: Dataset, of: Overlap) -> None:
    """Masks or keypoints must be on both sides.

    Raises:
        UsageError, DatasetError: they are not.
    """
    if of != "boxes" and getattr(detections, of) is None:
        raise UsageError(f"{of} are to be judged, and this detector gives none")
    why = ""
    if of == "masks":
        why = why_no_outlines(dataset)
    elif of == "keypoints":
        why = why_no_keypoints(dataset, detections)
    if why:
        raise DatasetError(f"{of} are to be judged, and {why}")


def why_no_outlines(dataset: Dataset) -> str:
    """Why masks cannot be judged on ``dataset``; empty where every object has an outline."""
    without = sum(
        len(record) if record.outlines is None else record.outlines.count(None) for record in dataset.images
    )
    if not without:
        return ""
    return f"{without:,} of {dataset.box_count:,} objects of {dataset.source} have no outline"


def why_no_keypoints(dataset: Dataset, detections: Detections) -> str:
    """Why the keypoints of ``detections`` cannot be judged on ``dataset``; empty where they can.

    The spread of human labels, which similarity is measured by, is known of COCO's 17 points alone.
    """
    ours, theirs = detections.skeleton, dataset.skeleton
    if theirs is None:
        return f"{dataset.source} has none"
    if ours is not None and ours.names != theirs.names:
        return (
            f"the detector gives {len(ours.names)} from {ours.names[0]!r} on, {dataset.source} has "
            f"{len(theirs.names)} from {theirs.names[0]!r} on"
        )
    if theirs.names != COCO_PERSON.names:
        return f"COCO's measure is of its own 17 points, {dataset.source} has others"
    return ""


def _pycocotools() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError(
            "COCO figures need pycocotools, which is not installed: pip install 'edgedet[report]'"
        ) from error
    return COCO, COCOeval


@contextlib.contextmanager
def _quiet() -> Any:
    # pycocotools prints its progress; stdout belongs to the caller.
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _truth(record: ImageRecord, of: Overlap) -> list[dict[str, Any]]:
    sides = record.boxes[:, 2:] - record.boxes[:, :2]
    outlines = ({"segmentation": each} for each in record.outlines or ())
    more: Iterable[dict[str, Any]] = outlines if of == "masks" else ({} for _ in record.labels)
    if of == "keypoints":
        assert record.keypoints is not None
        more = (
            {"keypoints": each.ravel().tolist(), "num_keypoints": int((each[:, 2] > 0).sum())}
            for each in record.keypoints
        )
    return [
        {"category_id": label, "bbox": [*box[:2], *side], "area": area, "iscrowd": int(crowd), **outline}
        for box, side, label, area, crowd, outline in zip(
            record.boxes.tolist(),
            sides.tolist(),
            record.labels.tolist(),
            record.area.tolist(),
            record.crowd.tolist(),
            more,
            strict=True,
        )
    ]


def _found(record: ImageRecord, detections: Detections, of: Overlap) -> list[dict[str, Any]]:
    """The detections that have an object of their class to match."""
    chosen = np.isin(detections.labels, record.labels)
    boxes = detections.boxes[chosen].astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    labels, scores = detections.labels[chosen], detections.scores[chosen]
    rows = [
        {"category_id": label, "bbox": [*box[:2], *side], "area": side[0] * side[1], "iscrowd": 0, "score": score}
        for box, side, label, score in zip(
            boxes.tolist(), sides.tolist(), labels.tolist(), scores.tolist(), strict=True
        )
    ]
    if of == "masks":
        assert detections.masks is not None
        masks = detections.masks[chosen]
        for row, outline, area in zip(rows, masks.to_coco_rle(), _areas(masks).tolist(), strict=True):
            row |= {"segmentation": outline, "area": area}
    elif of == "keypoints":
        assert detections.keypoints is not None
        points = detections.keypoints[chosen].astype(np.float64)
        for row, each, area in zip(rows, points, _areas_of_keypoints(points).tolist(), strict=True):
            row |= {"keypoints": each.ravel().tolist(), "area": area}
    return rows


def _areas_of_keypoints(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of the box around each object's points [N, J, 3], which pycocotools takes for that of a detection."""
    sides = points[..., :2].max(axis=1) - points[..., :2].min(axis=1)
    area: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return area


def _areas(masks: Masks) -> NDArray[np.float64]:
    """Pixels of every object, which pycocotools takes for the area of a detection with a mask."""
    return np.array([region.values.sum() for region in masks], np.float64)


def unmatched_rows(
    detections: Detections, chosen: NDArray[np.bool_], *, of: Overlap = "boxes"
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows of the ``chosen`` detections of one image, which has no object of their classes; label by label.

    pycocotools does for them what it does for any: the best 100 of a class count, in the order of their scores, and
    what has another size than the figure is about is ignored. It takes 50 µs for each class, size and image.
    """
    boxes = detections.boxes[chosen].astype(np.float64)
    labels, scores = detections.labels[chosen], detections.scores[chosen]
    order = np.lexsort((-scores, labels))
    if of == "masks":
        assert detections.masks is not None
        area = _areas(detections.masks[chosen])[order]
    elif of == "keypoints":
        assert detections.keypoints is not None
        area = _areas_of_keypoints(detections.keypoints[chosen].astype(np.float64))[order]
    else:
        sides = (boxes[:, 2:] - boxes[:, :2])[order]
        area = sides[:, 0] * sides[:, 1]
    rows = np.zeros(len(order), _ROW)
    rows["label"], rows["score"] = labels[order], scores[order]
    for a, (smallest, largest) in enumerate(AREA_RANGES):
        rows["ignored"][:, a] = np.where((area < smallest) | (area > largest), _BITS.sum(), 0)
    starts = np.flatnonzero(np.diff(rows["label"], prepend=-1))
    for part in np.split(rows, starts[1:]) if len(rows) else ():
        of_label = part[: MAX_DETECTIONS[-1]]
        of_label["rank"] = np.arange(len(of_label))
        yield int(of_label["label"][0]), of_label


def _class_metrics(
    name: str, objects: int, detections: int, precision: NDArray[np.float64], recall: NDArray[np.float64]
) -> ClassMetrics:
    """``precision`` [T, R, A, M] and ``recall`` [T, A, M] of the class."""
    best = precision[..., -1]
    return ClassMetrics(
        name=name,
        objects=objects,
        detections=detections,
        ap=_mean(best[:, :, 0]),
        ap50=_mean(best[0, :, 0]),
        ap75=_mean(best[5, :, 0]),
        ap_small=_mean(best[:, :, 1]),
        ap_medium=_mean(best[:, :, 2]),
        ap_large=_mean(best[:, :, 3]),
        ar100=_mean(recall[:, 0, -1]),
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else math.nan


def _defined(value: float) -> float:
    return math.nan if value == -1 else value

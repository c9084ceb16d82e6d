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
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.detections import Detections
from edgedet.errors import DatasetError, MissingDependencyError
from edgedet.evaluate.class_match import relabel, shared_classes
from edgedet.evaluate.coco_figures import KEYPOINT_STATS, STATS, ClassMetrics, CocoMetrics, KeypointMetrics
from edgedet.evaluate.coco_iou_types import require_parts
from edgedet.evaluate.coco_rows import (
    AREA_RANGES,
    AREAS,
    BITS,
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    MAX_KEYPOINT_DETECTIONS,
    OF_KEYPOINTS,
    ROW,
    Overlap,
    found_rows,
    truth_rows,
    unmatched_rows,
)
from edgedet.evaluate.detection_pass import Detect, DetectorLike, Progress, require_labels, run_over
from edgedet.evaluate.detection_pass import silent as no_progress
from edgedet.evaluate.row_store import RowStore

CHUNK_IMAGES = 16
ROWS_AT_ONCE = 200_000
"""Detections × IoU thresholds pycocotools accumulates in one call: about 30 bytes each."""


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
        self._most = MAX_KEYPOINT_DETECTIONS if of == "keypoints" else MAX_DETECTIONS
        self._names = names
        self._store = RowStore(ROW)
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
                evaluation.cocoGt = self._as_coco([truth_rows(record, self._of) for record, _ in pending], labels)
                evaluation.cocoDt = self._as_coco([found_rows(*pair, self._of) for pair in pending], labels)
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
                packed = np.zeros(len(found[0]["dtScores"]), ROW)
                packed["label"], packed["rank"], packed["score"] = (
                    label,
                    np.arange(len(packed)),
                    found[0]["dtScores"],
                )
                for a, result in zip(self._areas, found, strict=True):
                    self._objects[label, a] += np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
                    packed["matched"][:, a] = BITS @ (result["dtMatches"] > 0)
                    packed["ignored"][:, a] = BITS @ (result["dtIgnore"] > 0)
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
                bits = BITS[start : start + step, None]
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
            require_parts(detections, judged, of)
            evaluator = CocoEvaluator(judged.names, of=of)
        evaluator.add(judged.images[index], relabel(detections, judged.names))
    assert evaluator is not None, "a dataset without images has no boxes either"
    return evaluator, judged


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

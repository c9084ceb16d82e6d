"""COCO's figures of a detector, overall and by class."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluate.json_values import without_nan

STATS = (
    "map",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
)

KEYPOINT_STATS = (
    "map",
    "ap50",
    "ap75",
    "ap_medium",
    "ap_large",
    "ar20",
    "ar20_50",
    "ar20_75",
    "ar_medium",
    "ar_large",
)


@dataclass(frozen=True)
class KeypointMetrics:
    """pycocotools' ten figures of keypoints, shares in [0, 1]; NaN where it says -1: no such object.

    Object keypoint similarity (OKS) takes the place of IoU, and 20 detections per image count. Objects without a
    labelled keypoint, and crowds, do not count.

    Attributes:
        map: mean average precision over OKS 0.50 to 0.95.
        ap50: at OKS 0.50.
        ap75: at OKS 0.75.
        ap_medium: ``map`` of objects from 32² to 96² pixels.
        ap_large: ``map`` of larger objects.
        ar20: average recall over OKS 0.50 to 0.95.
        ar20_50: at OKS 0.50.
        ar20_75: at OKS 0.75.
        ar_medium: ``ar20`` of medium objects.
        ar_large: ``ar20`` of large objects.
        images: number of pictures.
        objects: number of objects with keypoints.
        by_class: class name to ``map``.

    >>> KeypointMetrics(*[0.5] * 10, images=2, objects=3, by_class={"person": 0.5}).to_dict()["map"]
    0.5
    """

    map: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar20: float
    ar20_50: float
    ar20_75: float
    ar_medium: float
    ar_large: float
    images: int
    objects: int
    by_class: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            Every figure by its name, None for NaN.
        """
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


@dataclass(frozen=True)
class ClassMetrics:
    """COCO's figures of one class, shares in [0, 1]; NaN where the dataset has no such object.

    Attributes:
        name: class name.
        objects: number of objects, crowds left out.
        detections: number of detections.
        ap: average precision, mean over IoU 0.50 to 0.95.
        ap50: at IoU 0.50.
        ap75: at IoU 0.75.
        ap_small: ``ap`` of objects below 32² pixels.
        ap_medium: ``ap`` of objects from 32² to 96² pixels.
        ap_large: ``ap`` of larger objects.
        ar100: average recall with 100 detections per image.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate_coco
    >>> metrics = evaluate_coco(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> [(entry.name, entry.objects) for entry in metrics.per_class]
    [('blue', 4), ('green', 4), ('red', 4)]
    """

    name: str
    objects: int
    detections: int
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar100: float


@dataclass(frozen=True)
class CocoMetrics:
    """pycocotools' twelve figures, shares in [0, 1], and the same by class; NaN where it says -1: no such object.

    Sizes are areas in pixels: small below 32², medium below 96², large.

    Attributes:
        map: mean average precision over IoU 0.50 to 0.95.
        ap50: at IoU 0.50.
        ap75: at IoU 0.75.
        ap_small: ``map`` of small objects.
        ap_medium: ``map`` of medium objects.
        ap_large: ``map`` of large objects.
        ar1: average recall with 1 detection per image.
        ar10: with 10.
        ar100: with 100.
        ar_small: ``ar100`` of small objects.
        ar_medium: ``ar100`` of medium objects.
        ar_large: ``ar100`` of large objects.
        images: number of pictures.
        per_class: figures of each class, by label.
        objects_by_size: number of ``small``, ``medium`` and ``large`` objects.
        curves: class name to precision at recall 0, 0.01, … 1 and IoU 0.5, float64 [101].
        left_out: the dataset's classes that the detector does not know; no figure includes them.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate_coco
    >>> metrics = evaluate_coco(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> metrics.objects_by_size, metrics.curves["red"].shape
    ({'small': 12, 'medium': 0, 'large': 0}, (101,))
    """

    map: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    images: int
    per_class: tuple[ClassMetrics, ...]
    objects_by_size: dict[str, int]
    curves: dict[str, NDArray[np.float64]] = field(repr=False)
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            Every figure by its name, None for NaN, without the curves.
        """
        values = asdict(self)
        del values["curves"]
        plain: dict[str, Any] = without_nan(values)
        return plain

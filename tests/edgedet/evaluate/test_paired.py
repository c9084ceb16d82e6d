"""The same pictures, two ways: COCO's mAP, drawn again and again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections
from edgedet.evaluate.coco import CocoEvaluator
from edgedet.evaluate.paired import (
    ahead,
    clearly_better,
    draws,
    loses_a_class,
    match,
    may_win,
    mean_average_precision,
)

NAMES = ("a", "b", "c")


def scene(seed: int, *, decimals: int, images: int = 12) -> tuple[list[ImageRecord], list[Detections]]:
    """Pictures with objects and crowds, and what a middling detector finds in them."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for _ in range(images):
        count = int(rng.integers(0, 8))
        corner, side = rng.integers(0, 60, (count, 2)), rng.integers(5, 40, (count, 2))
        boxes = np.hstack([corner, corner + side]).astype(np.float64)
        labels = rng.integers(0, 3, count).astype(np.int32)
        crowd, none = rng.random(count) < 0.15, np.zeros(count, np.bool_)
        area = (side[:, 0] * side[:, 1]).astype(np.float64)
        records.append(ImageRecord(Path("x"), 100, 100, boxes, labels, crowd, none, area))
        moved = boxes + rng.integers(-4, 5, (count, 4)) * (rng.random((count, 1)) < 0.7)
        all_boxes = np.vstack([moved, boxes])
        all_boxes[:, 2:] = np.maximum(all_boxes[:, 2:], all_boxes[:, :2] + 1)
        called = np.tile(labels, 2)
        called = np.where(rng.random(len(called)) < 0.1, rng.integers(0, 3, len(called)), called)
        scores = np.round(rng.random(len(called)), decimals).astype(np.float32)
        found.append(Detections(all_boxes, scores, called, NAMES, (100, 100)))
    return records, found


def pycocotools_map(records: list[ImageRecord], found: list[Detections]) -> float:
    pytest.importorskip("pycocotools", reason="needs pycocotools")
    evaluator = CocoEvaluator(NAMES)
    for record, detections in zip(records, found, strict=True):
        evaluator.add(record, detections)
    return evaluator.metrics().map


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("decimals", [1, 6])
def test_map_is_pycocotools_own(seed: int, decimals: int) -> None:
    records, found = scene(seed, decimals=decimals)
    matched = match(records, found, classes=3)
    assert mean_average_precision(matched)[0] == pytest.approx(pycocotools_map(records, found), abs=1e-12)


def test_a_hundred_detections_of_an_image_and_class_count() -> None:
    records, _ = scene(1, decimals=6, images=1)
    record = replace(
        records[0].keep(np.zeros(len(records[0]), np.bool_)),
        boxes=np.array([[0.0, 0, 10, 10]]),
        labels=np.zeros(1, np.int32),
        crowd=np.zeros(1, np.bool_),
        difficult=np.zeros(1, np.bool_),
        area=np.array([100.0]),
    )
    boxes = np.tile(np.array([[50.0, 50, 60, 60]]), (101, 1))
    boxes[100] = [0, 0, 10, 10]
    found = Detections(boxes, np.linspace(0.9, 0.1, 101), np.zeros(101, np.int32), NAMES, (100, 100))
    assert mean_average_precision(match([record], [found], classes=3))[0] == 0
    assert pycocotools_map([record], [found]) == 0


def test_an_image_of_weight_two_is_an_image_seen_twice() -> None:
    records, found = scene(3, decimals=6)
    weights = draws(12)[:5]
    again = [np.repeat(np.arange(12), row) for row in weights]
    by_weight = mean_average_precision(match(records, found, classes=3), weights)
    repeated = [pycocotools_map([records[i] for i in row], [found[i] for i in row]) for row in again]
    assert by_weight == pytest.approx(repeated, abs=1e-9)


def test_the_first_images_alone() -> None:
    records, found = scene(4, decimals=6)
    first = match(records, found, classes=3).first(5)
    alone = match(records[:5], found[:5], classes=3)
    assert mean_average_precision(first)[0] == mean_average_precision(alone)[0]
    assert len(first) == 5 and first.detections == alone.detections


def test_without_objects_there_is_no_figure() -> None:
    records, found = scene(5, decimals=6)
    empty = [record.keep(np.zeros(len(record), np.bool_)) for record in records]
    assert np.isnan(mean_average_precision(match(empty, found, classes=3))[0])


def ways(images: int, hits: list[int], others: list[int]) -> tuple[object, object]:
    """Two ways over ``images`` pictures of one object: which of them each finds."""
    one = np.zeros(1, np.bool_)
    record = ImageRecord(
        Path("x"), 50, 50, np.array([[0.0, 0, 20, 20]]), np.zeros(1, np.int32), one, one, np.array([400.0])
    )
    right = Detections([[0, 0, 20, 20]], [0.9], [0], ("a",), (50, 50))
    nothing = Detections.empty(("a",), (50, 50))
    return tuple(  # type: ignore[return-value]
        match([record] * images, [right if i in chosen else nothing for i in range(images)], classes=1)
        for chosen in (hits, others)
    )


def test_better_in_many_pictures_is_clearly_better() -> None:
    some, most = ways(40, list(range(15)), list(range(35)))
    assert clearly_better(some, most) and not clearly_better(most, some)  # type: ignore[arg-type]


def test_better_in_a_single_picture_proves_nothing() -> None:
    """0.05 mAP and a tenth more, and yet in a third of the draws that picture is not even there."""
    without, with_one = ways(20, list(range(5)), list(range(6)))
    assert mean_average_precision(with_one)[0] - mean_average_precision(without)[0] > 0.04  # type: ignore[arg-type]
    assert ahead(without, with_one) < 0.9  # type: ignore[arg-type]
    assert not clearly_better(without, with_one)  # type: ignore[arg-type]


def test_a_sure_gain_of_little_is_not_clear() -> None:
    many, more = ways(60, list(range(50)), list(range(54)))
    assert ahead(many, more) > 0.95  # type: ignore[arg-type]
    assert not clearly_better(many, more), "7 % more"  # type: ignore[arg-type]


def test_equals_cannot_win() -> None:
    same, again = ways(16, list(range(8)), list(range(8)))
    worse, better = ways(16, list(range(5)), list(range(8)))
    assert not may_win(same, again) and may_win(worse, better)  # type: ignore[arg-type]


def test_a_mean_that_rises_at_one_class_s_expense() -> None:
    records, found = scene(2, decimals=6, images=20)
    only_a = [detections[detections.labels == 0] for detections in found]
    without_a = [detections[detections.labels != 0] for detections in found]
    first, second = (match(records, these, classes=3) for these in (only_a, without_a))
    assert mean_average_precision(second)[0] > mean_average_precision(first)[0]
    assert loses_a_class(first, second) and not loses_a_class(first, match(records, found, classes=3))

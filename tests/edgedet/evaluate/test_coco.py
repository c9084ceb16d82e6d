"""COCO figures are pycocotools' own."""

from __future__ import annotations

import contextlib
import io
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgedet.datasets import Dataset, ImageRecord, read_dataset
from edgedet.datasets.rows import ProblemLog, Row, build_record
from edgedet.detections import Detections
from edgedet.errors import DatasetError, MissingDependencyError, UsageError
from edgedet.evaluate import coco
from edgedet.evaluate.coco import CocoEvaluator, evaluate_coco
from edgedet.evaluate.coco_figures import STATS, CocoMetrics
from edgedet.evaluate.coco_rows import unmatched_rows

cocotools = pytest.importorskip("pycocotools.cocoeval", reason="needs pycocotools")


def direct(records: list[ImageRecord], found: list[Detections], classes: int) -> Any:
    """The same by pycocotools, all at once, as its own demo does it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    results = []
    for number, (record, detections) in enumerate(zip(records, found, strict=True), 1):
        for (x1, y1, x2, y2), label, crowd, area in zip(
            record.boxes.tolist(), record.labels.tolist(), record.crowd.tolist(), record.area.tolist(), strict=True
        ):
            entry = {"id": len(truth) + 1, "image_id": number, "category_id": label + 1, "iscrowd": int(crowd)}
            truth.append(entry | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": area})
        for (x1, y1, x2, y2), label, score in zip(
            detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True
        ):
            entry = {"image_id": number, "category_id": label + 1, "score": score}
            results.append(entry | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {
            "images": [{"id": number} for number in range(1, len(records) + 1)],
            "annotations": truth,
            "categories": [{"id": label + 1} for label in range(classes)],
        }
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(metrics: CocoMetrics, evaluation: Any) -> None:
    ours = [getattr(metrics, name) for name in STATS]
    theirs = [math.nan if value == -1 else value for value in evaluation.stats]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    for label, figures in enumerate(metrics.per_class):
        precision = evaluation.eval["precision"][:, :, label, 0, 2]
        expected = precision[precision > -1].mean() if (precision > -1).any() else math.nan
        np.testing.assert_allclose(figures.ap, expected, atol=1e-9)


def invented(seed: int, images: int, classes: int, most: int) -> tuple[list[ImageRecord], list[Detections]]:
    """Objects of all sizes, some crowds; detections near them and elsewhere, with many equal scores."""
    random = np.random.default_rng(seed)
    records, found = [], []
    for index in range(images):
        corners = random.uniform(0, 400, (random.integers(0, 8), 2))
        boxes = np.concatenate([corners, corners + random.uniform(4, 200, corners.shape)], axis=1)
        rows = [
            Row("r", int(random.integers(classes)), *box, crowd=bool(random.random() < 0.15))  # type: ignore[misc]
            for box in boxes.tolist()
        ]
        records.append(build_record(Path(f"{index}.jpg"), (640, 640), rows, ProblemLog()))
        count = int(random.integers(0, most))
        near = boxes[random.integers(0, max(len(boxes), 1), count)] if len(boxes) else np.zeros((count, 4))
        guess = near + random.normal(0, 6, (count, 4))
        guess[:, 2:] = np.maximum(guess[:, 2:], guess[:, :2] + 1)
        scores = np.round(random.random(count), 1).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        labels = random.integers(0, classes, count).astype(np.int32)
        names = tuple(f"c{k}" for k in range(classes))
        found.append(Detections(guess[order].astype(np.float32), scores[order], labels[order], names, (640, 640)))
    return records, found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 40),
    classes=st.integers(1, 4),
    rows_at_once=st.sampled_from([1, 500, 10**6]),
)
def test_figures_equal_pycocotools(
    monkeypatch: pytest.MonkeyPatch, seed: int, images: int, classes: int, rows_at_once: int
) -> None:
    monkeypatch.setattr(coco, "ROWS_AT_ONCE", rows_at_once)
    records, found = invented(seed, images, classes, 30)
    if not any(len(detections) for detections in found):
        return  # pycocotools itself cannot load an empty list of results
    evaluator = CocoEvaluator(tuple(f"c{k}" for k in range(classes)))
    for record, detections in zip(records, found, strict=True):
        evaluator.add(record, detections)
    assert_equal(evaluator.metrics(), direct(records, found, classes))


def test_more_detections_than_any_limit_equal_pycocotools() -> None:
    records, found = invented(1, 5, 1, 400)
    evaluator = CocoEvaluator(("c0",))
    for record, detections in zip(records, found, strict=True):
        evaluator.add(record, detections)
    assert_equal(evaluator.metrics(), direct(records, found, 1))


def test_boxes_without_an_object_of_their_class_are_what_pycocotools_makes_of_them() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 400, (330, 2))
    sides = random.choice([10, 32, 33, 96, 120], (330, 2))  # areas of exactly 32² and 96², too
    boxes = np.concatenate([corners, corners + sides], axis=1).round()
    scores, labels = random.integers(1, 9, 330) / 8, random.integers(0, 2, 330)
    found = Detections(boxes, scores, labels, ("cat", "dog", "ufo"), (640, 640))
    record = build_record(Path("a.jpg"), (640, 640), [Row("r", 2, 0, 0, 9, 9)], ProblemLog())
    images = direct([record], [found], 3).evalImgs
    for label, rows in unmatched_rows(found, np.ones(len(found), np.bool_)):
        assert len(rows) == 100 and set(rows["label"]) == {label}
        assert rows["rank"].tolist() == list(range(100)) and not rows["matched"].any()
        for a in range(4):
            expected = images[label * 4 + a]
            assert rows["score"].tolist() == expected["dtScores"]
            ignored = (rows["ignored"][:, a] & (1 << np.arange(10))[:, None]) > 0
            assert np.array_equal(ignored, expected["dtIgnore"] > 0)


@pytest.mark.parametrize("source", ["coco128:val2017", "bccd:test"])
def test_real_annotations_give_pycocotools_figures(shared: Path, source: str) -> None:
    dataset = read_dataset(f"{shared}/data/{source}")
    random = np.random.default_rng(0)
    found = []
    for record in dataset.images:
        wrong = random.integers(0, len(dataset.names), len(record))
        boxes = np.concatenate([record.boxes + random.normal(0, 5, record.boxes.shape), record.boxes * 0.9])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.concatenate([record.labels, wrong]).astype(np.int32)
        scores = np.sort(random.random(len(labels)).astype(np.float32))[::-1]
        found.append(Detections(boxes.astype(np.float32), scores, labels, dataset.names, (1, 1)))
    answers = iter(found)
    metrics = evaluate_coco(lambda frame: next(answers), dataset)
    assert 0.1 < metrics.map < 0.9
    assert_equal(metrics, direct(list(dataset.images), found, len(dataset.names)))


def test_a_case_worked_by_hand(make_dataset: Callable[..., Dataset], rote: Callable[..., Any]) -> None:
    # Two cats. The first is found with IoU 0.8 (right at 0.5 … 0.8: 7 of 10 thresholds), the second never.
    dataset = make_dataset([(0, (0, 0, 50, 50))], [(0, (0, 0, 50, 50))])
    metrics = evaluate_coco(rote([(0, 0.9, (0, 0, 50, 40))], []), dataset)
    # Recall stops at 1/2: precision 1 at the 51 recall points 0 … 0.50 of 101.
    assert metrics.ap50 == pytest.approx(51 / 101)
    assert metrics.map == pytest.approx(0.7 * 51 / 101)
    assert metrics.ar100 == pytest.approx(0.7 * 0.5)
    assert metrics.ap_medium == metrics.map and math.isnan(metrics.ap_small)
    assert metrics.objects_by_size == {"small": 0, "medium": 2, "large": 0}
    assert [(c.name, c.objects, c.detections) for c in metrics.per_class] == [("cat", 2, 1), ("dog", 0, 0)]
    assert metrics.to_dict()["ap_small"] is None


def test_classes_are_matched_by_name(make_dataset: Callable[..., Dataset], rote: Callable[..., Any]) -> None:
    dataset = make_dataset([(0, (0, 0, 50, 50)), (1, (5, 5, 9, 9))], names=("Cell Phone", "ufo"))
    detector = rote([(1, 0.9, (0, 0, 50, 50)), (0, 0.8, (1, 1, 9, 9))], names=("cat", "cell_phone"))
    metrics = evaluate_coco(detector, dataset)
    assert metrics.map == pytest.approx(1)
    assert [c.name for c in metrics.per_class] == ["Cell Phone"]
    assert metrics.left_out == ("ufo",)


def test_no_class_in_common_is_the_users_to_mend(
    make_dataset: Callable[..., Dataset], rote: Callable[..., Any]
) -> None:
    dataset = make_dataset([(0, (0, 0, 50, 50))])
    with pytest.raises(UsageError, match="share no class: the detector finds ufo, the dataset has cat, dog"):
        evaluate_coco(rote([], names=("ufo",)), dataset)


def test_images_without_labels_cannot_judge(make_dataset: Callable[..., Dataset], rote: Callable[..., Any]) -> None:
    dataset = make_dataset([])
    with pytest.raises(DatasetError, match="without a single box"):
        evaluate_coco(rote([]), dataset)
    with pytest.raises(DatasetError, match="no annotations"):
        evaluate_coco(rote([]), read_dataset(dataset.images[0].path.parent))


def test_nothing_is_printed(
    make_dataset: Callable[..., Dataset], rote: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_coco(rote([(0, 0.9, (0, 0, 50, 40))]), make_dataset([(0, (0, 0, 50, 50))]))
    assert capsys.readouterr() == ("", "")


def test_without_pycocotools_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgedet\[report\]'"):
        CocoEvaluator(("a",))


def test_the_annotations_own_area_decides_how_large_an_object_is() -> None:
    """COCO's area is the segment's: a thin object in a large box is small."""
    row = Row("r", 0, 10, 10, 110, 110, area=500.0)
    record = build_record(Path("a.png"), (400, 400), [row], ProblemLog())
    found = Detections([[10, 10, 110, 110]], [0.9], [0], ("thin",), (400, 400))
    evaluator = CocoEvaluator(("thin",))
    evaluator.add(record, found)
    metrics = evaluator.metrics()
    assert_equal(metrics, direct([record], [found], 1))
    assert metrics.ap_small == pytest.approx(1) and math.isnan(metrics.ap_large)

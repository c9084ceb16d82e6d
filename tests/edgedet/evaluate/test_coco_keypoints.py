"""COCO's figures of keypoints are pycocotools' own."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.artifacts.card import KeypointSpec
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON, Skeleton
from edgedet.calibration.judge import MapJudge
from edgedet.cli import main
from edgedet.datasets import read_dataset
from edgedet.detections import Detections
from edgedet.errors import DatasetError, UsageError
from edgedet.evaluate import evaluate, evaluate_coco, evaluate_keypoints
from edgedet.evaluate.coco_figures import KEYPOINT_STATS
from tests.keypoint_detector import save_keypoint_graph
from tests.rectangle_detector import frame_with_rectangle

pytest.importorskip("pycocotools.cocoeval", reason="needs pycocotools")
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ("person", "dummy")
SIZE = (140, 200)
PICTURES = 21
LINKS = [[first + 1, second + 1] for first, second in COCO_PERSON.links]


@pytest.fixture(scope="module", name="labels")
def _labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with persons of all sizes: some without a labelled keypoint, a crowd among them."""
    folder = tmp_path_factory.mktemp("persons")
    generator = np.random.default_rng(4)
    images, annotations = [], []
    for number in range(1, PICTURES + 1):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((*SIZE, 3), number, np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[1], "height": SIZE[0]})
        for _ in range(int(generator.integers(0, 5))):
            low = generator.uniform((0, 0), (40, 15))
            sides = generator.uniform((15, 15), (160, 125))
            places = (low + generator.uniform(size=(17, 2)) * sides).round()
            seen = generator.choice([0, 1, 2], 17, p=[0.3, 0.2, 0.5])
            seen = seen * (generator.uniform() > 0.15)
            points = np.concatenate([places, seen[:, None]], axis=1) * (seen[:, None] > 0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 + int(generator.uniform() < 0.3),
                    "bbox": [*low.round(2).tolist(), *sides.round(2).tolist()],
                    "area": float((sides.prod() * 0.8).round(2)),
                    "iscrowd": int(generator.uniform() < 0.1),
                    "keypoints": points.astype(int).ravel().tolist(),
                    "num_keypoints": int((seen > 0).sum()),
                }
            )
    named = {"keypoints": list(COCO_PERSON.names), "skeleton": LINKS}
    categories = [{"id": 1, "name": "person", **named}, {"id": 2, "name": "dummy", **named}]
    path = folder / "person_keypoints_val.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def answer(labels: Path) -> Callable[[np.ndarray], Detections]:
    """Persons with keypoints that are off, some of the wrong class, and some that are not there."""
    data = json.loads(labels.read_text())

    def detect(frame: np.ndarray) -> Detections:
        number = int(frame[0, 0, 0])
        generator = np.random.default_rng(number)
        rows = [each for each in data["annotations"] if each["image_id"] == number]
        boxes = np.array([each["bbox"] for each in rows], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        points = np.array([each["keypoints"] for each in rows], np.float32).reshape(-1, 17, 3)
        points[..., :2] += generator.normal(0, 3, (len(rows), 17, 2)) * generator.uniform(0, 2.5, (len(rows), 1, 1))
        extra = generator.uniform(0, 140, (2, 17, 3)).astype(np.float32)
        boxes = np.concatenate([boxes, np.float32([[10, 10, 40, 50], [100, 40, 190, 130]])])
        points = np.concatenate([points, extra])
        truth = np.array([each["category_id"] - 1 for each in rows] + [0, 1])
        classes = np.where(generator.uniform(size=len(boxes)) < 0.15, 1 - truth, truth)
        scores = np.sort(generator.uniform(0.05, 1, len(boxes)))[::-1]
        # More than the 20 of a class that count.
        many = np.arange(len(boxes)).repeat(9)
        scores = np.sort(scores[many] * generator.uniform(0.5, 1, len(many)))[::-1]
        return Detections(
            boxes[many], scores, classes[many], NAMES, SIZE, keypoints=points[many], skeleton=COCO_PERSON
        )

    return detect


def test_figures_are_those_of_pycocotools(labels: Path) -> None:
    dataset, detect = read_dataset(labels, keypoints=True), answer(labels)
    ours = evaluate_keypoints(detect, dataset)
    results: list[dict[str, Any]] = []
    for number in range(1, PICTURES + 1):
        results += detect(np.full((*SIZE, 3), number, np.uint8)).to_coco(number, category_ids=(1, 2))
    for row in results:
        # loadRes takes rows with a box for boxes.
        del row["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(labels))
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    theirs = dict(zip(KEYPOINT_STATS, evaluation.stats.tolist(), strict=True))
    assert 0.05 < theirs["map"] < 0.9 and theirs["ap_medium"] > 0 and 0 < theirs["ap_large"] != theirs["map"]
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12), name
    annotations = json.loads(labels.read_text())["annotations"]
    assert ours.objects == sum(each["num_keypoints"] > 0 and not each["iscrowd"] for each in annotations)
    assert ours.map == pytest.approx(np.mean(list(ours.by_class.values())))


def test_one_pass_judges_boxes_and_keypoints(labels: Path) -> None:
    detect = answer(labels)
    both = evaluate(detect, read_dataset(labels, keypoints=True))
    assert both.keypoints is not None and both.no_keypoints == ""
    assert both.to_dict()["keypoints"]["map"] == pytest.approx(both.keypoints.map)
    boxes = evaluate(detect, read_dataset(labels))
    assert boxes.keypoints is None and boxes.to_dict()["keypoints_absent"].endswith(
        "person_keypoints_val.json has none"
    )
    assert boxes.coco.map == both.coco.map == evaluate_coco(detect, read_dataset(labels)).map


def test_what_cannot_be_judged_is_said(labels: Path) -> None:
    dataset, detect = read_dataset(labels, keypoints=True), answer(labels)
    assert dataset.skeleton == COCO_PERSON
    with pytest.raises(DatasetError, match=r"person_keypoints_val\.json has none"):
        evaluate_keypoints(detect, read_dataset(labels))
    with pytest.raises(UsageError, match="keypoints are to be judged, and this detector gives none"):
        evaluate_keypoints(lambda frame: replace(detect(frame), keypoints=None, skeleton=None), dataset)
    other = replace(COCO_PERSON, names=tuple(reversed(COCO_PERSON.names)))
    with pytest.raises(DatasetError, match=r"gives 17 from 'right_ankle' on, .* has 17 from 'nose' on"):
        evaluate_keypoints(lambda frame: replace(detect(frame), skeleton=other), dataset)
    with pytest.raises(DatasetError, match="COCO's measure is of its own 17 points"):
        evaluate_keypoints(lambda frame: replace(detect(frame), skeleton=other), replace(dataset, skeleton=other))


@pytest.fixture(name="one_person")
def _one_person(tmp_path: Path) -> Path:
    """A green rectangle, which the toy finds, labelled as its keypoints lie."""
    cv2.imwrite(str(tmp_path / "1.png"), frame_with_rectangle(64, 64, (10, 10, 50, 50)))
    points = [[10, 10, 2], [50, 50, 2]] + [[0, 0, 0]] * 15
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}
    data = {
        "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 64}],
        "annotations": [annotation | {"keypoints": np.ravel(points).tolist(), "num_keypoints": 2}],
        "categories": [
            {"id": number, "name": name, "keypoints": list(COCO_PERSON.names), "skeleton": LINKS}
            for number, name in enumerate(("blue", "green", "red"), 1)
        ],
    }
    data["annotations"][0]["category_id"] = 2
    path = tmp_path / "person_keypoints_val.json"
    path.write_text(json.dumps(data))
    return path


def test_the_command_prints_both(one_person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = one_person.with_name("model.onnx")
    save_keypoint_graph(graph, skeleton=COCO_PERSON)
    words = ["eval", str(graph), str(one_person)]
    assert main(words) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("points"))
    assert "AP50 1.000" in line and "large     -" in line
    assert main([*words, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["keypoints"]["ap75"] > 0.99
    save_keypoint_graph(graph)
    assert main(words) == 0
    assert "points  not judged: the detector gives 2 from 'first' on" in capsys.readouterr().out


def test_int8_is_judged_by_them(one_person: Path) -> None:
    from edgedet import Detector

    graph = one_person.with_name("model.onnx")
    card = save_keypoint_graph(graph, skeleton=COCO_PERSON)
    assert card.output.keypoints == KeypointSpec("points", COCO_PERSON)
    outputs = ("boxes", "scores", "labels", "count", "keypoints")
    with Detector(graph) as detector:

        def run(tensor: Any, aside: float = 0.0) -> Any:
            values = {name: each.copy() for name, each in detector._runtime.run({"images": tensor}).items()}
            values["keypoints"][..., 0] += aside
            return values

        judge = MapJudge(card, read_dataset(one_person, keypoints=True), outputs)
        assert judge.name == "mAP of keypoints" and judge(run) == pytest.approx(1)
        assert judge(lambda tensor: run(tensor, 12.0)) < 0.5  # type: ignore[operator]
        assert MapJudge(card, read_dataset(one_person), outputs).name.startswith("mAP of boxes; the labels have no")
    other = replace(card.output, keypoints=KeypointSpec("points", Skeleton(("a", "b"))))
    judge = MapJudge(replace(card, output=other), read_dataset(one_person, keypoints=True), outputs)
    assert judge.name.startswith("mAP of boxes")

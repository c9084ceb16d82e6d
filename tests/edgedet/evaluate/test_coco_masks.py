"""COCO's figures of masks are pycocotools' own."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.cli import main
from edgedet.datasets import read_dataset
from edgedet.detections import Detections
from edgedet.errors import DatasetError, UsageError
from edgedet.evaluate import evaluate
from edgedet.evaluate.coco import evaluate_coco
from edgedet.evaluate.coco_figures import STATS
from edgedet.masks.box_masks import BoxMasks
from tests.masked_detector import save_masked_graph
from tests.rectangle_detector import frame_with_rectangle

pytest.importorskip("pycocotools.cocoeval", reason="needs pycocotools")
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ("cat", "dog")
SIZE = (140, 200)
PICTURES = 21


def ellipse(generator: np.random.Generator) -> tuple[list[float], list[float]]:
    """A polygon and its box x, y, w, h."""
    centre, radii = generator.uniform((30, 25), (170, 115)), generator.uniform((4, 4), (95, 70))
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = np.clip(centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1), 0, (200, 140))
    low, high = points.min(axis=0), points.max(axis=0)
    return points.round(2).ravel().tolist(), [*low.tolist(), *(high - low).tolist()]


@pytest.fixture(scope="module", name="labels")
def _labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with ellipses, a crowd among them given by run lengths."""
    from pycocotools import mask

    folder = tmp_path_factory.mktemp("outlined")
    generator = np.random.default_rng(4)
    images, annotations = [], []
    for number in range(1, PICTURES + 1):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((*SIZE, 3), number, np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[1], "height": SIZE[0]})
        for _ in range(int(generator.integers(0, 5))):
            polygon, box = ellipse(generator)
            annotation: dict[str, Any] = {"segmentation": [polygon], "bbox": box, "iscrowd": 0}
            rle = mask.merge(mask.frPyObjects([polygon], *SIZE))
            annotation["area"] = float(mask.area(rle))
            if generator.uniform() < 0.15:
                annotation |= {"iscrowd": 1, "segmentation": rle | {"counts": rle["counts"].decode()}}
            annotation |= {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": 1 + int(generator.integers(2)),
            }
            annotations.append(annotation)
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    path = folder / "instances_val.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def answer(labels: Path) -> Callable[[np.ndarray], Detections]:
    """Objects with edges that are off, some of the wrong class, and some that are not there."""
    data = json.loads(labels.read_text())

    def detect(frame: np.ndarray) -> Detections:
        number = int(frame[0, 0, 0])
        generator = np.random.default_rng(number)
        rows = [each for each in data["annotations"] if each["image_id"] == number]
        boxes = np.array([each["bbox"] for each in rows], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes += generator.normal(0, 3, boxes.shape).astype(np.float32)
        extra = np.float32([[10, 10, 40, 50], [100, 40, 190, 130]])
        boxes = np.clip(np.concatenate([boxes, extra]), 0, (200, 140, 200, 140)).astype(np.float32)
        count = len(boxes)
        y, x = np.mgrid[:28, :28]
        radius = generator.uniform(9, 15, (count, 1, 1))
        bitmaps = 1 / (1 + np.exp(np.hypot(x - 13.5, y - 13.5) - radius))
        truth = np.array([each["category_id"] - 1 for each in rows] + [0, 1])
        classes = np.where(generator.uniform(size=count) < 0.15, 1 - truth, truth)
        scores = np.sort(generator.uniform(0.05, 1, count))[::-1]
        masks = BoxMasks(bitmaps.astype(np.float32), boxes, SIZE)
        return Detections(boxes, scores, classes, NAMES, SIZE, masks=masks)

    return detect


def test_figures_are_those_of_pycocotools(labels: Path) -> None:
    dataset, detect = read_dataset(labels, outlines=True), answer(labels)
    ours = evaluate_coco(detect, dataset, of="masks")
    results = []
    for number in range(1, PICTURES + 1):
        found = detect(np.full((*SIZE, 3), number, np.uint8))
        results += [row for row in found.to_coco(number, category_ids=(1, 2))]
    for row in results:
        del row["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(labels))
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    theirs = dict(zip(STATS, evaluation.stats.tolist(), strict=True))
    assert 0.1 < theirs["map"] < 0.9 and theirs["ap_small"] > -1
    assert theirs["ap_large"] > -1
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12), name
    assert ours.map != pytest.approx(evaluate_coco(detect, dataset).map, abs=1e-3), "boxes are another matter"


def test_one_pass_judges_boxes_and_masks(labels: Path) -> None:
    detect = answer(labels)
    both = evaluate(detect, read_dataset(labels, outlines=True))
    assert (
        both.masks is not None
        and both.masks.map == evaluate_coco(detect, read_dataset(labels, outlines=True), of="masks").map
    )
    assert both.to_dict()["masks"]["map"] == pytest.approx(both.masks.map)
    boxes = evaluate(detect, read_dataset(labels))
    assert boxes.masks is None and "have no outline" in boxes.to_dict()["masks_absent"]
    assert boxes.coco.map == both.coco.map


def test_what_is_missing_is_said(labels: Path) -> None:
    with pytest.raises(DatasetError, match=r"masks are to be judged, and .* objects .* have no outline"):
        evaluate_coco(answer(labels), read_dataset(labels), of="masks")

    def without(frame: np.ndarray) -> Detections:
        return Detections.empty(NAMES, SIZE)

    with pytest.raises(UsageError, match="this detector gives none"):
        evaluate_coco(without, read_dataset(labels, outlines=True), of="masks")
    plain = evaluate(without, read_dataset(labels))
    assert not {"masks", "masks_absent"} & plain.to_dict().keys()


@pytest.mark.parametrize(
    "outline", [None, [], [[1, 2, 3]], [[1, 2, 3, 4, 5, "x"]], {"size": [2], "counts": "0"}, "text"]
)
def test_damaged_outlines_are_none(labels: Path, tmp_path: Path, outline: object) -> None:
    data = json.loads(labels.read_text())
    data["annotations"][0]["segmentation"] = outline
    (tmp_path / "a.json").write_text(json.dumps(data))
    dataset = read_dataset(tmp_path / "a.json", images=labels.parent, outlines=True)
    kept = [each for record in dataset.images for each in record.outlines or [None] * len(record)]
    assert kept.count(None) == 1 and len(kept) == dataset.box_count


def test_the_command_prints_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_masked_graph(tmp_path / "model.onnx")
    box = (40, 40, 160, 160)
    cv2.imwrite(str(tmp_path / "1.png"), frame_with_rectangle(200, 200, box))
    # The masks leave out a quarter of the box.
    polygon = [40, 70, 160, 70, 160, 160, 40, 160]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [40, 40, 120, 120], "area": 10800, "iscrowd": 0}
    data = {
        "images": [{"id": 1, "file_name": "1.png", "width": 200, "height": 200}],
        "annotations": [annotation | {"segmentation": [polygon]}],
        "categories": [{"id": 1, "name": "green"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(data))
    words = ["eval", str(tmp_path / "model.onnx"), str(tmp_path / "labels.json")]
    assert main(words) == 0
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("masks"))
    assert "AP50 1.000" in line
    assert main([*words, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["masks"]["ap75"] > 0.99

"""Outlines from one format into another: COCO's, YOLO's polygons, Pascal VOC's pictures of numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import Detections
from edgedet.cli import main
from edgedet.datasets import Dataset, ImageRecord, read_dataset
from edgedet.datasets.convert import convert
from edgedet.datasets.outlines import one_ring, outline_fault, outline_pixels, pixels_outline
from edgedet.errors import DatasetError
from edgedet.evaluate.coco import coco_metrics
from edgedet.evaluate.coco_iou_types import why_no_outlines
from edgedet.masks.canvas_masks import CanvasMasks

mask = pytest.importorskip("pycocotools.mask")
HEIGHT, WIDTH = 60, 80


def blob(seed: int) -> np.ndarray:
    """Several parts with holes, bool [60, 80]."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH))
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3) > 0.1)


def shapes() -> list[tuple[np.ndarray, Any]]:
    """Pixels and outline of four objects: polygons, two parts, run lengths, run lengths that are not compressed."""
    triangle = [[5.0, 5.0, 30.0, 8.0, 12.0, 28.0]]
    parts = [[40.0, 2.0, 60.0, 2.0, 60.0, 12.0, 40.0, 12.0], [64.0, 20.0, 78.0, 20.0, 70.0, 34.0]]
    ring = np.zeros((HEIGHT, WIDTH), np.bool_)
    ring[36:56, 4:24], ring[42:50, 10:18] = True, False
    square = np.zeros((HEIGHT, WIDTH), np.bool_)
    square[40:58, 40:70] = True
    plain = {"size": [HEIGHT, WIDTH], "counts": [40 * HEIGHT + 40, *([18, 42] * 30)][:-1]}
    plain["counts"].append(HEIGHT * WIDTH - sum(plain["counts"]))
    outlines: list[Any] = [triangle, parts, pixels_outline(ring), plain]
    return [(outline_pixels(each, (HEIGHT, WIDTH)), each) for each in outlines]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A dataset of two pictures, the first with outlines of all kinds, the second with none."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    annotations = []
    for number, (pixels, outline) in enumerate(shapes()):
        x, y, w, h = cv2.boundingRect(pixels.astype(np.uint8))
        annotations.append(
            {"id": number + 1, "image_id": 1, "category_id": 1 + number % 2, "bbox": [x, y, w, h], "iscrowd": 0,
             "area": int(pixels.sum()), "segmentation": outline}
        )  # fmt: skip
    path = folder / "instances_train.json"
    images = [
        {"id": i, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for i, name in ((1, "a"), (2, "b"))
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def pixels_of(dataset: Dataset) -> list[np.ndarray]:
    record = next(record for record in dataset.images if record.path.stem == "a")
    assert record.outlines is not None and dataset.names == ("cat", "dog")
    assert record.labels.tolist() == [0, 1, 0, 1]
    return [outline_pixels(each, (HEIGHT, WIDTH)) for each in record.outlines]


def ious(dataset: Dataset) -> list[float]:
    pairs = zip(pixels_of(dataset), (pixels for pixels, _ in shapes()), strict=True)
    return [float((one & other).sum() / (one | other).sum()) for one, other in pairs]


@pytest.mark.parametrize("route", [("coco",), ("voc", "coco"), ("voc", "voc"), ("coco", "voc", "coco")])
def test_pixels_stay_on_routes_of_pixels(coco: Path, tmp_path: Path, route: tuple[str, ...]) -> None:
    dataset = read_dataset(coco, outlines=True)
    for step, name in enumerate(route):
        done = convert(dataset, tmp_path / str(step), to=name)
        assert not done.lost
        dataset = read_dataset(tmp_path / str(step), outlines=True, problems="stop")
    assert ious(dataset) == [1.0] * 4 and not why_no_outlines(dataset)
    np.testing.assert_array_equal(dataset.images[0].area, [pixels.sum() for pixels, _ in shapes()])


@pytest.mark.parametrize("route", [("yolo",), ("yolo", "coco"), ("voc", "yolo", "voc")])
def test_polygons_of_yolo_hold_parts_and_holes(coco: Path, tmp_path: Path, route: tuple[str, ...]) -> None:
    dataset = read_dataset(coco, outlines=True)
    for step, name in enumerate(route):
        convert(dataset, tmp_path / str(step), to=name)
        dataset = read_dataset(tmp_path / str(step), outlines=True, problems="stop")
    assert min(ious(dataset)) > 0.97, ious(dataset)
    (first, *_) = [record for record in dataset.images if record.path.stem == "a"]
    assert np.abs(first.boxes - read_dataset(coco).images[0].boxes).max() < 1.01


@pytest.mark.parametrize("seed", range(6))
def test_a_ring_along_pixels_is_the_pixels(seed: int) -> None:
    pixels = blob(seed)
    ring = one_ring(pixels_outline(pixels), pixels.shape)
    drawn = outline_pixels([ring.ravel().tolist()], pixels.shape)
    assert (drawn & pixels).sum() / (drawn | pixels).sum() > 0.97
    area = 0.5 * abs(np.sum(ring[:, 0] * np.roll(ring[:, 1], -1) - ring[:, 1] * np.roll(ring[:, 0], -1)))
    assert area == pytest.approx(pixels.sum()), "lines between parts hold no area"


def test_run_lengths_are_pycocotools_own() -> None:
    pixels = blob(7)
    theirs = mask.encode(np.asfortranarray(pixels, np.uint8))
    assert pixels_outline(pixels)["counts"] == theirs["counts"].decode()
    np.testing.assert_array_equal(outline_pixels(pixels_outline(pixels), pixels.shape), pixels)


@pytest.mark.parametrize("name", ["coco", "voc", "yolo"])
def test_figures_of_masks_are_those_of_any_format(coco: Path, tmp_path: Path, name: str) -> None:
    """What finds every pixel has them all; what finds the upper half of each, the same few in every format."""
    convert(read_dataset(coco, outlines=True), tmp_path / name, to=name)
    dataset = read_dataset(tmp_path / name, outlines=True)
    for share, expected in ((1.0, 1.0), (0.5, 0.302)):
        metrics = coco_metrics((found_of(record, share) for record in dataset.images), dataset, of="masks")
        assert metrics.map == pytest.approx(expected, abs=0.01)


def found_of(record: ImageRecord, share: float) -> Detections:
    """That share of the rows of every object of the first picture."""
    pixels = [pixels.copy() for pixels, _ in shapes()] if record.path.stem == "a" else []
    for each in pixels:
        rows = np.flatnonzero(each.any(axis=1))
        each[rows[round(len(rows) * share) :]] = False
    boxes = [(x, y, x + w, y + h) for x, y, w, h in (cv2.boundingRect(each.astype(np.uint8)) for each in pixels)]
    size = (HEIGHT, WIDTH)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.linspace(0.9, 0.6, len(pixels)), [0, 1, 0, 1][: len(pixels)],
        ("cat", "dog"), size, masks=CanvasMasks.of_frames(pixels, size),
    )  # fmt: skip


def test_what_is_lost_is_said(coco: Path, tmp_path: Path) -> None:
    dataset = read_dataset(coco, outlines=True)
    assert any("4 outlines" in what for what in convert(dataset, tmp_path / "t", to="annotation").lost)
    data = json.loads(coco.read_text())
    del data["annotations"][1]["segmentation"]
    data["annotations"][2]["segmentation"] = data["annotations"][0]["segmentation"]
    coco.write_text(json.dumps(data))
    dataset = read_dataset(coco, outlines=True)
    mixed = convert(dataset, tmp_path / "yolo", to="yolo")
    assert "3 outlines of pictures where some objects have none" in mixed.lost
    assert read_dataset(tmp_path / "yolo", outlines=True).images[0].outlines is None
    assert "1 outlines where others are in front of them" in convert(dataset, tmp_path / "voc", to="voc").lost


def test_voc_pictures_of_numbers_that_do_not_fit_are_named(coco: Path, tmp_path: Path) -> None:
    convert(read_dataset(coco, outlines=True), tmp_path / "voc", to="voc")
    path = tmp_path / "voc" / "SegmentationObject" / "a.png"
    numbers = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    swapped = numbers.copy()
    swapped[numbers == 1], swapped[numbers == 2] = 2, 1
    swapped[numbers == 4] = 255
    cv2.imwrite(str(path), swapped)
    dataset = read_dataset(tmp_path / "voc", outlines=True)
    reasons = [(problem.reason, problem.done) for problem in dataset.problems]
    assert reasons == [
        ("outline elsewhere than the box", "outline dropped"),
        ("outline elsewhere than the box", "outline dropped"),
        ("object without pixels in its outlines", "outline dropped"),
    ]
    assert "3 of 4 objects" in why_no_outlines(dataset)
    for content, reason in ((numbers[:30], "outlines of another size"), (None, "unreadable outlines")):
        if content is None:
            path.write_bytes(b"no picture")
        else:
            cv2.imwrite(str(path), content)
        assert reason in read_dataset(tmp_path / "voc", outlines=True).describe()
        assert not read_dataset(tmp_path / "voc").problems, "nobody asked for outlines"


def test_lists_of_outlined_pictures_are_splits_of_their_own(coco: Path, tmp_path: Path) -> None:
    root = tmp_path / "voc"
    convert(read_dataset(coco, outlines=True), root, to="voc")
    (root / "ImageSets" / "Segmentation").mkdir()
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    with pytest.raises(DatasetError, match="train, segmentation_val; name one"):
        read_dataset(root)
    dataset = read_dataset(f"{root}:segmentation_val", outlines=True)
    assert len(dataset) == 1 and dataset.splits == ("segmentation_val",) and not why_no_outlines(dataset)
    assert len(read_dataset(f"{root}:all")) == 2


def test_the_command_keeps_outlines_when_asked(coco: Path, tmp_path: Path) -> None:
    assert main(["convert", str(coco), str(tmp_path / "with"), "--to", "yolo", "--outlines"]) == 0
    assert main(["convert", str(coco), str(tmp_path / "without"), "--to", "yolo"]) == 0
    lines = [(tmp_path / name / "labels/train/a.txt").read_text().splitlines() for name in ("with", "without")]
    assert [len(line.split()) for line in lines[1]] == [5] * 4
    assert all(len(line.split()) >= 7 for line in lines[0])


RUNS = {
    "another size": [10, 10, [0, 100]],
    "more or fewer": [HEIGHT, WIDTH, [5, 5]],
    "more or fewer pixels": [HEIGHT, WIDTH, [5, 10**7]],
    "fewer pixels": [HEIGHT, WIDTH, [-5, HEIGHT * WIDTH + 5]],
    "or fewer": [HEIGHT, WIDTH, [0.5, HEIGHT * WIDTH - 0.5]],
    "fewer": [HEIGHT, WIDTH, ["a", "b"]],
    "cannot be read": [HEIGHT, WIDTH, "\x01zz"],
    "pixels than": [HEIGHT, WIDTH, "222"],
}
"""Run lengths that are none of the picture's, and what is said of them."""


@pytest.mark.parametrize("reason", RUNS)
def test_run_lengths_that_are_none_of_the_picture_are_no_outline(coco: Path, reason: str) -> None:
    height, width, counts = RUNS[reason]
    file = next(iter(sorted(coco.parent.rglob("*.json"))))
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = {"size": [height, width], "counts": counts}
    file.write_text(json.dumps(content))
    dataset = read_dataset(coco, outlines=True)
    (problem,) = dataset.problems
    assert reason in problem.reason and problem.done == "outline dropped"
    assert "1 of 4 objects" in why_no_outlines(dataset)


@pytest.mark.parametrize(
    "polygon", [[100, 100, 200, 100, 200, 200], [-1e9, -1e9, 1e9, -1e9, 1e9, 1e9], [0, 0, 500, 0, 500, 40]]
)
def test_polygons_far_outside_of_the_picture_are_no_outline(polygon: list[float]) -> None:
    assert outline_fault([polygon], (HEIGHT, WIDTH)) == "outline outside the picture"
    assert not outline_fault([[-3, -3, 50, -3, WIDTH + 5, 40]], (HEIGHT, WIDTH)), (
        "tools round, and overrun a little"
    )


@pytest.mark.parametrize(
    "outline",
    [
        [[1, 2, 3]],
        [[1, 2, 3, 4]],
        [[]],
        [[1, 2, float("nan"), 4, 5, 6]],
        [1, 2, 3, 4, 5, 6],
        "text",
        {"counts": [5]},
    ],
)
def test_what_is_no_outline_is_named(coco: Path, outline: Any) -> None:
    dataset = with_first_outline(coco, outline)
    (problem,) = dataset.problems
    assert "neither polygons nor run lengths" in problem.reason and problem.done == "outline dropped"
    assert "annotations[0]" in problem.where and "1 of 4 objects" in why_no_outlines(dataset)


@pytest.mark.parametrize("outline", [None, []])
def test_an_object_of_which_only_the_box_is_known_is_no_fault(coco: Path, outline: Any) -> None:
    assert not with_first_outline(coco, outline).problems


@pytest.mark.parametrize(
    "outline",
    [[[9, 9, 9, 9, 9, 9]], [[5, 5, 25, 25, 15, 15]], {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}],
)
def test_an_outline_without_area_is_an_object_that_no_mask_matches_as_pycocotools_has_it(
    coco: Path, outline: Any
) -> None:
    dataset = with_first_outline(coco, outline)
    (problem,) = dataset.problems
    assert "outline without area" in problem.reason and problem.done == "object kept"
    assert not why_no_outlines(dataset) and dataset.box_count == 4
    (record, *_) = [each for each in dataset.images if each.outlines and outline in each.outlines]
    assert not outline_pixels(outline, (HEIGHT, WIDTH)).any() and len(record) == len(record.outlines or ())
    with pytest.raises(DatasetError, match="outline without area"):
        read_dataset(coco, outlines=True, problems="stop")


def with_first_outline(coco: Path, outline: Any) -> Dataset:
    file = next(iter(sorted(coco.parent.rglob("*.json"))))
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = outline
    file.write_text(json.dumps(content))
    return read_dataset(coco, outlines=True)


def test_a_voc_folder_without_lists_has_its_outlines(coco: Path, tmp_path: Path) -> None:
    convert(read_dataset(coco, outlines=True), tmp_path / "voc", to="voc")
    shutil.rmtree(tmp_path / "voc" / "ImageSets")
    dataset = read_dataset(tmp_path / "voc", outlines=True)
    assert not dataset.problems and dataset.box_count == 4
    assert not why_no_outlines(dataset)

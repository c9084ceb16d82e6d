"""Keypoints are read from COCO and YOLO, converted between the two, and what is wrong with them is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.artifacts.keypoint_skeleton import COCO_PERSON, Skeleton
from edgedet.datasets import read_dataset
from edgedet.datasets.convert import convert
from edgedet.errors import DatasetError

POINTS = [[20.0, 10.0, 2.0], [40.5, 30.25, 1.0], [0.0, 0.0, 0.0]]


@pytest.fixture(name="coco")
def _coco(tmp_path: Path) -> Path:
    """Two objects, of which the second has no labelled keypoint, and a picture without any."""
    return save_coco(tmp_path / "coco")


def save_coco(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((50, 80, 3), number, np.uint8))
    images = [{"id": number, "file_name": f"{number}.png", "width": 80, "height": 50} for number in (1, 2)]
    row = {"image_id": 1, "category_id": 1, "area": 900, "iscrowd": 0}
    annotations = [
        row
        | {"id": 1, "bbox": [15, 5, 30, 30], "keypoints": np.ravel(POINTS).tolist(), "num_keypoints": 2}
        | changes,
        row | {"id": 2, "bbox": [50, 5, 20, 30]},
    ]
    categories = [
        {"id": 1, "name": "hand", "keypoints": ["palm", "tip", "nail"], "skeleton": [[1, 2], [2, 3]]},
        {"id": 2, "name": "cup"},
    ]
    path = folder / "instances_train.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_coco_gives_them_where_they_are_asked_for(coco: Path) -> None:
    dataset = read_dataset(coco, keypoints=True)
    assert dataset.skeleton == Skeleton(("palm", "tip", "nail"), ((0, 1), (1, 2)))
    first, second = dataset.images
    np.testing.assert_array_equal(first.keypoints, [POINTS, np.zeros((3, 3))])
    assert second.keypoints is not None and second.keypoints.shape == (0, 3, 3)
    cups = dataset.select_classes(["cup"])
    assert cups.images[0].keypoints is not None and cups.images[0].keypoints.shape == (0, 3, 3)
    plain = read_dataset(coco)
    assert plain.skeleton is None and plain.images[0].keypoints is None


@pytest.mark.parametrize("points", [[1, 2], "text", [1, 2, 5] * 3, [1, 2, None] * 3, [1, 2, 2] * 4])
def test_keypoints_that_cannot_be_cost_their_box_and_are_said(tmp_path: Path, points: Any) -> None:
    dataset = read_dataset(save_coco(tmp_path / "coco", keypoints=points), keypoints=True)
    assert dataset.box_count == 1 and "not x, y and 0, 1 or 2 for each of 3" in str(dataset.problems[0])
    assert read_dataset(tmp_path / "coco" / "instances_train.json").box_count == 2


@pytest.mark.parametrize(
    ("category", "said"),
    [
        ({"name": "cup", "keypoints": ["rim"]}, "categories name different ones"),
        ({"name": "hand", "keypoints": ["palm"], "skeleton": [[1, 5]]}, "cannot be meant"),
        ({"name": "hand", "keypoints": ["palm"], "skeleton": ["x"]}, "cannot be meant"),
    ],
)
def test_categories_that_contradict_are_noted(coco: Path, category: dict[str, Any], said: str) -> None:
    data = json.loads(coco.read_text())
    index = next(i for i, each in enumerate(data["categories"]) if each["name"] == category["name"])
    data["categories"][index] |= category
    coco.write_text(json.dumps(data))
    dataset = read_dataset(coco, keypoints=True)
    assert dataset.skeleton is None and dataset.images[0].keypoints is None and dataset.box_count == 2
    assert any(said in note for note in dataset.notes)


def test_there_and_back_again(coco: Path, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    dataset = read_dataset(coco, keypoints=True)
    assert not any("keypoints" in lost for lost in convert(dataset, tmp_path / "yolo", to="yolo").lost)
    lines = (tmp_path / "yolo" / "labels" / "train" / "1.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [14, 14]
    yolo = read_dataset(tmp_path / "yolo", keypoints=True)
    assert yolo.skeleton == Skeleton(("palm", "tip", "nail")), "YOLO has no word for what is joined"
    np.testing.assert_allclose(yolo.images[0].keypoints, dataset.images[0].keypoints, atol=1e-3)
    convert(yolo, tmp_path / "again", to="coco")
    again = read_dataset(tmp_path / "again", keypoints=True)
    np.testing.assert_allclose(again.images[0].keypoints, dataset.images[0].keypoints, atol=1e-3)
    data = json.loads(next((tmp_path / "again").glob("*.json")).read_text())
    assert [each["num_keypoints"] for each in data["annotations"]] == [2, 0]
    lost = convert(dataset, tmp_path / "voc", to="voc").lost
    assert "1 objects' keypoints" in lost


def save_pose(folder: Path, shape: str, *lines: str) -> Path:
    (folder / "images" / "train").mkdir(parents=True)
    (folder / "labels" / "train").mkdir(parents=True)
    cv2.imwrite(str(folder / "images" / "train" / "1.png"), np.zeros((50, 80, 3), np.uint8))
    (folder / "labels" / "train" / "1.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text(f"train: images/train\nnames: [person]\nkpt_shape: {shape}\n")
    return folder / "data.yaml"


def test_yolo_pose_files(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    box = "0 0.5 0.5 0.25 0.4"
    three = save_pose(tmp_path / "three", "[2, 3]", f"{box} 0.25 0.5 2 0.5 0.1 0", f"{box} 0.25 0.5 2")
    dataset = read_dataset(three, keypoints=True)
    np.testing.assert_allclose(dataset.images[0].keypoints, [[[20, 25, 2], [0, 0, 0]]])
    assert dataset.skeleton == Skeleton(("keypoint 1", "keypoint 2"))
    assert "keypoints of another number than kpt_shape says" in str(dataset.problems[0])
    plain = read_dataset(three)
    assert plain.images[0].keypoints is None and plain.skeleton is None
    two = save_pose(tmp_path / "two", "[2, 2]", f"{box} 0.25 0.5 -1 -1")
    np.testing.assert_allclose(read_dataset(two, keypoints=True).images[0].keypoints, [[[20, 25, 2], [0, 0, 0]]])
    persons = save_pose(tmp_path / "coco", "[17, 3]", f"{box} {'0.5 0.5 1 ' * 17}")
    assert read_dataset(persons, keypoints=True).skeleton == COCO_PERSON
    damaged = save_pose(tmp_path / "damaged", "[2]", f"{box} 0.25 0.5")
    assert read_dataset(damaged, keypoints=True).skeleton is None
    with pytest.raises(DatasetError, match="keypoints of another number"):
        read_dataset(three, keypoints=True, problems="stop")

"""The picture that an annotation means: one and no other, or the annotation is left out and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edgedet.datasets import read_dataset
from tests.edgedet.datasets.annotation_files import coco_json, csv_rows, voc_xml

Picture = Callable[..., Path]


def test_two_annotations_cannot_share_a_picture(picture: Picture, tmp_path: Path) -> None:
    picture("set/images/a.png")
    voc_xml(tmp_path / "set/annotations/x/a.xml", "cat")
    voc_xml(tmp_path / "set/annotations/y/a.xml", "cat")
    dataset = read_dataset(tmp_path / "set")
    assert len(dataset) == 1
    assert [p.reason for p in dataset.problems] == ["another annotation of the same picture"]


def test_an_annotation_of_two_pictures_belongs_to_neither(picture: Picture, tmp_path: Path) -> None:
    for name in ("x/a.png", "y/a.png", "z/b.png"):
        picture(f"set/{name}")
    voc_xml(tmp_path / "set/xml/a.xml", "cat")
    voc_xml(tmp_path / "set/xml/b.xml", "cat")
    dataset = read_dataset(tmp_path / "set")
    assert [record.path.name for record in dataset.images] == ["b.png"]
    assert [p.reason for p in dataset.problems] == ["several pictures of that name"]


def test_names_that_mean_one_picture_are_told_apart_or_dropped(picture: Picture, tmp_path: Path) -> None:
    picture("set/a.png")
    picture("set/b.png")
    path = coco_json(tmp_path / "set/x.json", (1, "cat"), picture="cam1/a.png")
    data = json.loads(path.read_text())
    data["images"] += [data["images"][0] | {"id": 2, "file_name": "cam2/a.png"}]
    data["images"] += [data["images"][0] | {"id": 3, "file_name": "cam2/b.png"}]
    path.write_text(json.dumps(data))
    dataset = read_dataset(path)
    assert [record.path.name for record in dataset.images] == ["b.png"]
    assert [p.reason for p in dataset.problems] == ["picture of several images"] * 2


def test_a_validation_picture_is_never_taken_from_the_training_pictures(picture: Picture, tmp_path: Path) -> None:
    for name in ("train/1.png", "train/2.png", "val/1.png"):
        picture(f"set/{name}")
    path = coco_json(tmp_path / "set/annotations/instances_val.json", (1, "cat"), picture="1.png")
    data = json.loads(path.read_text())
    data["images"] += [data["images"][0] | {"id": 2, "file_name": "2.png"}]
    path.write_text(json.dumps(data))
    dataset = read_dataset(path)
    assert [record.path for record in dataset.images] == [tmp_path / "set/val/1.png"]
    assert [p.reason for p in dataset.problems] == ["missing image"]


def test_boxes_in_a_folder_beside_the_pictures(picture: Picture, tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(f"set/images/{split}_a.jpg")
        csv_rows(tmp_path / f"set/data/{split}_labels.csv", "cat", picture=f"{split}_a.jpg")
    assert read_dataset(f"{tmp_path}/set:test").images[0].path.name == "test_a.jpg"

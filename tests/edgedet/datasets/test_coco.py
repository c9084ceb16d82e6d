"""COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError

Picture = Callable[..., Path]


def content(**changes: Any) -> dict[str, Any]:
    data = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 44, "bbox": [2, 3, 10, 5], "area": 41.5, "iscrowd": 1}
        ],
        "categories": [{"id": 44, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    return data | changes


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def test_boxes_classes_crowds_and_areas(picture: Picture, tmp_path: Path) -> None:
    picture("val2017/a.jpg")
    dataset = read_dataset(write(tmp_path / "instances_val2017.json", content()))
    (record,) = dataset.images
    assert dataset.names == ("dog", "cat")  # ascending ids
    assert record.boxes.tolist() == [[2, 3, 12, 8]]
    assert (record.labels.tolist(), record.crowd.tolist(), record.area.tolist()) == ([1], [True], [41.5])
    assert (record.width, record.height, record.split) == (40, 30, "val2017")


@pytest.mark.parametrize(
    ("pictures", "annotations"),
    [
        ("val2017/a.jpg", "annotations/instances_val2017.json"),
        ("images/val2017/a.jpg", "annotations/instances_val2017.json"),
        ("images/a.jpg", "labels.json"),
        ("a.jpg", "labels.json"),
        ("valid/a.jpg", "valid/_annotations.coco.json"),
    ],
)
def test_pictures_are_found_at_the_usual_places(
    picture: Picture, tmp_path: Path, pictures: str, annotations: str
) -> None:
    path = picture(pictures)
    assert read_dataset(write(tmp_path / annotations, content())).images[0].path == path


def test_pictures_elsewhere_need_to_be_named(picture: Picture, tmp_path: Path) -> None:
    picture("far/away/a.jpg")
    path = write(tmp_path / "sets/instances_val2017.json", content())
    with pytest.raises(DatasetError, match=r"no folder holds its pictures \(tried .*name it with --images"):
        read_dataset(path)
    assert len(read_dataset(path, images=tmp_path / "far/away")) == 1


def test_a_folder_offers_its_files_as_splits(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    for split in ("train", "val"):
        write(tmp_path / f"annotations/instances_{split}.json", content())
    with pytest.raises(DatasetError, match="splits train, val; name one"):
        read_dataset(tmp_path)
    assert read_dataset(f"{tmp_path}:val").splits == ("val",)
    assert read_dataset(f"{tmp_path}:all").splits == ("train", "val")


def test_bad_entries_are_named_with_their_place(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    good = content()["annotations"][0]
    annotations = [good, good | {"category_id": 5}, good | {"bbox": [1, 2, 3]}, good | {"image_id": 8}, "x"]
    annotations += [good | {"bbox": [1, "x", 3, 4]}, good | {"bbox": [1, 2, 0, 4]}]
    annotations += [good | {"image_id": [7]}]
    images = [*content()["images"], {"id": [8], "file_name": "a.jpg"}, {"id": 9, "file_name": "gone.jpg"}]
    dataset = read_dataset(write(tmp_path / "x.json", content(annotations=annotations, images=images)))
    assert dataset.box_count == 1
    found = {(p.where.partition(" ")[0], p.reason) for p in dataset.problems}
    assert found == {
        ("x.json:annotations[1]", "unknown class"),
        ("x.json:annotations[2]", "annotation without a bbox of four numbers"),
        ("x.json:annotations[3]", "box of an image that is not listed"),
        ("x.json:annotations[4]", "annotation without a bbox of four numbers"),
        ("x.json:annotations[5]", "box is not finite"),
        ("x.json:annotations[6]", "box without area"),
        ("x.json:annotations[7]", "box of an image that is not listed"),
        ("x.json:images[1]", "image entry without id or file_name"),
        ("x.json:images[2]", "missing image"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a COCO file"),
        ('{"images": [], "categories": [{"id": 1, "name": "a"}]}', "no 'annotations'"),
        ('{"images": [], "annotations": [], "categories": [{"id": "1", "name": "a"}]}', "whole-number id"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}',
            "two",
        ),
        ("\udcff", "not UTF-8"),
    ],
)
def test_broken_files_say_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=message):
        read_dataset(path)


def test_real_annotations_are_read_whole(shared: Path) -> None:
    dataset = read_dataset(f"{shared}/data/coco128:val2017")
    assert dataset.describe().endswith("128 images, 898 boxes, 80 classes")
    assert dataset.problems == ()

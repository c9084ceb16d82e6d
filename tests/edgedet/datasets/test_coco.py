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


HEADING = [{"id": 0, "name": "pets", "supercategory": "none"}]
PETS = [{"id": 1, "name": "cat", "supercategory": "pets"}, {"id": 2, "name": "dog", "supercategory": "pets"}]


def annotated(*numbers: int, categories: list[dict[str, Any]]) -> dict[str, Any]:
    boxes = [{"id": n, "image_id": 7, "category_id": c, "bbox": [2, 3, 10, 5]} for n, c in enumerate(numbers)]
    return content(categories=categories, annotations=boxes)


@pytest.mark.parametrize(
    ("numbers", "categories", "names"),
    [
        ((1,), HEADING + PETS, ("cat", "dog")),
        ((), HEADING + PETS, ("cat", "dog")),
        # A heading of a class's own name.
        ((1,), [HEADING[0] | {"name": "pets"}, {"id": 1, "name": "pets", "supercategory": "pets"}], ("pets",)),
        # No heading: a box has it, no other category names it, or it is not category 0.
        ((0, 1), HEADING + PETS, ("pets", "cat", "dog")),
        ((1,), [HEADING[0], PETS[0] | {"supercategory": "animals"}], ("pets", "cat")),
        ((1,), [HEADING[0] | {"id": 3}, *PETS], ("cat", "dog", "pets")),
        ((1,), [{"id": 0, "name": "pets", "supercategory": "pets"}, {"id": 1, "name": "cat"}], ("pets", "cat")),
    ],
)
def test_a_category_that_heads_the_others_is_no_class(
    picture: Picture,
    tmp_path: Path,
    numbers: tuple[int, ...],
    categories: list[dict[str, Any]],
    names: tuple[str, ...],
) -> None:
    picture("train/a.jpg")
    write(tmp_path / "train/_annotations.coco.json", annotated(*numbers, categories=categories))
    dataset = read_dataset(tmp_path)
    assert dataset.names == names
    assert any("category 0 ('pets') left out" in note for note in dataset.notes) == (len(names) < len(categories))


def test_a_heading_that_another_split_uses_is_a_class_in_both(picture: Picture, tmp_path: Path) -> None:
    for split, numbers in (("train", (0, 1)), ("valid", (2,))):
        picture(f"{split}/a.jpg")
        write(tmp_path / f"{split}/_annotations.coco.json", annotated(*numbers, categories=HEADING + PETS))
    assert read_dataset(f"{tmp_path}:train").names == ("pets", "cat", "dog")
    assert read_dataset(f"{tmp_path}:valid").names == ("pets", "cat", "dog")


def test_categories_behind_other_content_are_found_without_reading_it_all(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    many = [{"id": n, "name": f"cat {n}: \u00e9"} for n in range(5000)]
    write(tmp_path / "instances_train.json", {"info": {"x": "y" * 100_000}, **content(categories=many)})
    write(tmp_path / "instances_val.json", content(categories=many[:2], annotations=[]))
    assert len(read_dataset(f"{tmp_path}:val").names) == 5000


def test_a_broken_neighbour_does_not_stop_the_reading(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    write(tmp_path / "instances_val.json", content())
    for name, text in (("train", '{"categories": ['), ("test", ""), ("mini", '{"categories": [{"id": "x"}]}')):
        (tmp_path / f"instances_{name}.json").write_text(text)
    assert read_dataset(f"{tmp_path}:val").names == ("dog", "cat")


def test_windows_marks_and_line_ends_are_no_content(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    text = json.dumps(content(), indent=1).replace("\n", "\r\n")
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_dataset(tmp_path / "x.json").names == ("dog", "cat")


def test_boxes_as_shares_of_the_picture_are_refused(picture: Picture, tmp_path: Path) -> None:
    picture("p.png", width=640, height=480)
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0.1, 0.1, 0.2, 0.2]}
    data = {
        "images": [{"id": 1, "file_name": "p.png", "width": 640, "height": 480}],
        "annotations": [box],
        "categories": [{"id": 1, "name": "cat"}],
    }
    with pytest.raises(DatasetError, match="are shares of the picture; expected x, y, width, height in pixels"):
        read_dataset(write(tmp_path / "a.json", data))

"""Boxes made elsewhere find their pictures and their classes, or say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.errors import ReferenceBoxesError
from edgedet.pictures.image_size import read_image_size
from edgedet.reference import open_reference, read_reference
from tests.edgedet.reference.pictures_made import BOXES, CHANNELS, coco, save, save_pictures
from tests.rectangle_detector import NAMES

ANNOTATIONS = {"results": None, "annotations": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pictures(tmp_path)
    return tmp_path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def dataset_of(folder: Path, **changes: Any) -> Path:
    """The COCO file that a bare results list leaves its images and categories to."""
    content = coco(names_in(folder)) | changes
    content["annotations"] = []
    del content["results"]
    return save(folder / "instances.json", content)


def test_labels_follow_names_not_numbers(folder: Path) -> None:
    boxes = save(folder / "boxes.json", coco(names_in(folder)))
    for names in (NAMES, ("red", "green", "blue"), ("Red", "a", "GREEN", "blue_")):
        found = read_reference(boxes, names)
        wanted = [(NAMES[channel],) for channel in CHANNELS]
        spelled = [tuple(names[label].lower().strip("_") for label in one.labels) for one in found]
        assert spelled == wanted
    assert [one.boxes.tolist() for one in found] == [[list(map(float, box))] for box in BOXES]
    assert found[0].frame_size == (64, 64)


@pytest.mark.parametrize(
    "names", [("blue", "green"), ("blue", "green", "Red", "RED"), ("class_0", "class_1", "class_2")]
)
def test_classes_the_detector_does_not_have(names: tuple[str, ...], folder: Path) -> None:
    boxes = save(folder / "boxes.json", coco(names_in(folder)))
    with pytest.raises(
        ReferenceBoxesError, match=r"2 boxes of '(red|blue)', which is none of the detector's classes"
    ):
        read_reference(boxes, names)


def test_classes_that_are_numbers(folder: Path) -> None:
    """Good where the detector's are too: digits are things to be found."""
    content = coco(names_in(folder))
    for category in content["categories"]:
        category["name"] = str(category["id"])
    boxes = save(folder / "boxes.json", content)
    assert [int(found.labels[0]) for found in read_reference(boxes, ("9", "8", "7"))] == [2 - c for c in CHANNELS]
    with pytest.raises(ReferenceBoxesError, match="numbers do not say which class is meant: write the names"):
        read_reference(boxes, NAMES)


def test_a_listed_class_without_boxes_need_not_be_the_detectors(folder: Path) -> None:
    content = coco(names_in(folder))
    content["categories"].insert(0, {"id": 0, "name": "__background__"})
    assert len(read_reference(save(folder / "boxes.json", content), NAMES)) == 6


def test_a_picture_listed_without_boxes_counts(folder: Path) -> None:
    content = coco(names_in(folder))
    del content["results"][3]
    reference = open_reference(save(folder / "boxes.json", content))
    assert len(reference.pictures) == 6 and len(reference.pictures[3].scores) == 0
    assert (reference.box_count, reference.least_score) == (5, 0.875)


def test_pictures_are_found_beside_in_the_usual_folders_or_where_it_is_said(folder: Path, tmp_path: Path) -> None:
    content = coco([f"train/{name}" for name in names_in(folder)])
    for place, images in (
        (folder / "boxes.json", None),
        (tmp_path / "x.json", folder),
        (folder / "a" / "b.json", None),
    ):
        place.parent.mkdir(exist_ok=True)
        assert open_reference(save(place, content), images).pictures[0].path == folder / "p0.png"
    deep = tmp_path / "photos"
    save_pictures(deep / "one")
    assert open_reference(tmp_path / "x.json", deep).pictures[0].path == deep / "one" / "p0.png"
    save_pictures(deep / "two")
    with pytest.raises(ReferenceBoxesError, match=r"several pictures named p0\.png"):
        open_reference(tmp_path / "x.json", deep)


def test_pictures_that_are_not_there(folder: Path) -> None:
    boxes = save(folder / "boxes.json", coco([*names_in(folder)[:5], "gone.png"]))
    with pytest.raises(
        ReferenceBoxesError, match=r"1 of its 6 pictures are not there, first 'gone\.png' .*--frames DIR"
    ):
        open_reference(boxes)
    with pytest.raises(ReferenceBoxesError, match="no such file or folder; expected the folder with"):
        open_reference(boxes, folder / "nowhere")
    twice = save(folder / "boxes.json", coco([*names_in(folder)[:5], "p0.png"]))
    with pytest.raises(ReferenceBoxesError, match=r"two of its pictures are the one file .*p0\.png"):
        open_reference(twice)


def test_pictures_of_another_size(folder: Path) -> None:
    content = coco(names_in(folder))
    content["images"][2].update(width=128)
    with pytest.raises(
        ReferenceBoxesError, match=r"p2\.png is 64x64, but .*boxes\.json says 128x64; .*another version"
    ):
        open_reference(save(folder / "boxes.json", content))
    (folder / "p2.png").write_bytes(b"no picture")
    with pytest.raises(ReferenceBoxesError, match="no picture that can be read"):
        open_reference(folder / "boxes.json")


def test_turned_pictures_must_say_which_way_up_their_boxes_are(folder: Path) -> None:
    image = np.zeros((40, 64, 3), np.uint8)
    _, encoded = cv2.imencode(".jpg", image)
    # An APP1 block with one EXIF entry: orientation 6, a quarter turn.
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    block = b"Exif\x00\x00" + tiff
    data = encoded.tobytes()
    (folder / "t.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:])

    def content(**size: int) -> dict[str, Any]:
        row = {"image_id": 1, "category_id": 1, "bbox": [2, 2, 30, 20], "score": 0.5}
        image = {"id": 1, "file_name": "t.jpg", **size}
        return {"images": [image], "categories": [{"id": 1, "name": "blue"}], "results": [row]}

    with pytest.raises(
        ReferenceBoxesError, match=r"turned by its EXIF orientation.*state \"width\" and \"height\""
    ):
        open_reference(save(folder / "boxes.json", content()))
    with pytest.raises(ReferenceBoxesError, match="its EXIF orientation was not applied there"):
        open_reference(save(folder / "boxes.json", content(width=64, height=40)))
    reference = open_reference(save(folder / "boxes.json", content(width=40, height=64)))
    assert reference.pictures[0].size == (40, 64)


def test_corners_shares_and_pixels_of_another_size(folder: Path) -> None:
    content = coco(names_in(folder))

    def refused(change: Any, words: str) -> None:
        rows = [{**row, "bbox": change(*row["bbox"])} for row in content["results"]]
        with pytest.raises(ReferenceBoxesError, match=words):
            open_reference(save(folder / "boxes.json", content | {"results": rows}))

    refused(lambda x, y, w, h: [x, y, x + w, y + h], r"are corners x1, y1, x2, y2; expected x, y")
    refused(lambda x, y, w, h: [x / 64, y / 64, w / 64, h / 64], "shares of the picture; expected pixels")
    refused(lambda x, y, w, h: [x * 5, y * 5, w * 5, h * 5], "not of the network's input")


def test_a_bare_list_takes_images_and_categories_from_its_dataset(folder: Path) -> None:
    dataset = dataset_of(folder)
    whole = coco(names_in(folder))
    for way in (int, lambda key: f"p{key - 100}.png", lambda key: f"p{key - 100}"):
        rows = [{**row, "image_id": way(row["image_id"])} for row in whole["results"][:4]]
        reference = open_reference(save(folder / "results.json", rows), str(dataset))
        assert [picture.path.name for picture in reference.pictures] == ["p0.png", "p1.png", "p2.png", "p3.png"]
        assert reference.pictures[1].boxes.tolist() == [list(BOXES[1])]
        assert "2 pictures of" in reference.notes[0] and "not compared" in reference.notes[0]
    named = [{**row, "image_id": 9, "file_name": f"p{row['image_id'] - 100}.png"} for row in whole["results"]]
    assert len(open_reference(save(folder / "results.json", named), dataset).pictures) == 6


def test_a_bare_list_without_its_dataset(folder: Path) -> None:
    rows = save(folder / "results.json", coco(names_in(folder))["results"])
    with pytest.raises(ReferenceBoxesError, match="does not say which pictures its numbers mean"):
        open_reference(rows)
    with pytest.raises(ReferenceBoxesError, match=r"names its classes by numbers alone, and .* is a folder"):
        open_reference(rows, folder)
    partly = coco(names_in(folder))
    del partly["categories"]
    with pytest.raises(ReferenceBoxesError, match="does not say which classes its numbers mean"):
        open_reference(save(folder / "boxes.json", partly))
    assert open_reference(folder / "boxes.json", dataset_of(folder)).classes == NAMES


def test_a_bare_list_of_another_dataset(folder: Path) -> None:
    dataset = dataset_of(folder)
    whole = coco(names_in(folder))["results"]
    with pytest.raises(ReferenceBoxesError, match=r"of the image 77, which .*instances\.json does not have"):
        open_reference(save(folder / "results.json", [{**whole[0], "image_id": 77}]), dataset)
    with pytest.raises(ReferenceBoxesError, match=r"of the category 1, which .*instances\.json does not have"):
        open_reference(save(folder / "results.json", [{**whole[0], "category_id": 1}]), dataset)


def test_image_numbers_that_fit_two_ways_are_refused(folder: Path) -> None:
    for index in range(6):
        (folder / f"p{index}.png").rename(folder / f"{index}.png")
    names = names_in(folder)
    # Ids run the other way than the names of digits: 1 is an id and another picture's stem.
    images = [{"id": 5 - index, "file_name": name} for index, name in enumerate(names)]
    dataset = dataset_of(folder, images=images)
    rows = [{**row, "image_id": index} for index, row in enumerate(coco(names)["results"])]
    with pytest.raises(ReferenceBoxesError, match="fit the ids and the file name without suffixs"):
        open_reference(save(folder / "results.json", rows), dataset)
    named = [{**row, "file_name": f"{row['image_id']}.png"} for row in rows]
    reference = open_reference(save(folder / "results.json", named), dataset)
    assert reference.pictures[0].path.name == "0.png"


@pytest.mark.parametrize(("first", "read"), [(0, True), (1, True), (2, False)])
def test_numbers_of_a_dataset_without_numbers(first: int, read: bool, folder: Path) -> None:
    """Ultralytics counts classes from 0 or, in newer versions, from 1; a data.yaml has names alone."""
    pytest.importorskip("yaml")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for name in names_in(folder):
        (folder / name).rename(folder / "images" / name)
        (folder / "labels" / f"{Path(name).stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text("val: images\nnames: [blue, green, red]\n")
    rows = [
        {**row, "image_id": f"p{row['image_id'] - 100}", "category_id": row["category_id"] - 7 + first}
        for row in coco(["p.png"] * 6)["results"]
    ]
    path = save(folder / "predictions.json", rows)
    if not read:
        with pytest.raises(ReferenceBoxesError, match="may count from 0 or from 1"):
            open_reference(path, folder / "data.yaml")
        return
    assert [int(found.labels[0]) for found in read_reference(path, NAMES, folder / "data.yaml")] == list(CHANNELS)
    path = save(folder / "predictions.json", [row for row in rows if row["category_id"] == 1])
    with pytest.raises(ReferenceBoxesError, match="may count from 0 or from 1"):
        open_reference(path, folder / "data.yaml")


def test_lines_of_edgedet_detect_name_their_pictures(folder: Path) -> None:
    found = [{"box": list(BOXES[0]), "score": 0.5, "label": 0, "name": "blue"}]
    line = {"source": str(folder / "p0.png"), "index": 0, "frame_size": [64, 64], "detections": found}
    path = folder / "found.jsonl"
    path.write_text(json.dumps(line) + "\n" + json.dumps({"source": "b.png", "index": 1, "error": "broken"}) + "\n")
    reference = open_reference(path)
    assert reference.pictures[0].boxes.tolist() == [list(BOXES[0])] and "1 pictures" in reference.notes[0]
    path.write_text(json.dumps({**line, "frame_size": [32, 64]}) + "\n")
    with pytest.raises(ReferenceBoxesError, match="is 64x64, but"):
        open_reference(path)


def test_every_order_that_fits_better_is_named(folder: Path) -> None:
    content = coco(names_in(folder))
    rows = []
    for index, row in enumerate(content["results"]):
        size = read_image_size(folder / content["images"][content_index(content, row)]["file_name"])
        assert size is not None
        # Half of the picture and all of it, as centres and sides, in numbers of their own.
        for share in (0.5 - index / 100, 1.0):
            width, height = size.width * share, size.height * share
            rows.append({**row, "bbox": [size.width - width / 2, size.height - height / 2, width, height]})
    with pytest.raises(ReferenceBoxesError, match="are cx, cy, width, height; expected x, y, width, height"):
        open_reference(save(folder / "boxes.json", content | {"results": rows}))


def content_index(content: dict[str, Any], row: dict[str, Any]) -> int:
    return [image["id"] for image in content["images"]].index(row["image_id"])

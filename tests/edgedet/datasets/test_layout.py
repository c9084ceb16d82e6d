"""Whatever a tool leaves on disk, pictures and boxes are found, and what is not read is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError
from tests.edgedet.datasets.annotation_files import BOX, LINE, coco_json, csv_rows, labelme_json, voc_xml, write

Picture = Callable[..., Path]


def yolo_beside(root: Path, picture: Picture) -> None:
    picture("set/a b.JPG")
    write(root / "a b.txt", LINE.format(label=1))
    write(root / "classes.txt", "\ufeffdog\r\ncat\r\n\r\n")


def yolo_folders(root: Path, picture: Picture) -> None:
    picture("set/images/a.png")
    write(root / "labels/a.txt", LINE.format(label=1))
    write(root / "classes.txt", "dog\ncat\n")
    write(root / "notes.json", json.dumps({"categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}]}))


def yolo_notes_alone(root: Path, picture: Picture) -> None:
    yolo_folders(root, picture)
    (root / "classes.txt").unlink()


def yolo_capitals(root: Path, picture: Picture) -> None:
    picture("set/Images/cam/a.PNG")
    write(root / "Labels/cam/A.TXT", LINE.format(label=1))
    write(root / "Labels/classes.txt", "dog\ncat\n")


def yolo_darknet(root: Path, picture: Picture) -> None:
    picture("set/obj_train_data/a.jpg")
    write(root / "obj_train_data/a.txt", LINE.format(label=1))
    write(root / "obj.names", "dog\ncat\n")
    write(root / "obj.data", "classes = 2\n")
    write(root / "train.txt", "data/obj_train_data/a.jpg\n")


def yolo_own_yaml(root: Path, picture: Picture) -> None:
    picture("set/images/a.png")
    write(root / "labels/a.txt", LINE.format(label=1))
    write(root / "pets.yaml", "names: [dog, cat]\ntrain: images\n")


def voc_beside(root: Path, picture: Picture) -> None:
    picture("set/a_jpg.rf.1.jpg")
    voc_xml(root / "a_jpg.rf.1.xml", "cat", filename="other.jpg")


def voc_per_subject(root: Path, picture: Picture) -> None:
    picture("set/person 1/a.jpg")
    voc_xml(root / "person 1/a.XML", "cat", filename="C:\\pictures\\a.bmp")


def voc_two_folders(root: Path, picture: Picture) -> None:
    picture("set/images/a.JPEG")
    voc_xml(root / "annotations/a.xml", "cat")


def voc_subfolders(root: Path, picture: Picture) -> None:
    picture("set/JPEGImages/cam1/a.png")
    picture("set/JPEGImages/cam2/a.png", width=50)
    voc_xml(root / "Annotations/cam1/a.xml", "cat", filename="cam1/a.png")
    voc_xml(root / "Annotations/cam2/a.xml", "dog", filename="cam2/a.png", size=(50, 30))
    write(root / "ImageSets/Main/default.txt", "\ufeffcam1\\a.png\r\n")


def coco_data(root: Path, picture: Picture) -> None:
    picture("set/data/a.png")
    coco_json(root / "labels.json", (0, "cat"), picture="a.png")


def coco_label_studio(root: Path, picture: Picture) -> None:
    picture("set/images/a.png")
    coco_json(root / "result.json", (0, "cat"), picture="..\\..\\label-studio\\media\\upload\\4\\a.png")


def coco_label_studio_old(root: Path, picture: Picture) -> None:
    picture("set/images/a.png")
    coco_json(root / "result.json", (0, "cat"), picture="images\\\\a.png")


def coco_capitals(root: Path, picture: Picture) -> None:
    picture("set/images/a.PNG")
    coco_json(root / "annotations/instances_default.json", (0, "cat"), picture="/home/me/A.png")


def labelme_beside(root: Path, picture: Picture) -> None:
    picture("set/a.png")
    labelme_json(root / "a.json", "cat", picture="a.png")


def labelme_other_folder(root: Path, picture: Picture) -> None:
    picture("set/pictures/a.png")
    labelme_json(root / "json/a.json", "cat", picture="..\\pictures\\a.png")


def csv_beside(root: Path, picture: Picture) -> None:
    picture("set/a.jpg")
    csv_rows(root / "_annotations.csv", "cat", picture="a.jpg", encoding="utf-8-sig")


def csv_images(root: Path, picture: Picture) -> None:
    picture("set/images/a.jpg")
    csv_rows(root / "labels.csv", "cat", picture="C:\\work\\a.JPG")


LAYOUTS = (
    yolo_beside,
    yolo_folders,
    yolo_notes_alone,
    yolo_capitals,
    yolo_darknet,
    yolo_own_yaml,
    voc_beside,
    voc_per_subject,
    voc_two_folders,
    voc_subfolders,
    coco_data,
    coco_label_studio,
    coco_label_studio_old,
    coco_capitals,
    labelme_beside,
    labelme_other_folder,
    csv_beside,
    csv_images,
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_one_picture_with_one_cat(layout: Callable[..., None], picture: Picture, tmp_path: Path) -> None:
    layout(tmp_path / "set", picture)
    dataset = read_dataset(tmp_path / "set")
    assert dataset.problems == ()
    (record,) = dataset.images
    assert record.boxes.tolist() == [pytest.approx(BOX)]
    assert [dataset.names[label] for label in record.labels] == ["cat"]


def test_several_layouts_in_one_folder_are_named(picture: Picture, tmp_path: Path) -> None:
    yolo_beside(tmp_path / "set", picture)
    voc_xml(tmp_path / "set/a b.xml", "cat")
    dataset = read_dataset(tmp_path / "set")
    assert (dataset.format, dataset.box_count) == ("voc", 1)
    assert "YOLO labels lie there too and are not read" in dataset.describe()


def test_pictures_without_an_annotation_are_left_out_and_named(picture: Picture, tmp_path: Path) -> None:
    for name in "abcde":
        picture(f"set/{name}.png")
    voc_xml(tmp_path / "set/a.xml", "cat")
    assert "4 pictures without an annotation left out: b.png, c.png, d.png and 1 more" in (
        read_dataset(tmp_path / "set").describe()
    )


def test_boxes_that_repeat_another_are_counted(picture: Picture, tmp_path: Path) -> None:
    picture("set/a.png")
    voc_xml(tmp_path / "set/a.xml", "cat", "cat", "dog", "cat")
    dataset = read_dataset(tmp_path / "set")
    assert dataset.box_count == 4
    assert "2 boxes repeat another exactly; kept" in dataset.describe()


def test_labels_whose_pictures_are_all_missing_are_said(tmp_path: Path) -> None:
    (tmp_path / "set/images").mkdir(parents=True)
    write(tmp_path / "set/labels/a.txt", LINE.format(label=0))
    with pytest.raises(DatasetError, match=r"not read: YOLO text without its pictures \(a\.txt\)"):
        read_dataset(tmp_path / "set")
    write(tmp_path / "set/data.yaml", "train: images\nnames: [cat]\n")
    with pytest.raises(DatasetError, match=r"1 label files without a picture: a\.txt"):
        read_dataset(tmp_path / "set")
    voc_xml(tmp_path / "voc/a.xml", "cat")
    with pytest.raises(DatasetError, match=r"nothing usable in it.*1 × missing image"):
        read_dataset(tmp_path / "voc")

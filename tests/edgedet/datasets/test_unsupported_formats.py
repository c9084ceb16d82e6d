"""Labels of a format that is not read are named, never passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.cli import main
from edgedet.datasets import read_dataset
from edgedet.datasets.convert import convert
from edgedet.errors import DatasetError

Picture = Callable[..., Path]

FOREIGN = {
    "CVAT for images XML": ("annotations.xml", "<?xml version='1.0'?>\n<annotations><version>1.1</version>"),
    "VGG Image Annotator JSON": ("via.json", '{"a.png123": {"filename": "a.png", "regions": []}}'),
    "VGG Image Annotator CSV": ("via.csv", "filename,file_size,region_shape_attributes\n"),
    "Label Studio JSON": ("export.json", '[{"id": 1, "data": {"image": "a.png"}, "annotations": []}]'),
    "CreateML JSON": ("c.json", '[{"image": "a.png", "annotations": [{"label": "x", "coordinates": {}}]}]'),
    "Supervisely JSON": ("a.png.json", '{"size": {}, "objects": []}'),
    "FiftyOne JSON": ("labels.json", '{"classes": ["cat"], "labels": {}}'),
    "COCO JSON without categories": ("captions.json", '{"images": [], "annotations": []}'),
    "KITTI text": ("a.txt", "Car 0.00 0 -1.57 614 181 727 284 1.57 1.73 4.15 1.00 1.75 13.22 -1.62\n"),
    "DOTA text": ("a.txt", "10 10 20 10 20 20 10 20 plane 0\n"),
    "Keras YOLO text": ("_annotations.txt", "a.png 10,10,20,20,0\n"),
    "CSV with the columns": ("boxes.csv", "image,label,x,y,w,h\n"),
    "TFRecord": ("cats.tfrecord", "..."),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_format_that_is_not_read_is_an_error_that_names_it(
    name: str, picture: Picture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture("set/a.png")
    file, text = FOREIGN[name]
    (tmp_path / "set" / file).write_text(text)
    assert main(["convert", str(tmp_path / "set"), str(tmp_path / "out"), "--to", "coco"]) == 2
    complaint = capsys.readouterr().err
    assert name in complaint and file in complaint and "plain folder" not in complaint
    assert complaint.count("\n") == 1
    # Who wants pictures has pictures, and a word.
    dataset = read_dataset(tmp_path / "set", needs="pictures")
    assert len(dataset) == 1 and name in dataset.describe()


def test_yolo_files_without_class_names_say_what_is_missing(picture: Picture, tmp_path: Path) -> None:
    picture("set/a.png")
    (tmp_path / "set/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(
        DatasetError, match=r"has YOLO label files, but no class names: write them into classes\.txt"
    ):
        read_dataset(tmp_path / "set")
    dataset = read_dataset(tmp_path / "set", needs="pictures")
    assert (dataset.format, len(dataset)) == ("folder", 1)
    assert "labels not read" in dataset.describe()


def test_files_nobody_understands_are_said_where_labels_are_wanted(picture: Picture, tmp_path: Path) -> None:
    picture("set/a.png")
    (tmp_path / "set/a.txt").write_text("a cat on a mat\n")
    (tmp_path / "set/info.json").write_text(json.dumps({"by": "me"}))
    (tmp_path / "set/readme.txt").write_text("hello")
    dataset = read_dataset(tmp_path / "set")
    assert not dataset.labelled
    assert dataset.describe().endswith(
        "2 files that may hold labels not read, of no known format: a.txt, info.json"
    )
    with pytest.raises(DatasetError, match=r"plain folder of pictures; 2 files .*a\.txt, info\.json: there are no"):
        convert(dataset, tmp_path / "out", to="coco")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.json", '{"shapes": [], "imagePath": "a.png"}', "labels of one picture .labelme JSON.; name the folder"),
        ("a.xml", "<annotation></annotation>", "labels of one picture .Pascal VOC XML.; name the folder"),
        ("a.xml", "<annotations></annotations>", "is not a dataset but CVAT for images XML"),
        ("via.json", '{"x": {"filename": "a", "regions": []}}', "is not a dataset but VGG Image Annotator JSON"),
        ("b.csv", "image,label,x,y,w,h\n", "is not a dataset but CSV with the columns image, label"),
    ],
)
def test_a_single_file_says_what_it_is(file: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / file)

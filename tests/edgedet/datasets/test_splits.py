"""Splits in folders, lists or files of their own: each is found, and a class has one number in all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.cli import main
from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError
from tests.edgedet.datasets.annotation_files import coco_json, csv_rows, labelme_json, voc_xml, write

Picture = Callable[..., Path]


def split_voc(root: Path, split: str, names: tuple[str, ...], picture: str) -> None:
    voc_xml(root / f"{split}/{Path(picture).stem}.xml", *names)


def split_voc_roots(root: Path, split: str, names: tuple[str, ...], picture: str) -> None:
    (root / f"{split}/JPEGImages").mkdir()
    (root / split / picture).rename(root / split / "JPEGImages" / picture)
    voc_xml(root / f"{split}/Annotations/{Path(picture).stem}.xml", *names)


def split_labelme(root: Path, split: str, names: tuple[str, ...], picture: str) -> None:
    labelme_json(root / f"{split}/{Path(picture).stem}.json", *names, picture=picture)


def split_csv(root: Path, split: str, names: tuple[str, ...], picture: str) -> None:
    csv_rows(root / f"{split}/_annotations.csv", *names, picture=picture)


def split_coco(root: Path, split: str, names: tuple[str, ...], picture: str) -> None:
    coco_json(root / f"{split}/_annotations.coco.json", *enumerate(names, 1), picture=picture)


@pytest.mark.parametrize(
    "layout",
    [split_voc, split_voc_roots, split_labelme, split_csv, split_coco],
    ids=lambda layout: layout.__name__,
)
@pytest.mark.parametrize("source", ["{root}:{split}", "{root}/{split}"])
def test_splits_in_folders_have_one_class_list(
    layout: Callable[..., None], source: str, picture: Picture, tmp_path: Path
) -> None:
    for split, names, name in (("train", ("ant", "bee", "cat"), "t.png"), ("valid", ("ant", "cat"), "v.png")):
        picture(f"set/{split}/{name}")
        layout(tmp_path / "set", split, names, name)
    read = {s: read_dataset(source.format(root=tmp_path / "set", split=s)) for s in ("train", "valid")}
    assert read["train"].names == read["valid"].names
    assert [read["valid"].names[label] for label in read["valid"].images[0].labels] == ["ant", "cat"]
    assert read["valid"].splits == ("valid",)
    assert (
        "classes are numbered over the whole dataset (train, valid); not in this part: bee" in read["valid"].notes
    )
    assert not any("not in this part" in note for note in read["train"].notes)
    with pytest.raises(DatasetError, match="splits train, valid; name one"):
        read_dataset(tmp_path / "set")
    assert len(read_dataset(f"{tmp_path}/set:all")) == 2


def lists_voc(root: Path) -> tuple[str, str]:
    voc_xml(root / "Annotations/t.xml", "ant", "bee", "cat")
    voc_xml(root / "Annotations/v.xml", "ant", "cat")
    (root / "JPEGImages").mkdir()
    for split in "tv":
        write(root / f"ImageSets/Main/{split}.txt", f"{split}\n")
        (root / f"{split}.png").rename(root / f"JPEGImages/{split}.png")
    return f"{root}:t", f"{root}:v"


def files_coco(root: Path) -> tuple[str, str]:
    coco_json(root / "annotations/instances_train.json", (1, "ant"), (2, "bee"), (3, "cat"), picture="../t.png")
    coco_json(root / "annotations/instances_val.json", (1, "ant"), (3, "cat"), picture="../v.png")
    return f"{root}/annotations/instances_train.json", f"{root}/annotations/instances_val.json"


def files_coco_other_ids(root: Path) -> tuple[str, str]:
    coco_json(root / "pets_train.json", (1, "ant"), (2, "bee"), (3, "cat"), picture="t.png")
    coco_json(root / "pets_val.json", (1, "ant"), (2, "cat"), picture="v.png")
    return f"{root}/pets_train.json", f"{root}/pets_val.json"


def files_csv(root: Path) -> tuple[str, str]:
    csv_rows(root / "train_labels.csv", "ant", "bee", "cat", picture="t.png")
    csv_rows(root / "test_labels.csv", "ant", "cat", picture="v.png")
    return f"{root}:train", f"{root}/test_labels.csv"


def files_annotation(root: Path) -> tuple[str, str]:
    for split, picture, names in (("train", "t", ("ant", "bee", "cat")), ("val", "v", ("ant", "cat"))):
        write(root / f"annotation_{split}.txt", "".join(f"{picture}.png,10,6,20,24,{name}\n" for name in names))
    return f"{root}:train", f"{root}/annotation_val.txt"


def files_retinanet(root: Path) -> tuple[str, str]:
    for split, picture, names in (("train", "t", ("ant", "bee", "cat")), ("val", "v", ("ant", "cat"))):
        write(root / f"{split}.csv", "".join(f"{root}/{picture}.png,10,6,20,24,{name}\n" for name in names))
    return f"{root}/train.csv", f"{root}/val.csv"


def files_open_images(root: Path) -> tuple[str, str]:
    write(root / "class-descriptions-boxable.csv", "/m/1,ant\n/m/2,bee\n/m/3,cat\n/m/4,ufo\n")
    for split, picture, numbers in (("train", "t", "123"), ("validation", "v", "13")):
        rows = "".join(f"{picture},/m/{number},0.25,0.5,0.2,0.8\n" for number in numbers)
        rows += "gone,/m/4,0.25,0.5,0.2,0.8\n"
        write(root / f"{split}-annotations-bbox.csv", f"ImageID,LabelName,XMin,XMax,YMin,YMax\n{rows}")
    return f"{root}:train", f"{root}:validation"


@pytest.mark.parametrize(
    "files",
    [lists_voc, files_coco, files_coco_other_ids, files_csv, files_annotation, files_retinanet, files_open_images],
    ids=lambda files: files.__name__,
)
def test_a_class_has_one_number_whichever_split_is_converted(
    files: Callable[[Path], tuple[str, str]], picture: Picture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture("set/t.png")
    picture("set/v.png")
    numbers = []
    for index, source in enumerate(files(tmp_path / "set")):
        out = tmp_path / f"out{index}"
        assert main(["convert", source, str(out), "--to", "coco"]) == 0
        (file,) = out.glob("instances_*.json")
        data = json.loads(file.read_text())
        numbers.append({entry["name"]: entry["id"] for entry in data["categories"]})
        told = capsys.readouterr().out
        assert ("not in this part: bee" in told) == (index == 1)
    assert numbers == [{"ant": 1, "bee": 2, "cat": 3}] * 2


def test_files_of_other_datasets_do_not_join_the_class_list(picture: Picture, tmp_path: Path) -> None:
    picture("a.png")
    coco_json(tmp_path / "old.json", (0, "cat"), picture="a.png")
    coco_json(tmp_path / "lvis_val.json", (0, "zebra"), picture="a.png")
    coco_json(tmp_path / "instances_val.json", (0, "dog"), picture="a.png")
    assert [read_dataset(tmp_path / name).names for name in ("old.json", "instances_val.json")] == [
        ("cat",),
        ("dog",),
    ]


def test_nothing_labelled_and_empty_splits_are_said(picture: Picture, tmp_path: Path) -> None:
    picture("set/images/train/a.png")
    (tmp_path / "set/images/val").mkdir()
    write(tmp_path / "set/data.yaml", "train: images/train\nval: images/val\nnames: [cat]\n")
    said = read_dataset(f"{tmp_path}/set:all").describe()
    assert "nothing in it is labelled" in said
    assert "no picture in val" in said
    assert f"not one label file was found: a.png should have {tmp_path}/set/labels/train/a.txt" in said
    with pytest.raises(DatasetError, match=r"nothing usable in it.*no picture in val"):
        read_dataset(f"{tmp_path}/set:val")


@pytest.mark.parametrize("kind", ["json", "csv", "txt"])
def test_files_that_number_a_class_otherwise_are_named(kind: str, picture: Picture, tmp_path: Path) -> None:
    picture("a.png")
    for name, classes in (("day", ("ant", "bee", "cat")), ("night", ("ant", "cat"))):
        path = tmp_path / f"{name}.{kind}"
        if kind == "json":
            coco_json(path, *enumerate(classes), picture="a.png")
        elif kind == "csv":
            csv_rows(path, *classes, picture="a.png")
        else:
            write(path, "".join(f"a.png,10,6,20,24,{name}\n" for name in classes))
    dataset = read_dataset(tmp_path / f"night.{kind}")
    assert dataset.names == ("ant", "cat")
    assert f"day.{kind} beside it numbers classes otherwise: 'cat' is 1 here and 2 there" in dataset.notes


def test_files_of_one_split_do_not_hide_one_another(picture: Picture, tmp_path: Path) -> None:
    picture("set/a.png")
    for name in ("day", "night"):
        csv_rows(tmp_path / f"set/{name}.csv", "cat", picture="a.png")
    with pytest.raises(DatasetError, match="splits day, night; name one"):
        read_dataset(tmp_path / "set")
    assert len(read_dataset(f"{tmp_path}/set:night")) == 1

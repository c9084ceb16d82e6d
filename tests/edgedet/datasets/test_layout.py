"""Whatever a tool leaves on disk: pictures and boxes are found, classes have one number in every split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.cli import main
from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError

Picture = Callable[..., Path]
BOX = [10.0, 6.0, 20.0, 24.0]
LINE = "{label} 0.375 0.5 0.25 0.6\n"
"""BOX in a picture of 40 x 30, as YOLO writes it."""


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def voc_xml(path: Path, *names: str, filename: str = "", size: tuple[int, int] = (40, 30)) -> Path:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>10</xmin><ymin>6</ymin><xmax>20</xmax><ymax>24</ymax></bndbox>"
        "</object>"
        for name in names
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return write(path, f"<annotation><filename>{filename}</filename>{sides}{objects}</annotation>")


def labelme_json(path: Path, *names: str, picture: str) -> Path:
    shapes = [{"label": n, "points": [[20, 24], [10, 6]], "shape_type": "rectangle"} for n in names]
    data = {"version": "5.2.1", "shapes": shapes, "imagePath": picture, "imageHeight": 30, "imageWidth": 40}
    return write(path, json.dumps(data | {"imageData": "AAAA"}))


def coco_json(path: Path, *categories: tuple[int, str], picture: str, used: int | None = None) -> Path:
    data = {
        "images": [{"id": 1, "file_name": picture, "width": 40, "height": 30}],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": number, "bbox": [10, 6, 10, 18]}
            for number, _ in categories
            if used is None or number == used
        ],
    }
    return write(path, json.dumps(data))


def csv_rows(path: Path, *names: str, picture: str, encoding: str = "utf-8") -> Path:
    rows = "".join(f"{picture},40,30,{name},10,6,20,24\r\n" for name in names)
    return write(path, f"filename,width,height,class,xmin,ymin,xmax,ymax\r\n{rows}", encoding)


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


def test_boxes_that_repeat_another_are_counted(picture: Picture, tmp_path: Path) -> None:
    picture("set/a.png")
    voc_xml(tmp_path / "set/a.xml", "cat", "cat", "dog", "cat")
    dataset = read_dataset(tmp_path / "set")
    assert dataset.box_count == 4
    assert "2 boxes repeat another exactly; kept" in dataset.describe()


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


def test_boxes_in_a_folder_beside_the_pictures(picture: Picture, tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(f"set/images/{split}_a.jpg")
        csv_rows(tmp_path / f"set/data/{split}_labels.csv", "cat", picture=f"{split}_a.jpg")
    assert read_dataset(f"{tmp_path}/set:test").images[0].path.name == "test_a.jpg"


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

"""Pascal VOC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError

Picture = Callable[..., Path]


def xml(*, name: str = "cat", box: str = "3,4,12,8", database: str = "Unknown", size: str = "40,30") -> str:
    corners = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box.split(","), strict=True)
    )
    width, height = size.split(",")
    return (
        f"<annotation><filename>a.jpg</filename><source><database>{database}</database></source>"
        f"<size><width>{width}</width><height>{height}</height></size>"
        f"<object><name>{name}</name><difficult>1</difficult><bndbox>{corners}</bndbox></object></annotation>"
    )


@pytest.fixture
def root(tmp_path: Path, picture: Picture) -> Path:
    picture("JPEGImages/a.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text(xml())
    return tmp_path


def test_edges_are_read_as_written(root: Path) -> None:
    (record,) = read_dataset(root).images
    assert record.boxes.tolist() == [[3, 4, 12, 8]]
    assert record.difficult.tolist() == [True]


def test_the_challenges_own_files_count_pixels_from_one(root: Path) -> None:
    (root / "Annotations/a.xml").write_text(xml(database="The VOC2007 Database", box="1,1,40,30"))
    assert read_dataset(root).images[0].boxes.tolist() == [[0, 0, 40, 30]]


def test_splits_are_the_lists_without_those_of_single_classes(root: Path) -> None:
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    for name, text in (("train", "a\n"), ("val", "\n b 1\n"), ("trainval", "a\nb\n"), ("cat_train", "a -1\n")):
        (lists / f"{name}.txt").write_text(text)
    with pytest.raises(DatasetError, match="splits train, trainval, val; name one"):
        read_dataset(root)
    assert [r.split for r in read_dataset(f"{root}:train").images] == ["train"]
    everything = read_dataset(f"{root}:all")
    assert len(everything) == 1  # trainval repeats train and val
    assert [(p.where, p.reason) for p in everything.problems] == [("val.txt:2 (b.xml)", "missing annotation")]


def test_a_size_of_zero_means_not_known(root: Path) -> None:
    (root / "Annotations/a.xml").write_text(xml(size="0,0"))
    assert (read_dataset(root).images[0].width, read_dataset(root).images[0].height) == (40, 30)


def test_pictures_of_other_suffixes_are_found_and_paths_inside_annotations_are_not_followed(
    root: Path, picture: Picture
) -> None:
    (root / "JPEGImages/a.jpg").unlink()
    path = picture("JPEGImages/a.png")
    (root / "Annotations/a.xml").write_text(xml().replace("a.jpg", "../../etc/a.jpg"))
    assert read_dataset(root).images[0].path == path


def test_classes_txt_decides_what_is_known(root: Path) -> None:
    (root / "classes.txt").write_text("dog\nbird\n")
    dataset = read_dataset(root)
    assert dataset.names == ("dog", "bird")
    assert [str(p) for p in dataset.problems] == ["Annotations/a.xml:object 1 ('cat'): unknown class (box dropped)"]


BILLION_LAUGHS = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>'


@pytest.mark.parametrize("text", ["<annotation>", "", BILLION_LAUGHS, "<?xml version='1.0' encoding='nope'?><a/>"])
def test_broken_xml_costs_its_picture_and_is_named(root: Path, picture: Picture, text: str) -> None:
    picture("JPEGImages/b.jpg")
    (root / "Annotations/b.xml").write_text(text)
    dataset = read_dataset(root)
    assert len(dataset) == 1
    (problem,) = dataset.problems
    assert problem.where.startswith("Annotations/b.xml")
    assert problem.reason.startswith("broken XML")
    with pytest.raises(DatasetError, match=r"Annotations/b\.xml.*broken XML"):
        read_dataset(root, problems="stop")


def test_a_list_in_utf16_cannot_smuggle_a_doctype(root: Path) -> None:
    (root / "Annotations/a.xml").write_bytes(
        BILLION_LAUGHS.replace("<!", "<?xml version='1.0' encoding='utf-16'?><!", 1).encode("utf-16")
    )
    with pytest.raises(DatasetError, match="document type declarations"):
        read_dataset(root, problems="stop")


def test_real_annotations(shared: Path) -> None:
    dataset = read_dataset(f"{shared}/data/bccd:all")
    assert (len(dataset), dataset.box_count, dataset.names) == (364, 4886, ("Platelets", "RBC", "WBC"))
    assert {p.reason for p in dataset.problems} == {"box without area"}
    assert "2 × box without area, box dropped: Annotations/BloodImage_00" in dataset.describe()

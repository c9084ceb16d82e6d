"""Open Images CSVs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError

Picture = Callable[..., Path]
HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
)


def line(image: str, label: str, marks: str = "0,0,0,0,0", edges: str = "0.25,0.5,0.1,0.9") -> str:
    return f"{image},xclick,{label},1,{edges},{marks}"


@pytest.fixture
def root(tmp_path: Path, picture: Picture) -> Path:
    for name in ("a", "b", "c"):
        picture(f"validation/{name}.jpg")
    (tmp_path / "class-descriptions-boxable.csv").write_text('/m/1,Dog\n/m/2,"Cat, domestic"\n/m/3,Bird\n')
    lines = [
        HEADER,
        line("a", "/m/1"),
        line("a", "/m/2", "0,0,1,0,0"),
        line("b", "/m/1", "1,0,0,1,0"),
        line("c", "/m/2"),
    ]
    (tmp_path / "validation-annotations-bbox.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_shares_become_pixels_and_ids_names(root: Path) -> None:
    dataset = read_dataset(root)
    assert dataset.names == ("Cat, domestic", "Dog")  # Bird never occurs
    assert [record.path.stem for record in dataset.images] == ["a", "b", "c"]
    assert dataset.images[0].boxes.tolist()[0] == [10, 3, 20, 27]
    assert dataset.images[0].labels.tolist() == [1, 0]


def test_groups_are_crowds(root: Path) -> None:
    assert read_dataset(root).images[0].crowd.tolist() == [False, True]


def test_marks_can_be_left_out_and_the_line_says_how_many(root: Path) -> None:
    dataset = read_dataset(root, exclude=("group", "depiction"))
    assert [len(record) for record in dataset.images] == [1, 0, 1]
    assert "1 boxes left out: group" in dataset.describe()
    assert "1 boxes left out: depiction" in dataset.describe()


def test_a_subset_of_classes_leaves_out_images_nobody_checked_for_them(root: Path) -> None:
    dataset = read_dataset(root, classes=("Cat, domestic",))
    assert [record.path.stem for record in dataset.images] == ["a", "c"]
    assert "2 boxes left out: other class; 1 images left out" in dataset.describe()
    with pytest.raises(DatasetError, match="no class 'Ufo'"):
        read_dataset(root, classes=("Ufo",))


def test_bad_lines_are_named(root: Path) -> None:
    path = root / "validation-annotations-bbox.csv"
    bad = [
        line("a", "/m/9"),
        "a,x,/m/1",
        line("../a", "/m/1"),
        line("gone", "/m/1"),
        line("a", "/m/1", edges="x,1,0,1"),
    ]
    path.write_text(path.read_text() + "\n".join(bad) + "\n")
    dataset = read_dataset(root)
    name = path.name
    assert {(p.where, p.reason) for p in dataset.problems} == {
        (f"{name}:6 (/m/9)", "unknown class"),
        (f"{name}:7", "not a line of as many fields as the header"),
        (f"{name}:8", "ImageID is not a plain name"),
        (f"{name}:9 (gone.jpg)", "missing image"),
        (f"{name}:10", "box is not finite"),
    }


def test_quoted_titles_and_spaces_are_the_same_format(root: Path) -> None:
    path = root / "validation-annotations-bbox.csv"
    titles = ", ".join(f'"{title} "' for title in HEADER.split(","))
    path.write_text("\n".join([titles, *path.read_text().splitlines()[1:]]))
    assert read_dataset(root).box_count == 4


def test_without_class_descriptions_the_message_names_the_file(root: Path) -> None:
    (root / "class-descriptions-boxable.csv").unlink()
    with pytest.raises(DatasetError, match=r"class-descriptions\*\.csv"):
        read_dataset(root)

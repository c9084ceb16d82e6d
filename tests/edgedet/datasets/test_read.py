"""``read_dataset`` recognises what is there, and says what it read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError

Picture = Callable[..., Path]


def test_a_folder_of_pictures_has_no_labels(picture: Picture, tmp_path: Path) -> None:
    picture("set/b.jpg")
    picture("set/deep/a.png")
    picture("set/.trash/c.jpg")
    (tmp_path / "set/notes.txt").write_text("hello")
    dataset = read_dataset(tmp_path / "set")
    assert (dataset.format, dataset.labelled, dataset.names) == ("folder", False, ())
    assert [record.path.name for record in dataset.images] == ["b.jpg", "a.png"]
    assert dataset.describe() == f"{tmp_path}/set (folder): 2 images"


def test_a_colon_may_belong_to_the_path(picture: Picture, tmp_path: Path) -> None:
    picture("a:b/c.jpg")
    assert len(read_dataset(tmp_path / "a:b")) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", "gone: no such file or folder"),
        ("gone:val", "gone:val: no such file or folder"),
        ("set:val", "plain folder of pictures and has no split 'val'"),
        ("empty", "nothing usable in it"),
        ("notes.md", "is not a dataset; expected COCO JSON"),
    ],
)
def test_what_cannot_be_read_says_why(picture: Picture, tmp_path: Path, source: str, message: str) -> None:
    picture("set/a.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(DatasetError, match=message):
        read_dataset(f"{tmp_path}/{source}")


def test_classes_choose_and_order(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    path = tmp_path / "annotation.txt"
    path.write_text("a.jpg,1,2,10,20,ant\na.jpg,1,2,10,20,bee\na.jpg,1,2,10,20,cat\n")
    dataset = read_dataset(path, classes=("cat", "ant"))
    assert dataset.names == ("cat", "ant")
    assert dataset.images[0].labels.tolist() == [1, 0]
    assert dataset.describe().endswith("1 boxes of other classes left out")
    with pytest.raises(DatasetError, match="no class 'dog'; it has ant, bee, cat"):
        read_dataset(path, classes=("dog",))


def test_splits_that_number_their_classes_otherwise_are_joined_by_name(picture: Picture, tmp_path: Path) -> None:
    for name, words in (("train", ("ant", "bee")), ("val", ("cat", "bee"))):
        picture(f"{name}.jpg")
        rows = "".join(f"{name}.jpg,1,2,10,20,{word}\n" for word in words)
        (tmp_path / f"annotation_{name}.txt").write_text(rows)
    dataset = read_dataset(f"{tmp_path}:all")
    found = {record.split: [dataset.names[label] for label in record.labels] for record in dataset.images}
    assert found == {"train": ["ant", "bee"], "val": ["cat", "bee"]}
    assert sorted(dataset.names) == ["ant", "bee", "cat"]


def test_the_line_counts_what_was_dropped_and_names_the_first_places(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    picture("b.jpg")
    path = tmp_path / "annotation.txt"
    path.write_text("a.jpg,1,2,10,20,ant\nb.jpg,,,,,\n" + "a.jpg,1,2,1,20,ant\n" * 5)
    assert read_dataset(path).describe() == (
        f"{path} (annotation): 2 images (1 without objects), 1 boxes, 1 classes; 5 × box without area, "
        "box dropped: annotation.txt:3, annotation.txt:4, annotation.txt:5 and 2 more"
    )

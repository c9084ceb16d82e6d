"""annotation.txt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError

Picture = Callable[..., Path]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "annotation.txt"
    path.write_text(text)
    return path


def test_lines_become_boxes(picture: Picture, tmp_path: Path) -> None:
    picture("a, b.jpg")
    picture("sub/c.jpg")
    text = "path,x1,y1,x2,y2,class\na, b.jpg,1,2,10.5,20,dog\nsub/c.jpg,,,,,\na, b.jpg,3,4,5,6,cat\n"
    dataset = read_dataset(write(tmp_path, text))
    assert dataset.names == ("cat", "dog")
    assert [len(record) for record in dataset.images] == [2, 0]
    assert dataset.images[0].boxes.tolist() == [[1, 2, 10.5, 20], [3, 4, 5, 6]]
    assert dataset.images[0].labels.tolist() == [1, 0]


def test_classes_txt_gives_the_order(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    dataset = read_dataset(write(tmp_path, "a.jpg,1,2,10,20,dog\na.jpg,1,2,10,20,bird\n"))
    assert dataset.names == ("dog", "cat")
    assert [str(p) for p in dataset.problems] == ["annotation.txt:2 ('bird'): unknown class (box dropped)"]


def test_bad_lines_are_named(picture: Picture, tmp_path: Path) -> None:
    picture("a.jpg")
    text = "a.jpg,1,2,10,20,dog\na.jpg,1,2,10\na.jpg,1,2,x,20,dog\na.jpg,1,2,3,4,\ngone.jpg,1,2,3,4,dog\n"
    dataset = read_dataset(write(tmp_path, text))
    assert dataset.box_count == 1
    assert {(p.where, p.reason) for p in dataset.problems} == {
        ("annotation.txt:2", "not a line of 'path,x1,y1,x2,y2,class'"),
        ("annotation.txt:3", "box is not finite"),
        ("annotation.txt:4", "line without a class"),
        ("annotation.txt:5 (gone.jpg)", "missing image"),
    }


def test_a_text_of_other_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no line of the form path,x1,y1,x2,y2,class"):
        read_dataset(write(tmp_path, "hello\nworld\n"))


def test_windows_marks_line_ends_and_paths_are_no_content(picture: Picture, tmp_path: Path) -> None:
    picture("a.JPG")
    picture("images/sub/b.jpg")
    path = tmp_path / "annotation.txt"
    lines = ["a.JPG,1,2,10,20,dog", "C:\\work\\images\\sub\\b.jpg,1,2,10,20,cat", ""]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfdog\r\ncat\r\n")
    dataset = read_dataset(path)
    assert (dataset.names, dataset.box_count, dataset.problems) == (("dog", "cat"), 2, ())


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "d/" * 3000 + "b.jpg", "a\0b.jpg"])
def test_a_name_that_no_file_can_have_is_a_missing_picture(picture: Picture, tmp_path: Path, name: str) -> None:
    picture("a.jpg")
    dataset = read_dataset(write(tmp_path, f"a.jpg,1,2,10,20,dog\n{name},1,2,10,20,dog\n"))
    assert [len(record) for record in dataset.images] == [1]
    assert "missing image (image dropped)" in str(dataset.problems[0])

"""YOLO data.yaml and label files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError, MissingDependencyError

Picture = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, picture: Picture) -> Path:
    picture("images/train/a.jpg")
    picture("images/val/b.jpg")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text("1 0.5 0.5 0.25 0.2\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return tmp_path


def test_shares_become_pixels(root: Path) -> None:
    (record,) = read_dataset(f"{root}:train").images
    assert record.boxes.tolist() == [[15, 12, 25, 18]]
    assert record.labels.tolist() == [1]


def test_a_picture_without_labels_has_no_objects(root: Path) -> None:
    dataset = read_dataset(f"{root}/data.yaml:val")
    assert (len(dataset), dataset.box_count, dataset.problems) == (1, 0, ())


@pytest.mark.parametrize("names", ["[cat, dog]", "{0: cat, 1: dog}", "\n  1: dog\n  0: cat"])
def test_names_are_a_list_or_a_table(root: Path, names: str) -> None:
    (root / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    assert read_dataset(root).names == ("cat", "dog")


@pytest.mark.parametrize("train", ["list.txt", "[list.txt]", "../images/train"])
def test_splits_are_folders_lists_or_several_of_them(root: Path, train: str) -> None:
    (root / "list.txt").write_text("./images/train/a.jpg\n\n")
    (root / "data.yaml").write_text(f"path: /moved/away\ntrain: {train}\nnames: [cat, dog]\n")
    assert read_dataset(root).box_count == 1


def test_polygons_count_as_their_boxes_and_keypoints_are_passed_over(root: Path) -> None:
    label = root / "labels/train/a.txt"
    label.write_text("0 0.1 0.2 0.5 0.2 0.5 0.6\n")
    assert read_dataset(f"{root}:train").images[0].boxes.tolist() == [[4, 6, 20, 18]]
    label.write_text("0 0.5 0.5 0.25 0.2 0.1 0.1 2 0.9 0.9 2\n")
    with (root / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 3]\n")
    assert read_dataset(f"{root}:train").images[0].boxes.tolist() == [[15, 12, 25, 18]]


def test_bad_lines_are_named(root: Path) -> None:
    (root / "labels/train/a.txt").write_text(
        "0 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.1 0.1\n0 0.5\n0 nan 0.5 0.1 0.1\nx 1 1 1 1\n"
    )
    dataset = read_dataset(f"{root}:train")
    assert dataset.box_count == 1
    assert {(p.where, p.reason) for p in dataset.problems} == {
        ("a.txt:2 (class 2)", "unknown class"),
        ("a.txt:3", "not a line of 'class cx cy w h'"),
        ("a.txt:4", "box is not finite"),
        ("a.txt:5 (class x)", "unknown class"),
    }


def test_a_label_file_that_is_no_text_costs_its_picture(root: Path) -> None:
    (root / "labels/val").mkdir()
    (root / "labels/val/b.txt").write_bytes(b"\xff\xfe\x00")
    dataset = read_dataset(f"{root}:all")
    assert [record.path.name for record in dataset.images] == ["a.jpg"]
    assert [str(p) for p in dataset.problems] == ["b.txt: label file is not UTF-8 text (image dropped)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [", "not valid YAML"),
        ("- a", "expected the keys train, val and names"),
        ("train: images/train\nnames: {0: a, 2: b}", "keys of 'names' must be 0 to 1"),
        ("train: images/train\nnames: [a, a]", "a name twice"),
        ("train: images/train\nnc: 3\nnames: [a, b]", "nc is 3, but 2 names"),
        ("train: gone\nnames: [a]", "neither a folder nor a .txt list"),
        ("train: 3\nnames: [a]", "train must be a folder"),
        ("train: !!python/object/apply:os.system ['true']\nnames: [a]", "not valid YAML"),
    ],
)
def test_broken_files_say_what_was_expected(root: Path, text: str, message: str) -> None:
    (root / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(root)


def test_without_pyyaml_the_message_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        read_dataset(root)

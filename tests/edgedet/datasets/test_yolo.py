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


@pytest.mark.parametrize(
    ("yaml", "notes"),
    [
        ("train: D:\\vest\\set\\images\\train\nnames: [cat, dog]", 1),
        ("train: D:\\vest\\set\nnames: [cat, dog]\npath: C:\\data", None),
        ("path: /home/me/project/\ntrain: ./set/images/train\nnames: [cat, dog]", 1),
        ("path: D:\\vest\\set\ntrain: images/train\nnames: [cat, dog]", 0),
        ("path: D:\\vest\\set\ntrain: images\\train\nnames: [cat, dog]", 0),
        ('train: "D:\\new\\set\\images\\train"\nnames: [cat, dog]', 1),
        ("train: set/images/train\nnames: [cat, dog]", 1),
        ("train: ../images/train\nnames: [cat, dog]", 0),
        ("train: [D:\\x\\list.txt]\nnames: [cat, dog]", 2),
        ("train: windows.txt\nnames: [cat, dog]", 0),
    ],
)
def test_paths_of_another_machine_are_read_by_their_tail(root: Path, yaml: str, notes: int | None) -> None:
    (root / "list.txt").write_text("\ufeff/home/me/set/images/train/a.jpg\r\n", encoding="utf-8")
    (root / "windows.txt").write_text("images\\train\\a.jpg\n")
    (root / "data.yaml").write_text(yaml)
    if notes is None:
        with pytest.raises(DatasetError, match="train names D:"):
            read_dataset(root)
        return
    dataset = read_dataset(root)
    assert (len(dataset), dataset.box_count, dataset.problems) == (1, 1, ())
    assert len(dataset.notes) == notes


def test_a_tail_that_two_splits_share_is_refused(root: Path) -> None:
    (root / "data.yaml").write_text("train: D:\\a\\x\\images\nval: D:\\a\\y\\images\nnames: [cat, dog]\n")
    with pytest.raises(DatasetError, match=r"of both only .*images is here; correct the paths"):
        read_dataset(f"{root}:val")


def test_a_root_that_holds_the_dataset_is_found(root: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer.yaml"
    outer.write_text(f"path: D:\\all\\{tmp_path.name}\nval: images/train\nnames: [cat, dog]\n")
    (tmp_path.parent / "moved.yaml").write_text(outer.read_text())
    dataset = read_dataset(tmp_path.parent / "moved.yaml")
    assert dataset.box_count == 1
    assert f"read from {tmp_path}/images/train" in dataset.describe()


@pytest.mark.parametrize(
    ("yaml", "names"),
    [
        ("names: {'0': cat, '1': dog}", ("cat", "dog")),
        ("names: {'1': dog, 0: cat}", ("cat", "dog")),
        ("nc: 2", ("class_0", "class_1")),
        ("nc: '2'\nnames:", ("class_0", "class_1")),
        ("nc: '2'\nnames: [cat, dog]", ("cat", "dog")),
    ],
)
def test_names_as_ultralytics_takes_them(root: Path, yaml: str, names: tuple[str, ...]) -> None:
    (root / "data.yaml").write_text(f"\ufefftrain: images/train\r\n{yaml}\r\n", encoding="utf-8")
    dataset = read_dataset(root)
    assert dataset.names == names
    assert any("names no class" in note for note in dataset.notes) == (names[0] == "class_0")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: {'0': a, '2': b}", "keys of 'names' must be 0 to 1"),
        ("names: {'0': a, 0: b}", "keys of 'names' must be 0 to 1"),
        ("names: {'0': a, x: b}", "keys of 'names' must be 0 to 1"),
        ("nc: '3'\nnames: {'0': a, '1': b}", "nc is 3, but 2 names"),
        ("nc: many", "'nc' must be a whole number"),
        ("nc: 2\ntrain:", "names no pictures: expected the keys train, val or test"),
    ],
)
def test_names_that_leave_the_numbers_open_are_refused(root: Path, yaml: str, message: str) -> None:
    (root / "data.yaml").write_text(f"{'' if 'train' in yaml else 'train: images/train'}\n{yaml}\n")
    with pytest.raises(DatasetError, match=message):
        read_dataset(root)


@pytest.mark.parametrize("key", ["val", "valid", "validation"])
def test_val_goes_by_three_keys(root: Path, key: str) -> None:
    (root / "data.yaml").write_text(f"train: images/train\n{key}: images/val\nnames: [cat, dog]\n")
    assert [record.path.name for record in read_dataset(f"{root}:val").images] == ["b.jpg"]


def test_lines_that_repeat_another_count_once(root: Path) -> None:
    (root / "labels/train/a.txt").write_text(
        "0 0.5 0.5 0.1 0.1\n0 0.50 0.5 0.10 .1\n1 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.2\n0 0.5 0.5 0.1 0.1\n"
    )
    dataset = read_dataset(f"{root}:train")
    assert dataset.box_count == 3
    assert [(p.where, p.reason) for p in dataset.problems] == [
        ("a.txt:2", "line repeats another"),
        ("a.txt:5", "line repeats another"),
    ]
    assert "2 × line repeats another, box dropped" in dataset.describe()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.1 0.2 0.5 0.2 0.5 0.6\n", "label file mixes boxes and polygons"),
        ("0 0.5 0.5 0.1 0.1 0.93\n", "label lines of six numbers (a score at the end?)"),
    ],
)
def test_a_file_that_ultralytics_refuses_costs_its_picture(root: Path, line: str, reason: str) -> None:
    (root / "labels/train/a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}")
    with (root / "images/train/c.jpg").open("wb") as file:
        file.write((root / "images/train/a.jpg").read_bytes())
    dataset = read_dataset(f"{root}:train")
    assert [record.path.name for record in dataset.images] == ["c.jpg"]
    assert [(p.where, p.reason, p.done) for p in dataset.problems] == [("a.txt", reason, "image dropped")]


def test_labels_beside_their_pictures_are_read_where_none_lie_at_the_usual_place(root: Path) -> None:
    (root / "images/val/b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    dataset = read_dataset(f"{root}:val")
    assert dataset.box_count == 1
    assert f"1 label files read beside their pictures in {root}/images/val" in dataset.describe()


def test_labels_beside_their_pictures_stay_unread_beside_labels_at_the_usual_place(
    root: Path, picture: Picture
) -> None:
    for name in ("c", "d", "e"):
        picture(f"images/train/{name}.jpg")
        (root / f"images/train/{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "images/train/e.txt").write_text("a caption\n")
    dataset = read_dataset(f"{root}:train")
    assert dataset.box_count == 1
    assert f"2 label files beside their pictures in {root}/images/train not read" in dataset.describe()
    assert dataset.describe().endswith("c.txt, d.txt")


def test_labels_without_a_picture_and_pictures_listed_twice_are_said(root: Path) -> None:
    for name in ("x", "y"):
        (root / f"labels/train/{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "labels/train/classes.txt").write_text("cat\ndog\n")
    assert read_dataset(f"{root}:train").notes == ("2 label files without a picture: x.txt, y.txt",)
    (root / "list.txt").write_text("images/train/a.jpg\n" * 3)
    (root / "data.yaml").write_text("train: list.txt\nnames: [cat, dog]\n")
    dataset = read_dataset(root)
    assert (len(dataset), dataset.notes) == (1, ("2 pictures of train are listed more than once and count once",))


def test_labels_without_a_picture_are_said_where_no_picture_has_labels(root: Path) -> None:
    (root / "labels/train/a.txt").rename(root / "labels/train/x.txt")
    notes = read_dataset(f"{root}:train").notes
    assert "1 label files without a picture: x.txt" in notes


@pytest.mark.parametrize(
    ("text", "message"),
    [("cat\n\ndog\n", r"classes\.txt:2 is empty"), ("", "is empty"), ("cat\ncat\n", "holds a name twice .'cat'.")],
)
def test_class_lines_that_leave_the_numbers_open_are_refused(
    tmp_path: Path, picture: Picture, text: str, message: str
) -> None:
    picture("set/a.jpg")
    (tmp_path / "set/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "set/classes.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "set")


def test_class_lists_that_differ_are_refused(tmp_path: Path, picture: Picture) -> None:
    for split, names in (("train", "cat\ndog\n"), ("valid", "dog\ncat\n")):
        picture(f"set/{split}/a.jpg")
        (tmp_path / f"set/{split}/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
        (tmp_path / f"set/{split}/_darknet.labels").write_text(names)
    for source in (f"{tmp_path}/set:train", f"{tmp_path}/set/valid"):
        with pytest.raises(DatasetError, match=r"the class names in .* differ"):
            read_dataset(source)


def test_a_folder_of_pictures_inside_a_dataset_knows_its_labels(root: Path) -> None:
    dataset = read_dataset(root / "images/train")
    assert (dataset.names, dataset.box_count, dataset.splits) == (("cat", "dog"), 1, ("train",))

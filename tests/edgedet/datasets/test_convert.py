"""Formats into one another."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgedet.datasets import Dataset, read_dataset
from edgedet.datasets.convert import convert, split_dataset
from edgedet.datasets.rows import ProblemLog, Row, build_record
from edgedet.errors import DatasetError, OutputError

NAMES = ("cat", "straße, nass", 'quo"te: #1', "no box of mine")
FORMATS = ("coco", "yolo", "voc", "annotation")


@st.composite
def datasets(draw: st.DrawFn, folder: Path) -> Dataset:
    """A few pictures of odd sizes; boxes anywhere in them, none smaller than a hundredth of a pixel."""
    records = []
    for index in range(draw(st.integers(1, 3))):
        width, height = draw(st.integers(1, 400)), draw(st.integers(1, 400))
        path = folder / f"p{index}.png"
        cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
        rows: list[Row] = []
        for _ in range(draw(st.integers(0, 4))):
            ends = []
            for side in (width, height):
                start = draw(st.floats(0, side - 0.01))
                ends.append((start, draw(st.floats(start + 0.01, max(side, start + 0.01)))))
            (x1, x2), (y1, y2) = ends
            row = Row("drawn", draw(st.integers(0, 2)), x1, y1, x2, y2)
            # YOLO counts a line that repeats another once.
            if not any(row.label == other.label and np.allclose(row[2:6], other[2:6], atol=0.01) for other in rows):
                rows.append(row)
        records.append(build_record(path, (width, height), rows, ProblemLog(), "train"))
    return Dataset(NAMES, tuple(records), "coco", "drawn")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), route=st.permutations(FORMATS))
def test_no_box_moves_and_no_class_is_lost_on_any_route(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, route: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("route")
    first = dataset = data.draw(datasets(folder))
    for step, name in enumerate([*route, "coco"]):
        convert(dataset, folder / f"{step}", to=name, pictures="link")  # type: ignore[arg-type]
        dataset = read_dataset(folder / f"{step}", problems="stop")
    assert dataset.names == first.names
    before = {record.path.name: record for record in first.images}
    assert {record.path.name for record in dataset.images} == set(before)
    for record in dataset.images:
        assert record.labels.tolist() == before[record.path.name].labels.tolist()
        np.testing.assert_allclose(record.boxes, before[record.path.name].boxes, atol=0.002)


def test_coco_to_voc_to_yolo_to_coco_on_real_annotations(shared: Path, tmp_path: Path) -> None:
    first = dataset = read_dataset(f"{shared}/data/coco128:val2017")
    for name in ("voc", "yolo", "coco"):
        convert(dataset, tmp_path / name, to=name, pictures="link")  # type: ignore[arg-type]
        dataset = read_dataset(tmp_path / name, problems="stop")
    assert (dataset.names, dataset.box_count, len(dataset)) == (first.names, 898, 128)
    for before, after in zip(first.images, dataset.images, strict=True):
        assert before.path.name == after.path.name
        assert before.labels.tolist() == after.labels.tolist()
        assert np.abs(before.boxes - after.boxes).max(initial=0) < 0.5


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    records = []
    for split, folder in (("train", "x"), ("val2017", "y")):
        path = tmp_path / folder / "a.png"
        path.parent.mkdir()
        cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
        rows = [Row("r", 0, 1, 2, 30, 20, crowd=True, difficult=True, area=7.0), Row("r", 1, 1, 1, 2, 2)]
        records.append(build_record(path, (40, 30), rows[: 2 if split == "train" else 0], ProblemLog(), split))
    return Dataset(("cat", "dog"), tuple(records), "coco", "small")


def test_pictures_of_one_name_are_told_apart_and_splits_kept(small: Dataset, tmp_path: Path) -> None:
    convert(small, tmp_path / "out", to="voc")
    back = read_dataset(tmp_path / "out:all")
    assert [(r.path.name, r.split) for r in back.images] == [("a.png", "train"), ("y_a.png", "val2017")]
    assert not back.images[0].path.is_symlink()


@pytest.mark.parametrize(
    ("to", "lost"),
    [
        ("coco", ("1 difficult marks",)),
        ("voc", ("1 areas that differ from the box's",)),
        ("yolo", ("1 crowd marks", "1 difficult marks", "1 areas that differ from the box's")),
        ("openimages", ("1 difficult marks", "1 areas that differ from the box's", "1 pictures without objects")),
    ],
)
def test_what_a_format_cannot_say_is_said(small: Dataset, tmp_path: Path, to: str, lost: tuple[str, ...]) -> None:
    done = convert(small, tmp_path / "out", to=to, pictures="link")  # type: ignore[arg-type]
    assert done.lost == lost
    back = read_dataset(f"{tmp_path}/out:all" if to != "openimages" else f"{tmp_path}/out:train")
    assert back.images[0].crowd.tolist() == ([False] * 2 if "1 crowd marks" in lost else [True, False])
    assert back.images[0].boxes[0].tolist() == pytest.approx([1, 2, 30, 20], abs=0.001)


def test_nothing_is_written_over(small: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("")
    with pytest.raises(OutputError, match="exists already; name a new folder"):
        convert(small, tmp_path / "out", to="coco")


def test_a_failure_leaves_nothing_behind(small: Dataset, tmp_path: Path) -> None:
    small.images[1].path.unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot write"):
        convert(small, tmp_path / "out", to="coco")
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_of_pictures_has_nothing_to_convert(small: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no boxes to convert"):
        convert(read_dataset(tmp_path / "x"), tmp_path / "out", to="coco")


def many(order: list[int]) -> Dataset:
    records = [build_record(Path(f"{i:03d}.jpg"), (9, 9), [], ProblemLog()) for i in order]
    return Dataset(("a",), tuple(records), "coco", "many")


def members(dataset: Dataset, split: str) -> set[str]:
    return {record.path.name for record in dataset.images if record.split == split}


def test_a_split_is_exact_repeatable_and_blind_to_order() -> None:
    first = split_dataset(many(list(range(50))), 0.8, seed=3)
    assert (len(members(first, "train")), len(members(first, "val"))) == (40, 10)
    assert members(split_dataset(many(list(range(50))[::-1]), 0.8, seed=3), "train") == members(first, "train")
    assert members(split_dataset(many(list(range(50))), 0.8, seed=4), "train") != members(first, "train")
    with pytest.raises(DatasetError, match="leaves nothing for one side of 50"):
        split_dataset(many(list(range(50))), 0.999)

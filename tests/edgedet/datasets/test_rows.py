"""What is done about bad boxes, whatever format they come from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size
from edgedet.errors import DatasetError

Picture = Callable[..., Path]
PATH = Path("a.jpg")
SIZE = (40, 30)


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ((5, 5, 5, 9), "box without area"),
        ((9, 5, 5, 9), "box without area"),
        ((40, 5, 45, 9), "box outside the picture"),
        ((-9, 5, -1, 9), "box outside the picture"),
        ((5, 30, 9, 31), "box outside the picture"),
        ((math.nan, 5, 9, 9), "box is not finite"),
        ((1, 5, math.inf, 9), "box is not finite"),
    ],
)
def test_a_bad_box_is_dropped_and_named(corners: tuple[float, ...], reason: str) -> None:
    log = ProblemLog()
    rows = [Row("f:1", 0, 1, 1, 5, 5), Row("f:2", 0, *corners)]
    record = build_record(PATH, SIZE, rows, log)
    assert record.boxes.tolist() == [[1, 1, 5, 5]]
    assert [(p.where, p.reason, p.done) for p in log.found] == [("f:2", reason, "box dropped")]


def test_a_box_that_leaves_the_picture_is_clipped_and_named() -> None:
    log = ProblemLog()
    record = build_record(PATH, SIZE, [Row("f:7", 0, -3, 4, 45, 29)], log)
    assert record.boxes.tolist() == [[0, 4, 40, 29]]
    assert [str(p) for p in log.found] == ["f:7: box partly outside the picture (box clipped)"]


def test_half_a_pixel_over_the_edge_is_rounding_and_left_alone() -> None:
    log = ProblemLog()
    record = build_record(PATH, SIZE, [Row("f:1", 0, -0.5, 0, 40.01, 30.5)], log)
    assert record.boxes.tolist() == [[-0.5, 0, 40.01, 30.5]]
    assert log.found == []


def test_strict_mode_stops_and_says_where() -> None:
    with pytest.raises(DatasetError, match=r"f:3: box without area; mend the annotation"):
        build_record(PATH, SIZE, [Row("f:3", 0, 1, 1, 1, 5)], ProblemLog("stop"))


def test_area_is_the_boxes_own_unless_stated() -> None:
    rows = [Row("f:1", 0, 0, 0, 10, 10), Row("f:2", 0, 0, 0, 10, 10, area=61.5)]
    assert build_record(PATH, SIZE, rows, ProblemLog()).area.tolist() == [100, 61.5]


def test_a_picture_of_another_size_than_annotated_is_not_judged_by_its_boxes(picture: Picture) -> None:
    log = ProblemLog()
    path = picture("a.jpg", width=40, height=30)
    assert picture_size(path, "f:1", log, (40, 30)) == (40, 30)
    assert picture_size(path, "f:1", log, (0, 0)) == (40, 30)
    assert picture_size(path, "f:2", log, (80, 60)) is None
    assert "80x60 but 40x30" in log.found[0].where


def test_missing_and_broken_pictures_are_named(picture: Picture, tmp_path: Path) -> None:
    log = ProblemLog()
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 and nothing more")
    assert picture_size(tmp_path / "none.jpg", "f:1", log) is None
    assert picture_size(tmp_path / "broken.jpg", "f:2", log) is None
    assert [p.reason for p in log.found] == ["missing image", "unreadable image"]

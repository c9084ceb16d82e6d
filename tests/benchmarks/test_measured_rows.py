"""Rows of a page are replaced by what was measured again, and others stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.measured_rows import PAGE, at_commit, line, put

HEADER = ("detector", "matched")
TEXT = """# Page

| detector | extra |
|---|---|
| yolo | 3 |

| detector | matched |
|---|---|
| yolo | 97% |
| yolo nms | 98% |

The end.
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_row_replaces_the_one_of_its_name_in_its_own_table(page: Path) -> None:
    put(page, HEADER, ("yolo", "100%"))
    assert page.read_text(encoding="utf-8") == TEXT.replace("| yolo | 97% |", "| yolo | 100% |")


def test_a_new_row_goes_below_the_last(page: Path) -> None:
    put(page, HEADER, ("ssd", "99%"))
    assert "| yolo nms | 98% |\n| ssd | 99% |\n\nThe end.\n" in page.read_text(encoding="utf-8")


def test_a_table_that_is_not_there_and_a_row_of_another_length_are_refused(page: Path) -> None:
    with pytest.raises(ValueError, match="has no table"):
        put(page, ("detector", "speed"), ("yolo", "1"))
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        put(page, HEADER, ("yolo",))
    assert page.read_text(encoding="utf-8") == TEXT


def test_every_row_of_the_page_has_as_many_cells_as_its_header() -> None:
    columns = 0
    for text in PAGE.read_text(encoding="utf-8").splitlines():
        columns = (columns or text.count("|")) if text.startswith("|") else 0
        assert text.count("|") == columns or not columns


def test_a_line_has_no_bars_but_its_own() -> None:
    assert line(("a|b", "c")) == "| a/b | c |"


def test_a_clone_is_named_by_its_commit(tmp_path: Path) -> None:
    assert at_commit(tmp_path, "yolov7") == "yolov7 (checkout)"
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    name, _, commit = at_commit(tmp_path, "yolov7").partition(" ")
    assert name == "yolov7" and len(commit) == 7 and int(commit, 16) >= 0

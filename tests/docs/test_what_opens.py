"""README says of each detector which version of its framework it was checked against, as it was measured."""

from __future__ import annotations

import re

import pytest

from benchmarks.what_opens import DETECTORS, HEADER, PAGE, README, lines, measured, written

TABLE = f"{HEADER}\n|---|---|---|\n" + "".join(f"| {begin} ones | a file | its layout |\n" for begin in DETECTORS)


def test_the_column_is_what_was_measured() -> None:
    readme = README.read_text(encoding="utf-8")
    assert written(readme, PAGE.read_text(encoding="utf-8")) == readme, "run python benchmarks/what_opens.py"


def test_no_line_names_a_version_that_nothing_measured() -> None:
    versions = set(measured(PAGE.read_text(encoding="utf-8")).values())
    for _, (detector, _, checked) in lines(README.read_text(encoding="utf-8")):
        assert checked, detector
        if re.search(r"\d+\.\d+|\b[0-9a-f]{7}\b", checked):
            assert set(checked.split(", ")) <= {part for version in versions for part in version.split(", ")}


def test_a_row_that_is_measured_reaches_its_line() -> None:
    page = "| detector | framework | matched |\n|---|---|---|\n| yolox nano | YOLOX 1a2b3c4; more | 100% |\n"
    (changed,) = [line for line in written(TABLE, page).splitlines() if line not in TABLE.splitlines()]
    assert changed == "| YOLOX ones | a file | YOLOX 1a2b3c4 |"
    assert written(TABLE, page.replace("YOLOX 1a2b3c4", "not measured: no checkout")) == TABLE


def test_other_tables_of_the_page_name_no_version() -> None:
    page = "| detector | framework |\n|---|---|\n| yolox nano | YOLOX 1a2b3c4 |\n\n"
    page += "| detector | detect / bare |\n|---|---|\n| yolox nano | 10 / 9 ms: 1.11 |\n| nanodet | 5 ms |\n"
    assert measured(page) == {"yolox nano": "YOLOX 1a2b3c4"}


def test_a_line_that_is_gone_is_missed() -> None:
    with pytest.raises(ValueError, match=r"no line of .*Darknet"):
        written(TABLE.replace("| Darknet", "| Another"), "")

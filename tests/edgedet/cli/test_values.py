"""Option values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.cli.values import (
    class_names,
    fraction,
    list_of,
    margin,
    positive_integer,
    positive_number,
    share,
    whole_number,
)


@pytest.mark.parametrize("name", ["names.txt", "NAMES.TXT", "obj.names"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_class_files_are_read_as_any_editor_writes_them(tmp_path: Path, name: str, mark: bytes, end: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(mark + end.join([b"RBC", b" cell phone ", "caf\u00e9".encode(), b""]))
    assert class_names(str(path)) == ("RBC", "cell phone", "caf\u00e9")


def test_a_class_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("RBC\n", encoding="utf-16")
    with pytest.raises(argparse.ArgumentTypeError, match="not UTF-8 text"):
        class_names(str(path))


def test_an_empty_line_within_a_class_file_would_move_every_class_after_it(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("RBC\n\nWBC\n\n")
    with pytest.raises(argparse.ArgumentTypeError, match="line 2 is empty"):
        class_names(str(path))


def test_tensorflow_s_label_map_keeps_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_text("???\nperson\n???\ncar\n")
    assert class_names(str(path)) == ("background", "person", "unused_2", "car")


def test_built_in_lists_by_name() -> None:
    assert len(class_names("objects365")) == 365
    assert class_names("coco,") == ("coco",)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (margin, {"0": 0, "10": 10, "1.5": 1.5}, ["-0.1", "10.1", "x", "", "nan", "inf"]),
        (fraction, {"0": 0, "1": 1, "0.5": 0.5}, ["-0.1", "1.1", "x", "", "nan", "inf"]),
        (share, {"0.8": 0.8}, ["0", "1", "x", "nan"]),
        (positive_number, {"0.1": 0.1, "30": 30}, ["0", "-1", "x", "", "nan", "inf"]),
        (positive_integer, {"1": 1, "32": 32}, ["0", "-1", "1.5", "x", "", "\u0661", "1" * 10]),
        (whole_number, {"0": 0, "7": 7}, ["-1", "1.5", "x", "", "\u00b2"]),
        (list_of(positive_integer), {"1,4": (1, 4), "2": (2,), "1, 2": (1, 2)}, ["", "1,,2", "1,0", "1;2"]),
    ],
)
def test_numbers_and_what_is_none(kind: Callable[[str], Any], good: dict[str, Any], bad: list[str]) -> None:
    assert {text: kind(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=r"^'.*' is not a "):
            kind(text)

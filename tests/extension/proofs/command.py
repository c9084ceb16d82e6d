"""A command is a module and a row: the overview, its own help and the exit codes follow."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import cv2

from edgedet.cli import main
from tests.extension.proofs.commands import said
from tests.rectangle_detector import frame_with_rectangle


def write_set() -> None:
    """One picture with two objects of two classes."""
    cv2.imwrite("a.png", frame_with_rectangle(64, 64, (10, 12, 40, 50)))
    objects = [
        {"id": number, "image_id": 1, "category_id": number, "bbox": [10, 12, 30, 38], "area": 1140, "iscrowd": 0}
        for number in (1, 2)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [*objects, objects[1] | {"id": 3, "bbox": [1, 1, 9, 9], "area": 81}],
    }
    Path("labels.json").write_text(json.dumps(content))


def help_shows_it() -> None:
    assert "count the pictures of a dataset and its objects by class" in " ".join(said("--help").split())
    shown = said("count", "--help")
    assert "usage: edgedet count" in shown and "edgedet count data.yaml:train --classes cat,dog" in shown


def it_runs() -> None:
    for more, expected in (
        ((), "labels: 1 pictures\n  1 cat\n  2 dog\n"),
        (("--classes", "dog"), "labels: 1 pictures\n  2 dog\n"),
    ):
        shown = said("count", "labels.json", *more)
        assert shown == expected, shown


def mistakes_end_as_those_of_other_commands() -> None:
    with contextlib.redirect_stderr(io.StringIO()) as text:
        assert main(["count", "nowhere"]) == 2
    assert text.getvalue() == "edgedet: error: nowhere: no such file or folder\n"


if __name__ == "__main__":
    write_set()
    help_shows_it()
    it_runs()
    mistakes_end_as_those_of_other_commands()

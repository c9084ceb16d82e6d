"""A dataset format is a module and a row: it is recognised, judged by, converted from and to, and named."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edgedet.datasets import read_dataset
from edgedet.errors import DatasetError
from tests.extension.proofs.commands import said
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

BOXES = {"a.png": (10, 12, 40, 50), "b.png": (4, 20, 30, 44)}


def write_set() -> None:
    """Two pictures with an object each, one without, as Create ML has them: centres and sides."""
    Path("set").mkdir()
    entries = []
    for name, (x1, y1, x2, y2) in BOXES.items():
        cv2.imwrite(f"set/{name}", frame_with_rectangle(64, 64, (x1, y1, x2, y2)))
        place = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}
        entries.append({"image": name, "annotations": [{"label": "green", "coordinates": place}]})
    cv2.imwrite("set/none.png", np.zeros((64, 64, 3), np.uint8))
    entries.append({"image": "none.png", "annotations": []})
    Path("set/labels.json").write_text(json.dumps(entries))


def it_judges_a_detector() -> None:
    save_rectangle_graph(Path("rectangle.onnx"))
    said("eval", "rectangle.onnx", "set", "--classes", "green", "--json", "eval.json")
    judged = json.loads(Path("eval.json").read_text())
    assert (judged["map"], judged["images"], judged["problems"]) == (1.0, 3, []), judged


def it_is_converted_from_and_to() -> None:
    assert "(coco)" in said("convert", "set", "coco", "--to", "coco")
    assert "(createml)" in said("convert", "coco", "back", "--to", "createml")
    first, last = read_dataset("set"), read_dataset("back:all")
    assert (first.format, last.format) == ("createml", "createml")
    assert first.names == last.names == ("green",) and last.splits == ("train",)
    for record in first.images:
        (same,) = (each for each in last.images if each.path.name == record.path.name)
        np.testing.assert_allclose(same.boxes, record.boxes, atol=1e-3)
        assert record.boxes.tolist() == [list(BOXES[name]) for name in BOXES if name == record.path.name]


def help_and_sentences_name_it() -> None:
    shown = said("convert", "--help")
    assert ",createml," in "".join(shown.split()) and "CreateML JSON" in " ".join(shown.split())
    Path("notes.md").write_text("hello")
    try:
        read_dataset("notes.md")
    except DatasetError as error:
        assert "labelme JSON, CreateML JSON, " in str(error)
    else:
        raise AssertionError("notes.md was read")


if __name__ == "__main__":
    write_set()
    it_judges_a_detector()
    it_is_converted_from_and_to()
    help_and_sentences_name_it()

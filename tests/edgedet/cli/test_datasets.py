"""``edgedet convert`` and ``edgedet anchors``."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.cli import main
from edgedet.datasets import read_dataset


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    lines = []
    for index in range(10):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((60, 80, 3), np.uint8))
        lines.append(f"{index}.png,{index},5,{index + 12},{20 + index},{'cat' if index % 2 else 'dog'}\n")
    path = tmp_path / "annotation.txt"
    path.write_text("".join(lines) + "0.png,5,5,5,9,cat\n")
    return path


def test_convert_writes_says_what_it_read_and_names_what_it_dropped(
    annotation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = tmp_path / "problems.txt"
    words = ["convert", str(annotation), str(tmp_path / "out"), "--to", "yolo", "--split", "0.8", "--seed", "1"]
    assert main([*words, "--problems", str(problems)]) == 0
    read, wrote = capsys.readouterr().out.splitlines()
    assert "10 images, 10 boxes, 2 classes; 1 × box without area" in read
    assert "(yolo): images " in wrote and "train 8" in wrote and "val 2" in wrote and "10 boxes" in wrote
    assert problems.read_text() == "annotation.txt:11: box without area (box dropped)\n"
    assert len(read_dataset(f"{tmp_path}/out:train")) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strict"], "annotation.txt:11: box without area"),
        (["--split", "1"], "not a share between 0 and 1"),
        (["--seed", "1"], "add --split"),
        (["--split", "0.5", "--seed", "-1"], "not a whole number from 0 on"),
        (["--classes", "ufo"], "no class 'ufo'"),
        (["--exclude", "blurred"], "expected marks out of"),
    ],
)
def test_convert_refuses_in_one_line(
    annotation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["convert", str(annotation), str(tmp_path / "out"), "--to", "coco", *words]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint and complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_convert_does_what_it_was_asked(annotation: Path, tmp_path: Path) -> None:
    words = ["convert", str(annotation), "--to", "coco", "--json"]
    assert main([*words, str(tmp_path / "cats"), "--classes", "cat", "--link"]) == 0
    cats = read_dataset(tmp_path / "cats")
    assert cats.names == ("cat",) and cats.box_count == 5
    assert all(record.path.samefile(tmp_path / record.path.name) for record in cats.images), "links, not copies"
    drawn = []
    for seed in ("0", "1", "1"):
        folder = tmp_path / f"split{len(drawn)}"
        assert main([*words, str(folder), "--split", "0.5", "--seed", seed]) == 0
        drawn.append({record.path.name for record in read_dataset(f"{folder}:train").images})
    assert drawn[0] != drawn[1] == drawn[2]


def test_convert_leaves_out_marked_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/1,Dog\n")
    (tmp_path / "validation-annotations-bbox.csv").write_text(
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,"
        "IsInside\na,xclick,/m/1,1,0.1,0.5,0.1,0.9,0,0,0,0,0\na,xclick,/m/1,1,0.2,0.5,0.1,0.9,0,0,0,1,0\n"
    )
    words = ["convert", str(tmp_path), "--images", str(tmp_path), "--to", "coco", "--json"]
    for more, boxes in ([], 2), (["--exclude", "depiction"], 1):
        assert main([*words, str(tmp_path / f"out{boxes}"), *more]) == 0
        assert json.loads(capsys.readouterr().out)["boxes"] == boxes


def test_anchors_for_people_and_for_machines(annotation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["anchors", str(annotation), "--count", "3", "--scales", "2", "--ratios", "1", "--imgsz", "160"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "3 anchors, width,height: mean IoU 0.9" in text
    pixels, cells = (next(line for line in text.splitlines() if name in line) for name in ("YOLOv3", "YOLOv2"))
    first = [float(value) for value in pixels.split()[-3:][0].rstrip(",").split(",")]
    assert [float(value) for value in cells.split()[-3:][0].rstrip(",").split(",")] == pytest.approx(
        [value / 32 for value in first], abs=0.02
    )
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    # Boxes are 12 wide and 15 to 24 high, twice that on a 160 input.
    assert [round(width) for width, _ in facts["yolo"]["anchors"]] == [24, 24, 24]
    assert facts["boxes"] == 10
    assert len(facts["faster_rcnn"]["scales"]) == 2
    assert main([*words, "--json", "--fit", "none"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [round(width) for width, _ in facts["yolo"]["anchors"]] == [12, 12, 12]


def test_too_many_anchors_are_refused(annotation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anchors", str(annotation), "--count", "90"]) == 2
    assert "ask for fewer" in capsys.readouterr().err

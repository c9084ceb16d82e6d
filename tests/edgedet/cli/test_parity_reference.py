"""`edgedet parity A --reference FILE`, and which arguments go together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgedet.cli import main
from tests.edgedet.reference.pictures_made import coco, save, save_pictures
from tests.rectangle_detector import save_rectangle_graph


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    save_pictures(folder / "photos")
    save_rectangle_graph(folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "photos").iterdir())


def ask(folder: Path, content: Any, *more: str) -> int:
    boxes = save(folder / "boxes.json", content)
    return main(
        ["parity", str(folder / "model.onnx"), "--reference", str(boxes), "--frames", str(folder / "photos"), *more]
    )


def test_boxes_that_are_the_same(folder: Path, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(folder, coco(names)) == 0
    said = capsys.readouterr().out
    assert "6 frames: 6 detections in A, 6 in B" in said and "they agree (97.00% required)" in said
    assert "compared from score 0.875 on, the lowest in boxes.json" in said


def test_classes_in_another_order(folder: Path, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    content = coco(names)
    for category, name in zip(content["categories"], ("green", "blue", "red"), strict=True):
        category["name"] = name
    assert ask(folder, content) == 1
    said = capsys.readouterr().out
    assert "the same boxes have other class names" in said and "'blue' is 'green' here" in said
    assert said.splitlines()[-1] == "they do not agree (97.00% required)"


def test_red_and_blue_exchanged(folder: Path, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    content = coco(names)
    for row in content["results"]:
        row["category_id"] = 16 - row["category_id"]
        row["bbox"][0] += 1
    # The places are a pixel off too: agreement there needs a looser IoU, and the colour explains the rest.
    assert ask(folder, content, "--min-iou", "0.8", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert any("red and blue" in finding["text"] for finding in found["findings"])
    assert found["tolerance"]["min_iou"] == 0.8 and found["required"] == 0.97 and not found["agrees"]


def test_the_json_report_has_what_it_has_for_two_artifacts(
    folder: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    graph, photos = str(folder / "model.onnx"), str(folder / "photos")
    assert main(["parity", graph, graph, "--frames", photos, "--json"]) == 0
    of_artifacts = json.loads(capsys.readouterr().out)
    assert of_artifacts["tolerance"]["min_iou"] == 0.99 and of_artifacts["required"] == 0.995
    assert ask(folder, coco(names), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(of_artifacts) < set(found)
    assert found["agrees"] and found["found"] == found["confirmed"] == 1.0 and found["frames"] == 6
    assert found["reference"]["file"] == "boxes.json" and len(found["per_frame"]) == 6
    assert ask(folder, coco(names), "--json", "--limit", "2") == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 2


def test_first_pictures_without_a_box_are_no_comparison(
    folder: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    content = coco(names)
    del content["results"][:2]
    assert ask(folder, content, "--limit", "2") == 2
    assert "first 2 pictures hold not one box" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["parity", "a.onnx"], "compares two artifacts: edgedet parity A B --frames SOURCE; or one with"),
        (["parity", "a.onnx", "--frames", "x"], "compares two artifacts"),
        (["parity", "a.onnx", "b.onnx"], "say on which pictures the two are compared: --frames"),
        (["parity", "a.onnx", "b.onnx", "--reference", "c.json"], "give a.onnx or b.onnx, not both"),
        (["parity", "a.onnx", "--reference", "c.json"], "cannot read c.json"),
    ],
)
def test_arguments_that_do_not_go_together(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_help_names_both_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "(0.99; with --reference 0.97)" in said and "(0.995; with --reference 0.97)" in said

"""``edgedet eval``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgedet.cli import main

if TYPE_CHECKING:
    from edgedet.export.options import ExportReport

pytest.importorskip("pycocotools", reason="needs pycocotools")


@pytest.fixture
def graph(sample_export: ExportReport) -> Path:
    """The sample SSDLite as a graph."""
    return sample_export.path


def lines(capsys: pytest.CaptureFixture[str]) -> Sequence[str]:
    return capsys.readouterr().out.splitlines()


def test_the_published_figures_of_the_sample_detector(
    shared: Path, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, worst = tmp_path / "out.json", tmp_path / "worst"
    words = [
        "eval",
        str(graph),
        f"{shared}/data/bccd:test",
        "--json",
        str(out),
        "--save",
        str(worst),
        "--worst",
        "2",
    ]
    assert main(words) == 0
    text = lines(capsys)
    assert text[0].endswith("bccd:test (voc): 72 images, 945 boxes, 3 classes")
    assert "mAP 0.457" in text[2] and "AP50 0.648" in text[2]
    assert any(line.startswith("Platelets") for line in text)
    data = json.loads(out.read_text())
    assert data["map"] == pytest.approx(0.457, abs=5e-4)
    assert (data["architecture"], data["precision"]) == ("ssdlite320_mobilenet_v3_large", "fp32")
    assert data["problems"] == []
    drawn = {Path(entry["drawn"]).name for entry in data["worst"]}
    assert {path.name for path in worst.iterdir()} == drawn | {"curves.png"}
    assert len(data["worst"]) == 2


def test_false_alarms_and_a_recommended_threshold(
    shared: Path, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((shared / "data/coco128/val2017").glob("*.jpg"))[:8]:
        shutil.copy(path, tmp_path)
    words = ["eval", str(graph), f"{shared}/data/bccd:test", "--limit", "4", "--negatives", str(tmp_path)]
    assert main([*words, "--false-alarm-rate", "0.25", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    point = data["working_point"]
    assert (data["images"], point["images_without_objects"]) == (4, 8)
    assert point["false_alarms"] <= 0.25
    assert point["threshold"] == data["false_alarm_threshold"]


def test_the_threshold_is_the_askers_and_so_are_the_classes(
    shared: Path, graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", str(graph), f"{shared}/data/bccd:test", "--limit", "3", "--classes", "WBC,Platelets"]
    assert main([*words, "--threshold", "0.65", "--conf", "0.3", "--max-detections", "50", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["images"], data["names"]) == (3, ["WBC", "Platelets"])
    assert (data["working_point"]["threshold"], data["working_point"]["chosen_by"]) == (0.65, "as asked")
    assert (data["score_threshold"], data["max_detections"]) == (0.3, 50)
    assert main([*words, "--conf", "0.3"]) == 0
    text = capsys.readouterr().out
    assert "reports no score below 0.3" in text and "false alarms  not measured" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bccd"], "name one, such as"),
        (["bccd/JPEGImages"], "no annotations"),
        (["coco128:val2017"], "share no class"),
        (["bccd:test", "--worst", "3"], "add --save DIR"),
        (["bccd:test", "--negatives", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_mistakes_cost_one_line(
    shared: Path, graph: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["eval", str(graph), f"{shared}/data/{words[0]}", *words[1:]]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint and complaint.count("\n") == 1

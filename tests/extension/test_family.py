"""A family is a module and a line of a table: commands, messages and the exporter follow."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgedet import Detector
from edgedet.cli import main
from edgedet.export import families
from edgedet.proof.parity import pairwise_iou
from tests.extension import split_family
from tests.rectangle_detector import frame_with_rectangle, save_split_graph


@pytest.fixture
def split_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of the family, which the table knows."""
    monkeypatch.setitem(families.FOREIGN, "split", "split:SPLIT")
    monkeypatch.setitem(sys.modules, "edgedet.export.families.split", split_family)
    save_split_graph(tmp_path / "split.onnx")
    return tmp_path / "split.onnx"


def test_the_command_exports_it(split_graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = split_graph.with_name("ours.onnx")
    arguments = ["export", str(split_graph), "--family", "split", "--classes", "blue,green,red", "-o", str(output)]
    assert main(arguments) == 0, capsys.readouterr().err
    box = (10, 12, 40, 50)
    with Detector(output) as detector:
        found = detector.detect(frame_with_rectangle(64, 64, box))
    assert [found.names[label] for label in found.labels] == ["green"]
    assert pairwise_iou(found.boxes, np.array([box], np.float32)).item() > 0.9


@pytest.mark.usefixtures("split_graph")
def test_help_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert "{yolo,yolov5," in shown and ",split}" in shown

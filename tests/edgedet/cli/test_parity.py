"""What `edgedet parity` calls agreement."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.cli import main
from edgedet.cli.parity import report_lines
from edgedet.detections import Detections
from edgedet.proof.parity import match_detections, summarise
from tests.rectangle_detector import save_rectangle_graph


def test_two_that_find_nothing_have_not_been_shown_to_agree() -> None:
    frames = [match_detections(Detections.empty(), Detections.empty())]
    report = summarise(frames)
    assert not report.agrees(0.5)
    lines = list(report_lines(report, 0.5, ["a.jpg"], frames))
    assert "nothing was compared" in lines[-2] and lines[-1].startswith("they do not agree")
    assert "found       not measured: A finds nothing" in lines
    assert not any("%" in line for line in lines[:-1]), "no share of nothing"


def test_the_command_has_no_figures_where_nothing_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.onnx"
    save_rectangle_graph(model)
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((48, 64, 3), np.uint8))
    assert main(["parity", str(model), str(model), "--frames", str(tmp_path / "black.png"), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    names = ("found", "confirmed", "worst_iou", "worst_score_difference", "worst_corner_difference")
    assert [said[name] for name in names] == [None] * 5 and set(said["absent"]) == set(names)
    assert said["agrees"] is False

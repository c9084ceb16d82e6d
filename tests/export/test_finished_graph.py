"""What a finished graph's card says is what the graph is."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import onnx
import pytest

from edgedet.calibration.cpu import Cpu
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.self_describing import embed


def test_a_graph_that_int8_left_as_it_was_is_called_by_the_precision_it_has(
    tmp_path: Path, tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*given: Any, **named: Any) -> list[Any]:
        return []

    monkeypatch.setattr(Cpu, "paying", none)  # INT8 gains no time on this machine
    (tmp_path / "tiny.onnx").write_bytes(embed(tiny.tiny_detector(), tiny.card()).SerializeToString())
    (tmp_path / "photos").mkdir()
    for number, frame in enumerate(tiny.frames(20)):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), frame[0])
    options = ExportOptions(precision="int8", calib=str(tmp_path / "photos"), max_drop=1)
    report = export_model(tmp_path / "tiny.onnx", tmp_path / "out.onnx", options)
    assert report.card.precision == "fp32" and report.card.measured["int8"]["layers_int8"] == 0
    assert not [node for node in onnx.load(report.path).graph.node if node.op_type == "QuantizeLinear"]
    assert any("left in fp32" in note for note in report.notes)

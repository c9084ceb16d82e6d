"""A family is a module and a line of a table: commands, messages and the exporter follow."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.cli import main
from edgedet.export import families
from edgedet.proof.parity import pairwise_iou
from tests.extension import split_family
from tests.rectangle_detector import frame_with_rectangle, save_foreign_graph


@pytest.fixture
def split_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of the family, which the table knows."""
    monkeypatch.setitem(families.FOREIGN, "split", "split:SPLIT")
    monkeypatch.setitem(sys.modules, "edgedet.export.families.split", split_family)
    save_foreign_graph(tmp_path / "one.onnx", {})
    model = onnx.load(str(tmp_path / "one.onnx"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([4, 3], np.int64), "parts"))
    model.graph.node.append(helper.make_node("Split", ["output0", "parts"], ["locations", "confidences"], axis=1))
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, rows, 1])
        for name, rows in (("locations", 4), ("confidences", 3))
    )
    onnx.save(model, str(tmp_path / "split.onnx"))
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

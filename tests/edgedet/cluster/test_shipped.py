"""An artifact goes to workers with all that it needs, and opens where nothing of it was."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edgedet import Detector
from edgedet.cluster.shipped import ship
from edgedet.errors import ArtifactError
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

FRAME = frame_with_rectangle(48, 64, (10, 10, 40, 30))


def test_a_graph_opens_elsewhere(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    shipped = ship(tmp_path / "model.onnx")
    assert set(shipped.files) == {"model.onnx"}
    (tmp_path / "elsewhere").mkdir()
    with Detector(tmp_path / "model.onnx") as here, Detector(shipped.unpack(tmp_path / "elsewhere")) as there:
        assert here.detect(FRAME).to_dict() == there.detect(FRAME).to_dict()


def test_weights_in_other_files_go_with_it(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "whole.onnx")
    model = onnx.load(tmp_path / "whole.onnx")
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    shipped = ship(tmp_path / "model.onnx")
    assert set(shipped.files) == {"model.onnx", "weights.bin"}
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ArtifactError, match=r"needs .*weights\.bin, which is not there"):
        ship(tmp_path / "model.onnx")


def test_signatures_and_descriptions_go_with_it(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    (tmp_path / "model.onnx.sig").write_text("signed")
    assert set(ship(tmp_path / "model.onnx").files) == {"model.onnx", "model.onnx.sig"}
    (tmp_path / "model.plan").write_bytes(b"ptrt" + bytes(124))
    (tmp_path / "model.json").write_text(json.dumps({}))
    assert set(ship(tmp_path / "model.plan").files) == {"model.plan", "model.json"}


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        ship(tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match="is a folder"):
        ship(tmp_path)

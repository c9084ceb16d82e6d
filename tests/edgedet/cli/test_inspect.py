"""``edgedet inspect``: what is not known is told with its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.cli import main
from edgedet.opening import read_card
from tests.rectangle_detector import save_rectangle_graph

WHY = "the fp32 graph finds nothing that scores 0.3 or more in 8 calibration images"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A graph whose card has figures that were not to be had."""
    path = tmp_path / "model.onnx"
    card = save_rectangle_graph(path)
    measured = {
        "int8": {
            "before": None,
            "after": None,
            "losses": {"a": None},
            "macs_int8": 0.5,
            "absent": {"before": WHY, "after": WHY, "losses": "nothing is found"},
        },
        "fp16": {"kept_fp32": {}, "absent": {"kept_fp32": "was not looked at"}},
    }
    rewrite(path, replace(card, measured=measured))
    return path


def rewrite(path: Path, card: ModelCard) -> None:
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = card.to_json()
    onnx.save(model, path)


def test_absent_figures_have_their_reason_in_their_place(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(graph)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"int8.before: not measured ({WHY})" in said and f"int8.after: not measured ({WHY})" in said
    assert "int8.losses.a: not measured (nothing is found)" in said
    assert "fp16.kept_fp32: not measured (was not looked at)" in said
    assert "None" not in said and ".absent" not in said and "int8.macs_int8: 0.5" in said
    assert main(["inspect", str(graph), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"]["measured"]["int8"]["before"] is None


def test_a_graph_without_layers_has_no_share_of_a_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 4])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4])
    node = helper.make_node("Identity", ["images"], ["out"])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [pixels], [out])), tmp_path / "empty.onnx")
    assert main(["inspect", str(tmp_path / "empty.onnx")]) == 0
    said = capsys.readouterr().out
    assert "precision   no weights" in said and "%" not in said and "0 layers" not in said


def test_who_has_to_propose_is_said(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = read_card(graph)
    rewrite(graph, replace(card, family="faster_rcnn", input=replace(card.input, proposals=24)))
    assert main(["inspect", str(graph)]) == 0
    assert "proposals   from outside, 24 of a frame at most" in capsys.readouterr().out

"""Files without names: nothing of what their exporters called things is left, and they compute the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.nameless import readings, strip
from edgedet import Detections, Detector
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.onnxruntime_import import onnxruntime
from tests.export.foreign_heads import ULTRALYTICS, Head, save_head
from tests.export.same_detections import CONF

OUTER = "backbone.weight"


def branching(path: Path) -> Path:
    """A graph whose branch uses a tensor of the outer graph."""
    value = helper.make_tensor_value_info
    inner = helper.make_graph(
        [helper.make_node("Mul", ["images", OUTER], ["chosen"], name="/head/Mul")],
        "then",
        [],
        [value("chosen", TensorProto.FLOAT, [2])],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["kept"])], "else", [], [value("kept", TensorProto.FLOAT, [2])]
    )
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "limit"], ["big"]),
        helper.make_node("If", ["big"], ["boxes"], then_branch=inner, else_branch=other),
    ]
    weights = [
        numpy_helper.from_array(np.float32([3, 5]), OUTER),
        numpy_helper.from_array(np.float32(0), "limit"),
    ]
    images, boxes = value("images", TensorProto.FLOAT, [2]), value("boxes", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "torch_jit", [images], [boxes], weights)
    model = helper.make_model(graph, producer_name="pytorch", opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {"names": "cat"})
    onnx.save(model, str(path))
    return path


def run(path: Path, numbers: list[float]) -> list[float]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: np.float32(numbers)})
    return [float(number) for number in result]


def test_branches_too_lose_their_names_and_nothing_else(tmp_path: Path) -> None:
    source = branching(tmp_path / "net.onnx")
    bare = strip(source, tmp_path / "bare.onnx")
    for numbers in ([1.0, 2.0], [-1.0, -2.0]):
        assert run(bare, numbers) == run(source, numbers)
    content = bare.read_bytes()
    for word in ("images", "boxes", OUTER, "pytorch", "torch_jit", "/head/Mul", "cat", "chosen", "kept"):
        assert word.encode() not in content


@pytest.fixture
def frames() -> list[np.ndarray]:
    return [np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)]


def meant(source: Path, frames: list[np.ndarray]) -> list[Detections]:
    """What the file finds as its metadata describes it."""
    report = export_model(source, source.with_name("meant.onnx"), ExportOptions(conf=CONF))
    with Detector(report.path) as detector:
        return [detector.detect(frame) for frame in frames]


def test_a_head_without_names_is_refused_until_its_classes_are_said(
    tmp_path: Path, frames: list[np.ndarray]
) -> None:
    source = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    read = readings(source, tmp_path, meant(source, frames), frames, ExportOptions(conf=CONF))
    assert read["nothing"].word == "refused"
    assert "does not say what its outputs mean" in read["nothing"].why
    assert read["classes"].word == "right"


def test_other_boxes_than_meant_are_called_wrong(tmp_path: Path, frames: list[np.ndarray]) -> None:
    source = save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)
    (wanted,) = meant(source, frames)
    moved = dataclasses.replace(wanted, boxes=wanted.boxes * np.float32(0.5))
    assert readings(source, tmp_path, [moved], frames, ExportOptions(conf=CONF))["classes"].word.startswith("WRONG")

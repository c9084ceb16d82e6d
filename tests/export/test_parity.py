"""The comparison with the framework that every export makes, and what it says of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgedet.detections import Detections
from edgedet.errors import ExportError
from edgedet.export import parity
from edgedet.export.built_graph import BuiltGraph
from edgedet.export.checkpoint_source import Reference
from edgedet.export.embedded_card import embed, opened
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.pipeline import export_model
from edgedet.export.sources import build_graph
from edgedet.onnx_graph.network import Network
from edgedet.proof.golden_scene import golden_frame
from tests.export.narrow import narrow
from tests.export.thin import thin
from tests.rectangle_detector import save_rectangle_graph

SSDLITE = Path(__file__).resolve().parents[2] / "examples/sample/camera_phone_ssdlite320.pt"
"""Trained: the scores of an untrained one are all alike, and which boxes are kept is chance."""


@pytest.fixture(scope="module")
def faster_rcnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 30 classes, nearly sure that everything is background."""
    arch = "fasterrcnn_mobilenet_v3_large_320_fpn"
    torch.manual_seed(0)
    model = narrow(thin(build(arch, 31)))
    model.roi_heads.box_predictor.cls_score.bias.data[0] = 5
    path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    torch.save(model, path)
    return path


def said(report: ExportReport) -> str:
    (note,) = (note for note in report.notes if "framework" in note and not note.startswith("assumed"))
    return note


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("faster_rcnn", ExportOptions(proposals=30, conf=0.5, trust="code")),
        ("faster_rcnn", ExportOptions(proposals=30, conf=0.5, nms="runtime", trust="code")),
        ("ssd", ExportOptions(conf=0.999)),
    ],
)
def test_where_nothing_is_found_what_lies_below_the_threshold_is_compared(
    family: str, options: ExportOptions, faster_rcnn: Path, tmp_path: Path
) -> None:
    """Faster R-CNN: at 0.5 one class of 30 can win, which a graph may make use of; below more can."""
    report = export_model(SSDLITE if family == "ssd" else faster_rcnn, tmp_path / "out.onnx", options)
    found = report.card.measured["parity"]
    assert found["below_threshold"] and found["detections"] > 20
    assert found["least_score"] < report.card.output.score_threshold
    assert min(found["found"], found["confirmed"]) >= parity.EXPECTED
    assert f"% of {found['detections']} candidates scoring {found['least_score']:.2g} or more" in said(report)
    assert "with a lower threshold" in said(report)
    # The file itself keeps the threshold asked for.
    assert report.card.output.score_threshold == options.conf


def test_candidates_of_another_detector_do_not_pass(tmp_path: Path) -> None:
    ours = built()
    other = torch.load(SSDLITE, weights_only=True)
    values = other["state_dict"]
    name = next(name for name in values if "regression_head" in name and name.endswith("bias"))
    values[name] = values[name] + 0.2
    torch.save(other, tmp_path / "other.pt")
    other = built(tmp_path / "other.pt")
    assert isinstance(other.reference, Reference)
    found = parity.measure(ours.model, ours.card, other.reference, [golden_frame(1)])
    assert found["below_threshold"] and found["found"] < 0.9
    assert parity.note(found, precision="fp32").startswith("only ")


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_small_scores_are_held_to_a_difference_that_is_small_beside_them(factor: float, tiny: ModuleType) -> None:
    """Of scores of a thousandth, those that differ by half are not the same arithmetic's."""
    model, card = tiny.tiny_detector(), tiny.card()
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "head.b")
    values = numpy_helper.to_array(bias).copy()
    values[4:] -= 6
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    every = replace(card, output=replace(card.output, score_threshold=1e-6))

    class Framework:
        module = torch.nn.Identity()

        def __call__(self, frame: Any) -> Detections:
            return Detections.empty(tiny.NAMES, frame.shape[:2])

        def candidates(self, frame: Any) -> Detections:
            with opened(embed(onnx.ModelProto.FromString(model.SerializeToString()), every)) as detector:
                found = detector.detect(frame)
            return replace(found, scores=found.scores * np.float32(factor))

        def graph_from(self, conf: float) -> onnx.ModelProto:
            return model

    found = parity.measure(model, card, Framework(), [golden_frame(1, 48, 64)])
    assert found["below_threshold"] and found["detections"] > 20
    assert 1e-4 < found["least_score"] < 2e-3
    assert found["found"] == (1.0 if factor == 1 else 0.0)


@cache
def built(source: Path = SSDLITE) -> BuiltGraph:
    """For reading only."""
    return build_graph(source, ExportOptions(conf=0.999, nms="runtime"), frame_size=None)


def test_a_network_without_a_single_candidate_is_said_to_be() -> None:
    class Blind(Reference):
        def __call__(self, frame: Any) -> Detections:
            return Detections.empty(("a", "b", "c"), frame.shape[:2])

        candidates = __call__

    ours = built()
    assert isinstance(ours.reference, Reference)
    blind = copy.copy(ours.reference)
    blind.__class__ = Blind
    found = parity.measure(ours.model, ours.card, blind, [golden_frame(1)])
    assert found["detections"] == 0
    assert found["found"] is found["confirmed"] is found["worst_iou"] is None
    assert set(found["absent"]) >= {"found", "confirmed", "worst_iou"}
    assert "nothing could be compared" in parity.note(found, precision="fp32")


def test_boxes_of_the_graph_alone_are_not_called_nothing() -> None:
    """The framework finds nothing and the graph does: that is a disagreement, not an empty scene."""
    found = {"detections": 0, "graph_detections": 7, "found": None, "confirmed": 0.0, "frames": 3}
    note = parity.note(found, precision="fp32")
    assert note == (
        "the framework finds nothing on 3 frames where the graph finds 7: run edgedet parity on frames of your own"
    )


def test_the_framework_is_told_the_thresholds_too(tmp_path: Path) -> None:
    options = ExportOptions(iou=0.2, max_detections=7, conf=0.02)
    report = export_model(SSDLITE, tmp_path / "out.onnx", options)
    found = report.card.measured["parity"]
    assert not found["below_threshold"] and 0 < found["detections"] <= 7 * len(parity.SCENES)
    assert min(found["found"], found["confirmed"]) >= parity.EXPECTED


def test_a_threshold_is_lifted_for_one_look_only() -> None:
    reference = built().reference
    assert isinstance(reference, Reference)
    frame = golden_frame(1)
    assert len(reference.candidates(frame)) > 0 and len(reference(frame)) == 0
    assert np.all(reference.candidates(frame).scores < 0.999)


def test_what_has_no_framework_says_so(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    report = export_model(tmp_path / "model.onnx", tmp_path / "out.onnx", ExportOptions(precision="fp16"))
    assert "not compared with its framework: model.onnx was when it was made" in said(report)
    assert "edgedet parity" in said(report)


def test_a_figure_of_the_float_graph_says_so(tmp_path: Path) -> None:
    report = export_model(SSDLITE, tmp_path / "out.onnx", ExportOptions(precision="fp16"))
    assert "in fp32, before fp16" in said(report)


def test_a_graph_of_another_detector_is_refused() -> None:
    """Thirty pixels beside the framework's, on a trained detector: no rounding does that."""
    ours = build_graph(SSDLITE, ExportOptions(conf=0.1, nms="runtime"), frame_size=None)

    class Beside(Reference):
        def __call__(self, frame: Any) -> Detections:
            found = super().__call__(frame)
            return Detections(
                found.boxes + np.float32(30),
                found.scores,
                found.labels,
                names=found.names,
                frame_size=frame.shape[:2],
            )

    assert isinstance(ours.reference, Reference)
    frames = [golden_frame(seed) for seed in parity.SCENES]
    right = parity.measure(ours.model, ours.card, ours.reference, frames)
    parity.require_agreement(right, ours.reference, frames, source=SSDLITE)
    ours.reference.__class__ = Beside
    wrong = parity.measure(ours.model, ours.card, ours.reference, frames)
    with pytest.raises(
        ExportError, match=r"0\.0% of \d+ are equal, while the framework repeats 100\.0% of its own"
    ):
        parity.require_agreement(wrong, ours.reference, frames, source=SSDLITE)


def test_boxes_that_score_alike_are_chance_and_no_fault(tmp_path: Path) -> None:
    """An untrained SSDLite: one score everywhere, and each library keeps the boxes that come first to it."""
    torch.manual_seed(0)
    arch = "ssdlite320_mobilenet_v3_large"
    torch.save({"arch": arch, "state_dict": build(arch, 4).state_dict()}, tmp_path / "model.pt")
    report = export_model(tmp_path / "model.pt", tmp_path / "out.onnx")
    assert report.card.measured["parity"]["found"] < parity.DISAGREES
    assert said(report).startswith("only ")


def test_a_disturbed_module_is_as_before_afterwards() -> None:
    reference = built().reference
    assert isinstance(reference, Reference)
    before = {name: value.clone() for name, value in reference.module.state_dict().items()}
    with parity.disturbed(reference.module, 0):
        changed = reference.module.state_dict()
        assert any(not torch.equal(value, changed[name]) for name, value in before.items())
    assert all(torch.equal(value, reference.module.state_dict()[name]) for name, value in before.items())


def test_a_heavy_network_is_compared_on_fewer_frames_of_every_kind(tiny: ModuleType) -> None:
    model, frames = tiny.tiny_detector(), [np.full((4, 4, 3), value, np.uint8) for value in range(11)]
    work = sum(layer.multiply_adds for layer in Network(model).layers())
    assert work > 0
    assert [int(frame[0, 0, 0]) for frame in parity.affordable(model, frames)] == list(range(11))
    assert [int(frame[0, 0, 0]) for frame in parity.affordable(model, frames, most=6.5 * work)] == [
        0,
        2,
        4,
        6,
        8,
        10,
    ]
    assert [int(frame[0, 0, 0]) for frame in parity.affordable(model, frames, most=0)] == [0, 3, 7, 10]

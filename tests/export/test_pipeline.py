"""The whole export: what is written opens, describes itself, and is written whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.errors import (
    ArtifactError,
    CheckpointError,
    EdgedetError,
    OutputError,
    UntrustedCheckpointError,
    UsageError,
)
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.for_cpu import winograd
from edgedet.export.options import ExportOptions, default_output
from edgedet.export.pipeline import export_model
from edgedet.opening import read_card
from edgedet.proof.golden import replay
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import match_detections
from tests.export.narrow import narrow
from tests.export.thin import SHARE, thin
from tests.once import exported

SSDLITE = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained SSDLite of three classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    state = build(SSDLITE, 4).state_dict()
    torch.save({"arch": SSDLITE, "num_classes": 4, "classes": ["a", "b", "c"], "state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def graph(checkpoint: Path) -> Path:
    return export_model(checkpoint, checkpoint.with_name("model.onnx")).path


def test_the_graph_describes_itself(checkpoint: Path, graph: Path) -> None:
    card = read_card(graph)
    assert (card.family, card.architecture, card.names, card.precision) == ("ssd", SSDLITE, ("a", "b", "c"), "fp32")
    assert card.provenance["source_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert card.provenance["tools"]["torch"] and card.measured["parity"]["frames"] > 0
    with Detector(graph) as detector:
        assert replay(detector).passed
        detections = detector.detect(golden_frame(2))
        assert detections.names == ("a", "b", "c")


def test_a_canvas_for_one_shape_of_frames_says_so(tmp_path: Path) -> None:
    torch.save(narrow(thin(build("fasterrcnn_mobilenet_v3_large_320_fpn", 3))), tmp_path / "model.pt")
    options = ExportOptions(frame_size=(1280, 720), trust="code")
    report = export_model(tmp_path / "model.pt", tmp_path / "out.onnx", options)
    assert (report.card.input.height, report.card.input.width) == (320, 568)
    assert any("1280x720" in note and "--frame-size" in note for note in report.notes)


def test_exporting_again_gives_the_same_graph(checkpoint: Path, graph: Path, tmp_path: Path) -> None:
    again = export_model(checkpoint, tmp_path / "again.onnx").path
    assert again.read_bytes() == graph.read_bytes()


def test_runtime_nms_gives_the_same_detections(checkpoint: Path, graph: Path, tmp_path: Path) -> None:
    report = export_model(checkpoint, tmp_path / "runtime.onnx", ExportOptions(nms="runtime"))
    assert report.card.output.format == "candidates"
    frame = golden_frame(3)
    with Detector(graph) as first, Detector(report.path) as second:
        parity = match_detections(first.detect(frame), second.detect(frame))
    assert parity.reference_count > 0 and not len(parity.missing) and not len(parity.extra)


def test_fp16_keeps_inputs_and_outputs(graph: Path, tmp_path: Path) -> None:
    report = export_model(graph, tmp_path / "half.onnx", ExportOptions(precision="fp16"))
    assert report.card.precision == "fp16" and report.bytes < 0.6 * graph.stat().st_size
    model = onnx.load(str(report.path))
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    assert kinds["images"] == kinds["boxes"] == kinds["scores"] == TensorProto.FLOAT
    with Detector(report.path) as detector:
        assert replay(detector).passed


def test_input_size_and_dtype_follow_the_options(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(imgsz=(160, 192), input_dtype="uint8", batch=2, max_detections=5)
    report = export_model(checkpoint, tmp_path / "small.onnx", options)
    spec = report.card.input
    assert (spec.height, spec.width, spec.dtype, spec.batch) == (160, 192, "uint8", 2)
    with Detector(report.path) as detector:
        assert all(len(found) <= 5 for found in detector.detect_batch([golden_frame(1)] * 3))


def test_default_output_is_named_after_source_and_precision() -> None:
    assert default_output(Path("a/b.pt"), ExportOptions()) == Path("a/b.onnx")
    assert default_output(Path("a/b.onnx"), ExportOptions(precision="fp16")) == Path("a/b-fp16.onnx")


@pytest.mark.parametrize(
    "options",
    [
        {"conf": 1.5},
        {"iou": -0.1},
        {"batch": 0},
        {"proposals": 0},
        {"imgsz": (16, 320)},
        {"classes": ("a", "a", "b")},
        {"conf": "a"},
        {"batch": 1.5},
        {"imgsz": 320},
        {"frame_size": ("640", "480")},
        {"classes": "cat,dog"},
        {"precision": "bf16"},
        {"nms": None, "over_budget": "maybe"},
        {"int8_layers": "some"},
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--"):
        ExportOptions(**options)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"proposals": 50}, UsageError, "no region proposals"),
        ({"family": "yolo"}, UsageError, "is a checkpoint"),
        ({"precision": "int8", "calib": "photos", "int8_layers": "all"}, UsageError, "--target tensorrt"),
        ({"int8_layers": "all"}, UsageError, "--int8-layers is about INT8"),
        ({"classes": ("a", "b")}, CheckpointError, "2 names"),
        ({"arch": "ssd300_vgg16"}, CheckpointError, "ssd300_vgg16"),
    ],
)
def test_contradictions_leave_no_file(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any], kind: type[EdgedetError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        export_model(checkpoint, tmp_path / "out.onnx", ExportOptions(**options))
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be(checkpoint: Path, graph: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="suffix decides what is made"):
        export_model(checkpoint, tmp_path / "out.tflite")
    with pytest.raises(OutputError, match="the source itself"):
        export_model(graph, graph, ExportOptions(precision="fp16"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export_model(checkpoint, tmp_path / "file" / "out.onnx")


def test_a_graph_of_ours_may_only_change_precision(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--conf can no longer be changed"):
        export_model(graph, tmp_path / "out.onnx", ExportOptions(conf=0.5))
    half = export_model(graph, tmp_path / "half.onnx", ExportOptions(precision="fp16")).path
    with pytest.raises(ArtifactError, match="already fp16"):
        export_model(half, tmp_path / "out.onnx", ExportOptions(precision="fp16"))


def foreign(path: Path, *, rows: int = 84, metadata: dict[str, str] | None = None, dtype: int = 1) -> Path:
    """A one-convolution network with Ultralytics' input and output: 64x64 to [1, rows, 64]."""
    weight = np.random.default_rng(0).normal(0, 0.1, (rows, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["map"], strides=[8, 8]),
        helper.make_node("Reshape", ["map", "shape"], ["rows"]),
        helper.make_node("Sigmoid", ["rows"], ["shares"]),
        helper.make_node("Mul", ["shares", "sizes"], ["output0"]),
    ]
    sizes = np.array([64] * 4 + [1] * (rows - 4), np.float32).reshape(1, rows, 1)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", dtype, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", dtype, [1, rows, 64])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([1, rows, 64]), "shape"),
            numpy_helper.from_array(sizes, "sizes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    if metadata:
        helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


ULTRALYTICS = {"names": str({i: f"n{i}" for i in range(10)}), "stride": "8", "task": "detect", "imgsz": "[64, 64]"}


def test_ultralytics_metadata_is_read(tmp_path: Path) -> None:
    source = foreign(tmp_path / "net.onnx", rows=14, metadata=ULTRALYTICS)
    report = export_model(source, tmp_path / "out.onnx", ExportOptions(conf=0.0))
    assert report.card.family == "yolo" and report.card.names[:2] == ("n0", "n1")
    assert report.card.resize.place == "center" and report.card.input.dtype == "uint8"
    frame = golden_frame(1, 64, 64)
    with Detector(report.path) as ours, Detector(source, conf=0.0) as theirs:
        expected, found = theirs.detect(frame), ours.detect(frame)
    parity = match_detections(expected, found)
    assert parity.reference_count > 5 and not len(parity.missing) and not len(parity.extra)


@pytest.mark.parametrize(
    ("changes", "options", "kind", "words"),
    [
        ({"metadata": None}, {}, UsageError, "add --family"),
        ({"metadata": ULTRALYTICS | {"task": "segment"}, "rows": 14}, {}, ArtifactError, "segment"),
        ({"metadata": ULTRALYTICS, "rows": 15}, {}, CheckpointError, "11 classes, but 10 names"),
        ({"metadata": ULTRALYTICS, "rows": 14}, {"batch": 2}, UsageError, "exported for batch 1"),
        ({"metadata": ULTRALYTICS, "rows": 14}, {"imgsz": (32, 32)}, ArtifactError, "exported for 64x64"),
        ({"metadata": ULTRALYTICS, "rows": 14}, {"arch": SSDLITE}, UsageError, "--arch is for checkpoints"),
        ({"metadata": ULTRALYTICS, "rows": 14}, {"proposals": 9}, UsageError, "no region proposals"),
        ({"rows": 14}, {"family": "yolox"}, ArtifactError, "not YOLOX's"),
        ({"rows": 14, "dtype": TensorProto.DOUBLE}, {"family": "yolo"}, ArtifactError, "double"),
    ],
)
def test_foreign_graphs_that_do_not_fit(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], kind: type[EdgedetError], words: str
) -> None:
    source = foreign(tmp_path / "net.onnx", **changes)
    with pytest.raises(kind, match=words):
        export_model(source, tmp_path / "out.onnx", ExportOptions(**options))
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 not a graph", b"\x08\x07"])
def test_files_that_are_no_graphs(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ArtifactError):
        export_model(tmp_path / "net.onnx", tmp_path / "out.onnx")


def test_ultralytics_checkpoints_need_trust(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="Ultralytics' package is not installed")
    from ultralytics import YOLO

    torch.manual_seed(0)
    YOLO("yolo11n.yaml").save(str(tmp_path / "net.pt"))
    with pytest.raises(UntrustedCheckpointError, match="ultralytics"):
        export_model(tmp_path / "net.pt", tmp_path / "out.onnx")
    report = export_model(tmp_path / "net.pt", tmp_path / "out.onnx", ExportOptions(trust="code", imgsz=(96, 128)))
    assert (report.card.input.height, report.card.input.width, len(report.card.names)) == (96, 128, 80)
    assert "AGPL" in report.card.provenance["licence"]


def test_trained_detectors_keep_their_accuracy(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cv2 = pytest.importorskip("cv2")
    names = (shared / "data/bccd/ImageSets/Main/test.txt").read_text().split()[:6]
    frames = [cv2.imread(str(shared / f"data/bccd/JPEGImages/{name}.jpg")) for name in names]
    for checkpoint in sorted((shared / "models").glob("*_bccd.pt")):
        graph = exported(tmp_path_factory, checkpoint).path
        with Detector(checkpoint) as reference, Detector(graph) as ours:
            for frame in frames:
                parity = match_detections(reference.detect(frame), ours.detect(frame))
                assert parity.reference_count > 0 and not len(parity.missing) and not len(parity.extra)


def test_what_is_quicker_on_a_cpu_is_undone_for_other_precisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many as the thin network has where the whole one has four times as many.
    monkeypatch.setattr(winograd, "MIN_CHANNELS", winograd.MIN_CHANNELS // SHARE)
    source = tmp_path / "detector.pt"
    torch.save(narrow(thin(build("fasterrcnn_mobilenet_v3_large_320_fpn", 3, rpn_post_nms_top_n_test=20))), source)
    kinds = {}
    for name, start, options in (
        ("cpu", source, ExportOptions(trust="code")),
        ("tensorrt", source, ExportOptions(target="tensorrt", trust="code")),
        ("half", tmp_path / "cpu.onnx", ExportOptions(precision="fp16")),
    ):
        export_model(start, tmp_path / f"{name}.onnx", options)
        graph = onnx.load(tmp_path / f"{name}.onnx").graph
        kinds[name] = (
            sum(node.op_type == "Conv" for node in graph.node),
            any("winograd" in n.name for n in graph.node),
        )
    (convolutions, by_products), others = kinds["cpu"], {kinds["tensorrt"], kinds["half"]}
    assert by_products
    assert others == {(convolutions + 5, False)}

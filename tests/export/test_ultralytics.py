"""What Ultralytics exports with nothing but defaults, and its checkpoints, against its own predict.

benchmarks/ultralytics_exports.py does the same with every one of its detectors, in every precision.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edgedet import Detector
from edgedet.calibration.attention import attention
from edgedet.calibration.decoder_boundary import decoding, feature_layers
from edgedet.errors import UsageError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.onnx_graph.preparing import prepare
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections

os.environ["YOLO_OFFLINE"], os.environ["YOLO_AUTOINSTALL"] = "true", "false"
ultralytics = pytest.importorskip("ultralytics", reason="needs the package Ultralytics")

SIDE = 96


@pytest.fixture(scope="module")
def table() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "ultralytics_exports.py"
    spec = importlib.util.spec_from_file_location("ultralytics_exports", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["yolov9t", "yolov3-tiny", "yolo26n free"])
def test_default_exports_are_theirs_box_for_box(table: Any, tmp_path: Path, name: str) -> None:
    """YOLOv9 cuts halves of halves, YOLOv3-tiny computes its padding, YOLO26 needs no NMS; all are opset 18."""
    path = table.exported(name, tmp_path, SIDE)
    report = export_model(path, tmp_path / "ours.onnx")
    assert "assumed" not in report.card.provenance
    expected = 0
    with Detector(path) as theirs, Detector(report.path) as ours:
        for seed in range(1, 6):
            frame = golden_frame(seed, 120, 90 + 10 * seed)
            reference = table.theirs(path, frame, ours.names, SIDE)
            for detector in (theirs, ours):
                found = match_detections(reference, detector.detect(frame), Tolerance(min_score=0.26))
                assert (len(found.missing), len(found.extra)) == (0, 0)
            expected += found.reference_count
    assert expected > 10


@pytest.mark.parametrize("name", ["yolov8n-seg", "yolo26n-seg .pt", "yolov8n-pose", "yolo26n-pose"])
def test_masks_and_keypoints_are_those_of_predict(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """benchmarks/yolo_parity.py does the same with photographs, and with larger pictures."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import family_row
    import yolo_frameworks

    frames = [golden_frame(seed, 120, 90 + 10 * seed) for seed in range(1, 5)]
    case = yolo_frameworks.CASES[name](name, tmp_path, tmp_path, SIDE, frames)
    report = export_model(case.path, tmp_path / "ours.onnx", case.options)
    with Detector(report.path) as ours:
        found = [ours.detect(frame) for frame in frames]
    reference = [family_row._whole(case.reference(frame)) for frame in frames]
    agreed = family_row.agreement(reference, found)
    assert agreed.reference_count > 10 and agreed.agrees(0.97)
    if "pose" in name:
        assert np.mean(family_row.keypoints_apart(reference, found) <= 0.5) > 0.995
    else:
        assert all(each.masks is not None and len(each.masks) == len(each) for each in found)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained at 64, as it says; its averaged weights differ from the others."""
    path = tmp_path_factory.mktemp("checkpoint") / "net.pt"
    torch.manual_seed(0)
    model = ultralytics.YOLO("yolo11n.yaml")
    model.save(str(path))
    content = torch.load(path, weights_only=False)
    content["train_args"] = {"imgsz": 64, "task": "detect"}
    averaged = content["model"]
    torch.manual_seed(1)
    plain = ultralytics.YOLO("yolo11n.yaml").model.half()
    averaged.names = plain.names = {index: f"thing {index}" for index in range(80)}
    torch.save(content | {"model": plain, "ema": averaged}, path)
    return path


def test_a_checkpoint_is_exported_at_the_size_it_was_trained_at(checkpoint: Path, tmp_path: Path) -> None:
    report = export_model(checkpoint, tmp_path / "out.onnx", ExportOptions(trust="code"))
    assert (report.card.input.height, report.card.input.width) == (64, 64)
    assert report.card.provenance["input_size"] == "64x64, as trained"
    assert report.card.names[:2] == ("thing 0", "thing 1")
    assert not report.card.provenance.get("assumed")
    # Of the averaged weights, as Ultralytics' own export.
    asked = ultralytics.YOLO(str(checkpoint)).export(format="onnx", imgsz=64, verbose=False)
    with Detector(asked, conf=1e-5) as theirs:
        expected = theirs.detect(golden_frame(1))
    low = export_model(checkpoint, tmp_path / "low.onnx", ExportOptions(trust="code", conf=1e-5)).path
    with Detector(low) as ours:
        found = ours.detect(golden_frame(1))
    np.testing.assert_allclose(np.sort(found.scores)[-9:], np.sort(expected.scores)[-9:], rtol=1e-4)


@pytest.mark.parametrize("name", ["yolov5n.pt", "yolov3-tiny.pt", "cam's.pt"])
def test_a_checkpoint_is_itself_under_any_name(checkpoint: Path, tmp_path: Path, name: str) -> None:
    """Ultralytics takes ``yolov5n.pt`` for ``yolov5nu.pt``, which it downloads, and leaves apostrophes out."""
    named = tmp_path / name
    named.write_bytes(checkpoint.read_bytes())
    report = export_model(named, tmp_path / "out.onnx", ExportOptions(trust="code"))
    assert report.card.names[:2] == ("thing 0", "thing 1")


def test_another_size_says_so(checkpoint: Path, tmp_path: Path) -> None:
    asked = ExportOptions(trust="code", imgsz=(96, 128))
    report = export_model(checkpoint, tmp_path / "out.onnx", asked)
    said = report.card.provenance["input_size"]
    assert said == "96x128, as asked; trained at 64x64, and another size may cost accuracy"
    assert f"input size {said}" in report.notes
    with pytest.raises(UsageError, match="multiples of 32; say --imgsz 128x128"):
        export_model(checkpoint, tmp_path / "odd.onnx", ExportOptions(trust="code", imgsz=(100, 100)))


def test_area_attention_is_no_decoding_and_box_bins_are(tmp_path: Path) -> None:
    """YOLO12 has eight blocks of attention, and a Softmax over the bins of box edges, however that is written."""
    torch.manual_seed(0)
    source = tmp_path / "yolo12n.pt"
    ultralytics.YOLO("yolo12n.yaml").save(str(source))
    path = export_model(source, tmp_path / "graph.onnx", ExportOptions(trust="code", imgsz=(64, 64))).path
    network = prepare(onnx.load(path))
    cores, boxes = attention(network), decoding(network)
    maps = {node.name for node in network.graph.node if node.op_type == "Softmax" and "/attn/" in node.name}
    bins = {node.name for node in network.graph.node if "/dfl/" in node.name}
    assert len(maps) == 8 and maps <= cores and not any("/attn/" in name for name in boxes)
    assert bins and bins <= boxes - cores
    projections = {layer.name for layer in feature_layers(network)}
    assert sum("/attn/qkv/" in name for name in projections) == 8
    assert not any("dfl" in name for name in projections)

"""Checkpoints through torchvision's own inference, and graphs that must equal it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import Detector
from edgedet.opening import open_artifact
from edgedet.proof.parity import match_detections, summarise

torch = pytest.importorskip("torch")

BCCD = ("ssdlite320_mobilenet_v3_large_bccd.pt", "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt")


def frames(shared: Path, count: int) -> list[Any]:
    names = (shared / "data/bccd/ImageSets/Main/test.txt").read_text().split()[:count]
    return [cv2.imread(str(shared / f"data/bccd/JPEGImages/{name}.jpg")) for name in names]


@pytest.mark.parametrize("name", BCCD)
def test_a_checkpoint_gives_what_torchvision_gives(shared: Path, name: str) -> None:
    from edgedet.export.checkpoints.checkpoint import load_checkpoint
    from edgedet.export.families.torchvision_architectures import build

    checkpoint = load_checkpoint(shared / "models" / name)
    model = build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict)
    (frame,) = frames(shared, 1)
    with torch.no_grad():
        image = torch.from_numpy(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).permute(2, 0, 1) / 255
        theirs = model([image])[0]
    with Detector(shared / "models" / name, threads=1) as detector:
        ours = detector.detect(frame)
        assert detector.names == ("RBC", "WBC", "Platelets")
    np.testing.assert_allclose(ours.boxes, theirs["boxes"], atol=1e-4)
    np.testing.assert_array_equal(ours.labels, theirs["labels"] - 1)


def test_a_checkpoint_takes_one_frame_of_any_sides(shared: Path) -> None:
    card, runtime = open_artifact(shared / "models" / BCCD[0], threads=1)
    (frame,) = runtime.inputs
    assert (frame.shape, frame.dtype) == ((1, -1, -1, 3), np.dtype(card.input.dtype))
    runtime.close()


@pytest.mark.parametrize("name", BCCD)
def test_a_graph_with_nms_on_the_host_finds_the_same_boxes(shared: Path, tmp_path: Path, name: str) -> None:
    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model

    source = shared / "models" / name
    export_model(source, tmp_path / "graph.onnx", ExportOptions(nms="runtime"))
    with Detector(source, threads=1) as reference, Detector(tmp_path / "graph.onnx", threads=1) as exported:
        report = summarise([match_detections(reference.detect(f), exported.detect(f)) for f in frames(shared, 2)])
    assert report.reference_count > 30
    assert report.agrees(1.0), report

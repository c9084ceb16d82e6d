"""A file that Ultralytics exported, against Ultralytics' own predict call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detections, Detector
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """YOLO11n from its YAML with seeded weights and scores that differ, as ONNX, and the predict call on it."""
    os.environ["YOLO_OFFLINE"], os.environ["YOLO_AUTOINSTALL"] = "true", "false"
    ultralytics = pytest.importorskip("ultralytics", reason="needs the package Ultralytics to compare with")
    import torch

    torch.manual_seed(1)
    model = ultralytics.YOLO("yolo11n.yaml")
    for branch in model.model.model[-1].cv3:
        layer = branch[-1]
        layer.weight.data.normal_(0, 60)
        layer.bias.data.fill_(-1)
    model.ckpt_path = model.model.pt_path = str(tmp_path_factory.mktemp("ultralytics") / "yolo11n.pt")
    path = Path(model.export(format="onnx", imgsz=192, opset=17, simplify=False, verbose=False))
    return path, ultralytics.YOLO(str(path), task="detect").predict


@pytest.mark.parametrize("size", [(240, 320), (320, 211), (192, 192)])
def test_its_boxes_are_ours(exported: Any, size: tuple[int, int]) -> None:
    path, predict = exported
    frame = golden_frame(3, *size)
    theirs = predict(frame, verbose=False, conf=0.25)[0].boxes
    with Detector(path, conf=0.25, threads=1) as detector:
        ours = detector.detect(frame)
        reference = Detections(
            theirs.xyxy.numpy(), theirs.conf.numpy().clip(0, 1), theirs.cls.numpy(), detector.names, size
        )
    # Boxes that lie wholly in the border: they report them without extent, we do not.
    sides = reference.boxes[:, 2:] - reference.boxes[:, :2]
    reference = reference[(sides > 0).all(axis=1)]
    report = match_detections(reference, ours, Tolerance(min_score=0, min_iou=0.999, max_score_difference=1e-5))
    assert report.reference_count > 10
    assert np.unique(reference.labels).size > 1
    assert (len(report.missing), len(report.extra)) == (0, 0)

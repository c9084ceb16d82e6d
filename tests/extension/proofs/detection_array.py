"""A further array per detection goes from a graph's output to JSON and COCO by name: no product file knows it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from edgedet import Detector
from tests.extension.proofs.commands import said
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


def track_ids_come_from_a_real_graph() -> None:
    save_rectangle_graph(Path("tracked.onnx"))
    frame = frame_with_rectangle(64, 64, (10, 10, 30, 30))
    with Detector("tracked.onnx") as detector:
        found = detector.detect(frame)
    assert found.data["track_id"].tolist() == [42]
    assert json.loads(found.to_json())["detections"][0]["track_id"] == 42
    assert found.to_coco(3)[0]["track_id"] == 42
    cv2.imwrite("frame.png", frame)
    assert json.loads(said("detect", "tracked.onnx", "frame.png"))["detections"][0]["track_id"] == 42


if __name__ == "__main__":
    track_ids_come_from_a_real_graph()

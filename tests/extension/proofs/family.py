"""A family is a module and a line of a table: commands, messages and the exporter follow."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edgedet.proof.parity import pairwise_iou
from tests.extension.proofs.commands import said
from tests.rectangle_detector import frame_with_rectangle, save_split_graph

BOX = (10, 12, 40, 50)


def the_command_exports_what_finds_the_boxes() -> None:
    save_split_graph(Path("split.onnx"))
    said("export", "split.onnx", "--family", "split", "--classes", "blue,green,red", "-o", "ours.onnx")
    cv2.imwrite("frame.png", frame_with_rectangle(64, 64, BOX))
    (found,) = json.loads(said("detect", "ours.onnx", "frame.png"))["detections"]
    assert found["name"] == "green"
    assert pairwise_iou(np.array([found["box"]], np.float32), np.array([BOX], np.float32)).item() > 0.9


def help_lists_it() -> None:
    shown = "".join(said("export", "--help").split())
    assert "{yolo,yolov5," in shown and ",split," in shown and "apart(split)" in shown


if __name__ == "__main__":
    the_command_exports_what_finds_the_boxes()
    help_lists_it()

"""The short programs, each started as its first line says."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet import Detections, Detector
from edgedet.selftest import SELFTEST_GRAPH
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

ROOT = Path(__file__).parents[2]
FRAMES = 5
PICTURES = 4


def run(name: str, *words: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def write_labels(path: Path, found: Detections) -> None:
    """YOLO's rows of boxes on a picture of 64 x 64."""
    rows = []
    for box, _, label, _ in found:
        x1, y1, x2, y2 = box / 64
        rows.append(f"{label} {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}\n")
    assert rows
    path.write_text("".join(rows))


def test_camera_prints_the_boxes_of_a_clip(tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(FRAMES):
        writer.write(frame_with_rectangle(64, 64, (16, 16, 48, 40)))
    writer.release()
    done = run("camera.py", tmp_path / "model.onnx", tmp_path / "clip.avi")
    assert (done.returncode, done.stderr) == (0, "")
    found = [re.fullmatch(r"(\d+) green 0\.88 (\[.*\])", line) for line in done.stdout.splitlines()]
    assert [match and int(match[1]) for match in found] == list(range(FRAMES))
    boxes = np.array([json.loads(match[2]) for match in found if match])
    # JPEG blurs its edges.
    assert np.abs(boxes - [16, 16, 48, 40]).max() <= 2


def test_camera_is_ten_statements_at_most() -> None:
    tree = ast.parse((ROOT / "examples" / "camera.py").read_text("utf-8"))
    assert sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) <= 10


def test_export_from_python_prints_the_map_of_the_int8_graph(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs edgedet[export]")
    shutil.copy(SELFTEST_GRAPH, tmp_path / "model.onnx")
    for folder in ("photos", "images", "labels"):
        (tmp_path / folder).mkdir()
    with Detector(SELFTEST_GRAPH, conf=0.25) as detector:
        for number in range(PICTURES):
            picture = frame_with_rectangle(64, 64, (16 + number, 16, 48 + number, 48))
            for folder in ("photos", "images"):
                cv2.imwrite(str(tmp_path / folder / f"{number}.png"), picture)
            # The truth is what it finds before it is INT8.
            write_labels(tmp_path / "labels" / f"{number}.txt", detector.detect(picture))
    (tmp_path / "data.yaml").write_text("path: .\nval: images\nnames: [dark, bright, edge]\n")
    done = run("export_from_python.py", tmp_path / "model.onnx", tmp_path / "photos", tmp_path / "data.yaml")
    assert done.returncode == 0, done.stderr
    last = re.fullmatch(r".*model-int8\.onnx: mAP (\d\.\d{3}), AP50 (\d\.\d{3})", done.stdout.splitlines()[-1])
    assert last is not None and float(last[1]) > 0.5 and float(last[2]) > 0.9, done.stdout
    assert (tmp_path / "model-int8.onnx").is_file()


def test_gpu_frames_says_in_one_sentence_what_is_missing(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    done = run("gpu_frames.py", tmp_path / "model.trt")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpu_frames.py needs an NVIDIA GPU")

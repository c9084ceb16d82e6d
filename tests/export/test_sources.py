"""PyTorch is imported for what needs it, and for nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2

from edgedet.errors import MissingDependencyError
from edgedet.proof.golden_scene import golden_frame
from tests.export import darknet_reference
from tests.export.darknet.test_source import TEXT
from tests.export.one_stage import save_one_stage

WITHOUT = """
import json, sys

sys.modules.update(dict.fromkeys(("torch", "torchvision", "transformers")))
from edgedet.cli import main

print([main(["export", *words]) for words in json.loads(sys.argv[1])])
"""
"""Exports one after another, in a process in which whatever imports PyTorch fails."""


def test_what_is_no_checkpoint_is_exported_without_pytorch(tmp_path: Path) -> None:
    """It takes seconds to import: most of what such an export takes."""
    save_one_stage(tmp_path / "net.onnx", "yolox")
    (tmp_path / "net.cfg").write_text(TEXT)
    darknet_reference.write(tmp_path / "net.weights", TEXT)
    (tmp_path / "seen").mkdir()
    for seed in range(4):
        cv2.imwrite(str(tmp_path / f"seen/{seed}.png"), golden_frame(seed, 64, 64))
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04")
    foreign = ["net.onnx", "--family", "yolox", "--classes", "a,b,c"]
    words = [
        [*foreign, "-o", "graph.onnx"],
        ["graph.onnx", "--fp16", "-o", "half.onnx"],
        ["graph.onnx", "--int8", "--calib", "seen", "--effort", "quick", "--max-drop", "1", "-o", "int8.onnx"],
        ["net.cfg", "-o", "darknet.onnx"],
        ["net.pt", "-o", "no.onnx"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == str([0, 0, 0, 0, MissingDependencyError.exit_code]), done.stderr
    assert "exporting needs the package torch, which is not installed" in done.stderr
    written = {path.name for path in tmp_path.glob("*.onnx")}
    assert written == {"net.onnx", "graph.onnx", "half.onnx", "int8.onnx", "darknet.onnx"}

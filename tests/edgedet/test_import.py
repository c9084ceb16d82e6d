"""Importing edgedet is instant and brings nothing heavy along."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgedet

NEEDED_SELDOM = (
    "importlib.metadata",
    "edgedet.machine.hardware",
    "edgedet.machine.jetpack",
    "edgedet.artifacts.signature",
    "edgedet.artifacts.signed_artifact",
    "edgedet.artifacts.foreign_outputs",
    "edgedet.masks.base",
)
"""Modules that took a sixth of the time of the first import of a detector."""


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import edgedet", ("torch", "onnx", "onnxruntime", "cv2", "numpy")),
        ("from edgedet import Detector, Detections", ("torch", "onnx", "onnxruntime")),
        ("from edgedet import Detector", NEEDED_SELDOM),
        ("import edgedet.runtimes, edgedet.cli", ("torch", "onnx", "onnxruntime")),
    ],
)
def test_heavy_packages_are_not_loaded(statement: str, absent: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print(*(name for name in {absent!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_everything_promised_is_there() -> None:
    for name in edgedet.__all__:
        assert getattr(edgedet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgedet.nothing

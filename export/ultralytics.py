"""Ultralytics checkpoints: their own package writes the ONNX file, then it is a foreign graph like any other.

The package is AGPL-3.0 and imported only here, for a user who installed it and asked for their own checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from edgedet.errors import CheckpointError, ExportError, MissingDependencyError
from edgedet.export.foreign import ForeignGraph, open_foreign
from edgedet.export.graph import OPSET

DEFAULT_SIZE = (640, 640)


def to_foreign(path: Path, *, imgsz: tuple[int, int] | None, batch: int) -> ForeignGraph:
    """Let Ultralytics export the checkpoint at ``path`` to a static float32 ONNX graph and open it.

    Raises:
        MissingDependencyError: the package is not installed.
        CheckpointError: it cannot load the file, or the model is not a detector.
        ExportError: its export failed.
    """
    # Neither installs packages behind the user's back nor calls home.
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    try:
        from ultralytics import YOLO  # type: ignore[attr-defined,unused-ignore]
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is an Ultralytics checkpoint, and reading it needs their package: pip install ultralytics "
            "(AGPL-3.0), or export it to ONNX elsewhere and give edgedet that file"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        # The exporter writes beside its source: give it a copy.
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        # Its progress goes to stdout, which belongs to our own output.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                model = YOLO(str(copy))
            except Exception as error:
                raise CheckpointError(f"Ultralytics cannot load {path} ({error})") from error
            if model.task != "detect":
                raise CheckpointError(f"{path} is an Ultralytics model for {model.task}; edgedet exports detectors")
            height, width = imgsz or DEFAULT_SIZE
            try:
                exported = model.export(
                    format="onnx", imgsz=[height, width], batch=batch, opset=OPSET, simplify=False, verbose=False
                )
            except Exception as error:
                raise ExportError(f"Ultralytics could not export {path} to ONNX ({error})") from error
        return open_foreign(exported)

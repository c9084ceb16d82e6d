"""Ultralytics checkpoints: their own package writes the ONNX file, then it is a foreign graph like any other.

The package is AGPL-3.0 and imported only here, for a user who installed it and asked for their own checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet.artifacts.foreign_cards import TASKS
from edgedet.errors import CheckpointError, ExportError, MissingDependencyError, UsageError
from edgedet.onnx_graph.builder import OPSET

from .foreign import ForeignGraph, open_foreign

DEFAULT_SIZE = (640, 640)
"""Input size of Ultralytics' training, where a checkpoint does not say."""


def to_foreign(path: Path, *, imgsz: tuple[int, int] | None, batch: int) -> tuple[ForeignGraph, str]:
    """Let Ultralytics export the checkpoint at ``path`` to a static float32 ONNX graph and open it.

    ``imgsz``: None for the size it was trained at: another one costs accuracy (7 points of mAP from 416 to 640).
    Also returns where the size comes from, in words.

    Raises:
        MissingDependencyError: the package is not installed.
        CheckpointError: it cannot load the file, or the model is not a detector.
        UsageError: a size the network cannot have.
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
        # The exporter writes beside its source: give it a copy. Of some names it makes others: yolov5n.pt is
        # yolov5nu.pt to it, which it would download, and an apostrophe is left out. A name
        # with -world chooses the class that knows such a network's class names.
        copy = Path(folder) / f"checkpoint{'-world' if '-world' in path.stem else ''}{path.suffix}"
        shutil.copyfile(path, copy)
        # Its progress goes to stdout, which belongs to our own output.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                model = YOLO(str(copy))
            except Exception as error:
                raise CheckpointError(f"Ultralytics cannot load {path} ({error})") from error
            if model.task not in TASKS:
                raise CheckpointError(
                    f"{path} is an Ultralytics model for {model.task}; edgedet exports models for "
                    f"{', '.join(TASKS)}"
                )
            trained = _trained_size(model.overrides)
            height, width = imgsz or trained or DEFAULT_SIZE
            try:
                exported = model.export(
                    format="onnx", imgsz=[height, width], batch=batch, opset=OPSET, simplify=False, verbose=False
                )
            except Exception as error:
                raise ExportError(f"Ultralytics could not export {path} to ONNX ({error})") from error
        foreign = replace(open_foreign(exported), path=path)
    made = (foreign.height, foreign.width)
    if imgsz is not None and made != imgsz:
        raise UsageError(
            f"--imgsz is {imgsz[0]}x{imgsz[1]}, but the sides of this network's input are multiples of "
            f"{foreign.metadata.get('stride', 32)}; say --imgsz {made[0]}x{made[1]}"
        )
    return foreign, _whence(made, imgsz, trained)


def _trained_size(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of training, as Ultralytics keeps it with the weights."""
    size = settings.get("imgsz")
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return None


def _whence(made: tuple[int, int], asked: tuple[int, int] | None, trained: tuple[int, int] | None) -> str:
    size = f"{made[0]}x{made[1]}"
    if trained is None:
        return f"{size}, {'as asked' if asked else 'the usual one'}: the checkpoint does not say its own"
    if made == trained:
        return f"{size}, as trained"
    reason = "as asked" if asked else "the next multiple of the stride"
    return f"{size}, {reason}; trained at {trained[0]}x{trained[1]}, and another size may cost accuracy"

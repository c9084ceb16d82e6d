"""A network in its own framework, for :mod:`yolo_parity`: the file made of it, and what is found with it there.

With it the steps that several frameworks share, from the checkout by the letterbox to detections.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measured_rows import at_commit

from edgedet import Detections
from edgedet.export.options import ExportOptions

CONF = 0.05


class NotHereError(Exception):
    """The framework, or a package it needs, is not installed."""


@dataclass
class Case:
    """``path``: what the framework wrote. ``reference``: what it finds in a BGR frame, in the frame's pixels."""

    path: Path
    version: str
    reference: Callable[[np.ndarray], Detections]
    options: ExportOptions = field(default_factory=lambda: ExportOptions(conf=CONF))


Maker = Callable[[str, Path, Path, int, Sequence[np.ndarray]], Case]


@contextlib.contextmanager
def checkout(frameworks: Path, name: str) -> Iterator[str]:
    """Import from a checkout; gives its version in words."""
    folder = frameworks / name
    if not folder.is_dir():
        raise NotHereError(f"no checkout {name}")
    sys.path.insert(0, str(folder))
    warnings.simplefilter("ignore")
    try:
        # Their progress goes to stdout, which belongs to the table.
        with contextlib.redirect_stdout(sys.stderr):
            clone = name.split("/", maxsplit=1)[0]
            yield at_commit(frameworks / clone, clone)
    except ImportError as error:
        raise NotHereError(f"{name} needs {error.name or error}") from error


def write_onnx(network: Any, imgsz: int, path: Path, **arguments: Any) -> Path:
    """PyTorch's own exporter, as all of them use it."""
    import torch

    settings = {"input_names": ["images"], "output_names": ["output"], "opset_version": 12} | arguments
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, imgsz, imgsz),), str(path), dynamo=False, **settings)
    return path


def letterboxed(frame: np.ndarray, imgsz: int) -> tuple[np.ndarray, float, float, float]:
    """YOLOv5's letterbox, and its heirs': BGR uint8 [S, S, 3], scale, and what lies left and above.

    Boxes are taken back by whole pixels of border and the ratio of the rounded sides, as Ultralytics' package does
    today; the older repositories leave both unrounded there, and so are off by up to half a pixel of the canvas.
    """
    height, width = frame.shape[:2]
    scale = min(imgsz / height, imgsz / width)
    inner = round(width * scale), round(height * scale)
    left, top = (imgsz - inner[0]) / 2, (imgsz - inner[1]) / 2
    if (width, height) != inner:
        frame = cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    sides = round(top - 0.1), round(top + 0.1), round(left - 0.1), round(left + 0.1)
    bordered = cv2.copyMakeBorder(frame, *sides, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return bordered, scale, sides[2], sides[0]


def stretched(frame: np.ndarray, imgsz: int) -> np.ndarray:
    """BGR uint8 [S, S, 3]."""
    return cv2.resize(frame, (imgsz, imgsz), interpolation=cv2.INTER_LINEAR)


def tensor_of(canvas: np.ndarray, scale: float = 1 / 255, rgb: bool = True) -> Any:
    """float32 [1, 3, S, S]."""
    import torch

    planes = canvas[:, :, ::-1] if rgb else canvas
    return torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1))[None]).float() * scale


def detections(boxes: Any, scores: Any, labels: Any, frame: np.ndarray) -> Detections:
    """From arrays or tensors, clipped to the frame."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4).clip(0, np.tile(frame.shape[1::-1], 2))
    names = tuple(f"class_{index}" for index in range(80))
    return Detections(
        boxes,
        np.asarray(scores, np.float32).reshape(-1).clip(0, 1),
        np.asarray(labels).astype(np.int32).reshape(-1),
        names, frame.shape[:2],
    )  # fmt: skip


def one_image(
    model: Any, frame: np.ndarray, imgsz: int, suppress: Callable[[Any], Any], rgb: bool = True
) -> Detections:
    """The network on a letterboxed frame, its framework's NMS, and the way back."""
    import torch

    canvas, scale, left, top = letterboxed(frame, imgsz)
    with torch.no_grad():
        raw = model(tensor_of(canvas, rgb=rgb))
    raw = raw[0] if isinstance(raw, list | tuple) else raw
    found = suppress(raw.clone()).numpy()
    back = [round(side * scale) / side for side in frame.shape[1::-1]]
    boxes = (found[:, :4] - np.array([left, top] * 2)) / np.array(back * 2)
    return detections(boxes, found[:, 4], found[:, 5], frame)

"""What takes turns on one photograph: whole detections, the network alone, and the framework's own inference."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHARED = Path(os.environ.get("EDGEDET_SHARED", Path(__file__).resolve().parents[2] / "shared"))
FRAME_SIZE = (1920, 1080)
BLOCK = 6
UNCOUNTED = 2
"""Runs in a row before it is the next one's turn; the first ones, with caches still full of the other's data, are
left out."""


def medians(contestants: dict[str, Callable[[], object]], rounds: int, rest: float = 0.0) -> dict[str, float]:
    """Milliseconds of each, taken in turns so that the machine's moods fall on all alike."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        names = list(contestants) if turn % 2 else list(contestants)[::-1]
        for name in names:
            time.sleep(rest)
            for run in range(BLOCK):
                begin = time.perf_counter()
                contestants[name]()
                if run >= UNCOUNTED and turn:
                    times[name].append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def photograph() -> np.ndarray[Any, Any]:
    """A real photograph enlarged to 1920x1080, a synthetic scene where there is none."""
    import cv2

    from edgedet.pictures.image_file import read_image
    from edgedet.proof.golden_scene import golden_frame

    for path in sorted((SHARED / "data/coco128/val2017").glob("*.jpg")):
        image = read_image(path)
        if image.shape[1] > image.shape[0]:
            return cv2.resize(image, FRAME_SIZE, interpolation=cv2.INTER_CUBIC)
    return golden_frame(1, FRAME_SIZE[1], FRAME_SIZE[0])


def bare(model: Any, threads: int) -> Callable[[], object]:
    """``session.run`` of a graph on random input of its size, and nothing else."""
    from edgedet.onnxruntime_import import onnxruntime, session_options

    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, session_options(threads), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    feed = {
        tensor.name: (generator.random(tensor.shape) * (255 if "uint8" in tensor.type else 1)).astype(
            np.uint8 if "uint8" in tensor.type else np.float32
        )
        for tensor in session.get_inputs()
    }
    return lambda: session.run(None, feed)


def as_image(frame: np.ndarray[Any, Any]) -> Any:
    """The frame as torchvision takes it: RGB float [3, H, W] in 0..1."""
    import torch

    return torch.from_numpy(frame[:, :, ::-1].copy()).permute(2, 0, 1).float() / 255


def eager(model: Any, frame: np.ndarray[Any, Any]) -> Callable[[], object]:
    """torchvision's own inference, from the same frame."""
    import torch

    def run() -> object:
        with torch.inference_mode():
            return model([as_image(frame)])

    return run


def stages(detector: Any, frame: Any) -> str:
    """Median milliseconds of the detector's stages."""
    rows = []
    for _ in range(20):
        detector.detect(frame)
        rows.append((detector.last_timing.pre, detector.last_timing.run, detector.last_timing.post))
    pre, run, post = np.median(rows, axis=0)
    return f"pre {pre:.2f} + run {run:.2f} + post {post:.2f} ms"

"""The kernels on this GPU against the CPU's own code, on random input: for the self-test and the GPU tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.errors import SelftestError
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP, Postprocessor, Thresholds
from edgedet.preprocess import Preprocessor

from .device import Cuda
from .kernels import FrameKernel, Launcher, NmsKernels

Array = NDArray[Any]


MAX_CANDIDATES = 30_000
"""Maximum number of candidates of a case: fewer than the kernels have room for."""


RESIZE_SIZES = (
    (479, 641), (33, 47), (1, 1), (1, 500), (700, 3), (320, 416), (640, 832), (1080, 1920), (2160, 3840),
    (4321, 7681),
)  # fmt: skip
"""Heights and widths of frames: odd, tiny, as the network's, halved exactly, huge."""
RESIZE_RULES = (ResizeRule("letterbox", place="center"), ResizeRule("stretch"))
RESIZE_SPECS = {
    "u8": InputSpec(320, 416),
    "f32": InputSpec(320, 416, dtype="float32"),
    "yolo": InputSpec(320, 416, dtype="float32", layout="NCHW", colour="RGB", normalise="host", scale=1 / 255),
}
"""Inputs of networks, by what they are called in reports."""


def check_some_nms(
    cuda: Cuda, launcher: Launcher, stream: int, random: np.random.Generator, *, rows: int, classes: int = 91
) -> int:
    """One random case of fewer rows than these at random thresholds: ties, NaN, infinity, boxes without extent.

    Returns how many boxes were kept. ``classes``: at most so many.

    Raises:
        SelftestError: the GPU keeps other boxes, scores or labels than the CPU.
    """
    output = OutputSpec(
        "candidates",
        # Above every score: no boxes at all.
        score_threshold=float(random.choice([0.0, 0.05, 0.5, 1.0])),
        iou_threshold=float(random.choice([0.0, 0.3, 0.5, 0.7, 1.0])),
        max_detections=int(random.choice([1, 10, 100, 300])),
    )
    size = {"rows": int(random.integers(1, rows)), "classes": int(random.integers(1, classes + 1))}
    return check_nms(cuda, launcher, stream, output, random, **size)


def random_case(random: np.random.Generator, rows: int, classes: int) -> tuple[Array, Array]:
    """Boxes float32 [rows, 4] and scores float32 [rows, classes], most of them zero, of every awkward kind.

    Half of the cases lie on a coarse grid, where boxes and scores are often equal, have no extent, and IoUs hit the
    threshold exactly. Some boxes and scores are NaN, infinite, or so large that areas overflow.
    """
    grid = random.random() < 0.5
    corner = random.integers(0, 20, (rows, 2)) * 8 if grid else random.uniform(0, 300, (rows, 2))
    sides = random.integers(0, 5, (rows, 2)) * 8 if grid else random.lognormal(3, 1, (rows, 2))
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    spoiled = random.random(rows) < 0.02
    boxes[spoiled, random.integers(0, 4)] = random.choice([np.nan, np.inf, -np.inf, 1e38])
    steps = 40 if grid else 10**6
    scores = (random.integers(0, steps, (rows, classes)) / steps).astype(np.float32)
    spoiled = random.random(scores.shape) < 0.01
    scores[spoiled] = random.choice([np.nan, np.inf])
    scores[random.random(scores.shape) >= min(max(0.1, 1 / classes), MAX_CANDIDATES / scores.size)] = 0
    return boxes, scores


def check_nms(
    cuda: Cuda,
    launcher: Launcher,
    stream: int,
    output: OutputSpec,
    random: np.random.Generator,
    *,
    rows: int = 800,
    classes: int = 20,
) -> int:
    """One random case; returns how many boxes were kept. ``output``: ``candidates`` or ``yolo_xywh``.

    Raises:
        SelftestError: the GPU keeps other boxes, scores or labels than the CPU.
    """
    boxes, scores = random_case(random, rows, classes)
    wanted = output.max_detections
    foreign = output.format == "yolo_xywh"
    card = ModelCard(
        family="yolo" if foreign else "ssd",
        architecture="",
        names=tuple(map(str, range(classes))),
        input=InputSpec(64, 64),
        resize=ResizeRule("stretch"),
        output=output,
    )
    thresholds = Thresholds(output.score_threshold, output.iou_threshold, wanted)
    host = Postprocessor(card, thresholds, ("boxes", "scores"))
    parts = (boxes, scores)
    with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity
        if foreign:
            sides = boxes[:, 2:] - boxes[:, :2]
            parts = (np.concatenate([boxes[:, :2] + sides / 2, sides], axis=1).T, scores.T)
        expected = host.decode([np.concatenate(parts)] if foreign else list(parts))
    kernels = NmsKernels(
        launcher,
        output,
        classes=classes,
        rows=rows,
        columns=classes,
        class_step=float(ULTRALYTICS_CLASS_STEP) if foreign else 0.0,
    )
    result = kernels.result(wanted)
    kernels(
        upload(cuda, launcher, parts[0], stream),
        upload(cuda, launcher, parts[1], stream),
        result,
        launcher.allocate(4 * wanted),
        score=output.score_threshold,
        iou=output.iou_threshold,
        wanted=wanted,
    )
    found, values = np.zeros((wanted, 4), np.float32), np.zeros(wanted, np.float32)
    labels, counters = np.zeros(wanted, np.int32), np.zeros(2, np.int32)
    for array, address in (
        (found, result.boxes), (values, result.scores), (labels, result.labels), (counters, result.counters),
    ):  # fmt: skip
        cuda.download(array, address, stream)
    cuda.synchronise(stream)
    count = int(counters[1])
    pairs = ((found, expected.boxes), (values, expected.scores), (labels, expected.labels))
    if not all(np.array_equal(ours[:count], theirs) for ours, theirs in pairs):
        raise SelftestError(
            f"the GPU's NMS keeps {count} boxes, the CPU's {len(expected.boxes)}, or others, of {rows:,} boxes and "
            f"{classes} classes; please report this"
        )
    return count


def check_resize(
    cuda: Cuda,
    launcher: Launcher,
    stream: int,
    spec: InputSpec,
    rule: ResizeRule,
    *,
    random: np.random.Generator,
    size: tuple[int, int] = (479, 641),
) -> None:
    """One random frame; ``size``: its height and width.

    Raises:
        SelftestError: more than one value in a thousand is further than one grey level from OpenCV's.
    """
    frame = random.integers(0, 256, (*size, 3), np.uint8)
    reference = Preprocessor(spec, rule)
    geometry = reference.prepare(frame)
    expected = reference.tensor[0]
    target = launcher.allocate(expected.nbytes)
    FrameKernel(launcher, spec, rule)(upload(cuda, launcher, frame, stream), frame.strides[0], geometry, target)
    found = np.zeros_like(expected)
    cuda.download(found, target, stream)
    cuda.synchronise(stream)
    level = spec.scale / min(spec.std) if spec.normalise == "host" else 1.0
    wrong = float(np.mean(np.abs(found.astype(np.float32) - expected) > 1.001 * level))
    if wrong > 0.001:
        raise SelftestError(
            f"the GPU resizes {wrong:.2%} of the values of a {size[1]}x{size[0]} frame to another grey level than "
            "OpenCV; please report this"
        )


def upload(cuda: Cuda, launcher: Launcher, array: Array, stream: int) -> int:
    """A copy in GPU memory, which lives as long as the launcher: its address."""
    array = np.ascontiguousarray(array)
    address = launcher.allocate(array.nbytes)
    cuda.upload(address, array, stream)
    cuda.synchronise(stream)
    return address

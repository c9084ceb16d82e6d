"""The kernels on this GPU against the CPU's own code, on random input: for the self-test and the GPU tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.errors import SelftestError
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP, Postprocessor, Thresholds
from edgedet.preprocess import Preprocessor
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.kernels import FrameKernel, Launcher, NmsKernels

Array = NDArray[Any]


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
        SelftestError: the GPU keeps other boxes than the CPU.
    """
    corner = random.integers(0, 60, (rows, 2)) * 4
    boxes = np.concatenate([corner, corner + random.integers(1, 20, (rows, 2)) * 4], axis=1).astype(np.float32)
    scores = (random.integers(0, 40, (rows, classes)) / 40).astype(np.float32)
    scores[random.random(scores.shape) < 0.9] = 0
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
    parts = (boxes, scores)
    if foreign:
        sides = boxes[:, 2:] - boxes[:, :2]
        parts = (np.concatenate([boxes[:, :2] + sides / 2, sides], axis=1).T, scores.T)
    thresholds = Thresholds(output.score_threshold, output.iou_threshold, wanted)
    host = Postprocessor(card, thresholds, ("boxes", "scores"))
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
        _upload(cuda, launcher, parts[0], stream),
        _upload(cuda, launcher, parts[1], stream),
        result,
        launcher.allocate(4 * wanted),
        score=output.score_threshold,
        iou=output.iou_threshold,
        wanted=wanted,
    )
    found, values, counters = np.zeros((wanted, 4), np.float32), np.zeros(wanted, np.float32), np.zeros(2, np.int32)
    for array, address in ((found, result.boxes), (values, result.scores), (counters, result.counters)):
        cuda.download(array, address, stream)
    cuda.synchronise(stream)
    count = int(counters[1])
    if not (np.array_equal(found[:count], expected.boxes) and np.array_equal(values[:count], expected.scores)):
        raise SelftestError(
            f"the GPU's NMS keeps {count} boxes, the CPU's {len(expected.boxes)}, or others; please report this"
        )
    return count


def check_resize(
    cuda: Cuda, launcher: Launcher, stream: int, spec: InputSpec, rule: ResizeRule, *, random: np.random.Generator
) -> None:
    """One random frame.

    Raises:
        SelftestError: more than one value in a thousand is further than one grey level from OpenCV's.
    """
    frame = random.integers(0, 256, (479, 641, 3), np.uint8)
    reference = Preprocessor(spec, rule)
    geometry = reference.prepare(frame)
    expected = reference.tensor[0]
    target = launcher.allocate(expected.nbytes)
    FrameKernel(launcher, spec, rule)(_upload(cuda, launcher, frame, stream), frame.strides[0], geometry, target)
    found = np.zeros_like(expected)
    cuda.download(found, target, stream)
    cuda.synchronise(stream)
    wrong = float(np.mean(np.abs(found.astype(np.float32) - expected) > 1.001))
    if wrong > 0.001:
        raise SelftestError(
            f"the GPU resizes {wrong:.2%} of the values to another grey level than OpenCV; please report this"
        )


def _upload(cuda: Cuda, launcher: Launcher, array: Array, stream: int) -> int:
    array = np.ascontiguousarray(array)
    address = launcher.allocate(array.nbytes)
    cuda.upload(address, array, stream)
    cuda.synchronise(stream)
    return address

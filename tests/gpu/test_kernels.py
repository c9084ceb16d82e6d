"""The kernels on a real GPU: bit for bit the CPU's NMS, a grey level from OpenCV's resize."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.card import InputSpec, OutputSpec, ResizeRule
from edgedet.runtimes.cuda.check import check_nms, check_resize
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.launcher import GpuLauncher


@pytest.mark.parametrize(
    ("rows", "classes", "cases"), [(1, 1, 20), (300, 80, 200), (8400, 80, 20), (25_000, 3, 10)]
)
def test_nms_is_the_hosts(  # noqa: PLR0917
    cuda: Cuda, launcher: GpuLauncher, stream: int, rows: int, classes: int, cases: int
) -> None:
    random = np.random.default_rng(rows)
    for case in range(cases):
        output = OutputSpec(
            "candidates",
            score_threshold=0.9 if rows * classes > 100_000 else 0.05,
            iou_threshold=[0.3, 0.5, 0.7][case % 3],
            max_detections=[100, 300][case % 2],
        )
        check_nms(cuda, launcher, stream, output, random, rows=rows, classes=classes)


@pytest.mark.parametrize(("rows", "classes"), [(21, 1), (2100, 5), (8400, 80)])
def test_ultralytics_raw_output_is_finished_as_on_the_host(
    cuda: Cuda, launcher: GpuLauncher, stream: int, rows: int, classes: int
) -> None:
    random = np.random.default_rng(rows)
    for case in range(50):
        output = OutputSpec("yolo_xywh", 0.25, [0.45, 0.5, 0.7][case % 3], max_detections=300, label_mode="best")
        check_nms(cuda, launcher, stream, output, random, rows=rows, classes=classes)


@pytest.mark.parametrize("rule", ["letterbox", "stretch"])
@pytest.mark.parametrize("spec", [{}, {"dtype": "float32"}])
def test_frames_are_resized_as_opencv_does(
    cuda: Cuda, launcher: GpuLauncher, stream: int, spec: dict[str, Any], rule: Any
) -> None:
    for seed in range(5):
        random = np.random.default_rng(seed)
        check_resize(cuda, launcher, stream, InputSpec(320, 416, **spec), ResizeRule(rule), random=random)


def test_pinned_memory_is_seen_from_both_sides(cuda: Cuda, stream: int) -> None:
    array = cuda.pinned((3, 5), np.float32)
    device = cuda.allocate(array.nbytes)
    array[...] = np.arange(15).reshape(3, 5)
    cuda.upload(device, array, stream)
    cuda.synchronise(stream)
    array.fill(0)
    cuda.download(array, device, stream)
    cuda.synchronise(stream)
    assert array.sum() == 105
    assert cuda.mapped_address(array)
    cuda.free(device)
    cuda.unpin(array)

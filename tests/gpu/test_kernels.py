"""The kernels on a real GPU: bit for bit the CPU's NMS, a grey level from OpenCV's resize."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.artifacts.card import OutputSpec, ResizeRule
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.kernel_check import (
    RESIZE_RULES,
    RESIZE_SIZES,
    RESIZE_SPECS,
    check_nms,
    check_resize,
    check_some_nms,
)
from edgedet.runtimes.cuda.launcher import GpuLauncher


@pytest.mark.parametrize("seed", range(20))
def test_nms_is_the_hosts_on_a_thousand_random_cases(
    cuda: Cuda, launcher: GpuLauncher, stream: int, seed: int
) -> None:
    """Fifty by each seed, whose launcher gives their memory back: ties, NaN, infinity, boxes without extent."""
    random = np.random.default_rng(seed)
    # The host takes its time over the large ones.
    sizes = [25_000 if seed % 5 == 0 else 6000, *[300] * 49]
    kept = sum(check_some_nms(cuda, launcher, stream, random, rows=rows) for rows in sizes)
    assert kept > 500


@pytest.mark.parametrize("seed", range(5))
def test_nms_of_a_whole_detector_is_the_hosts(cuda: Cuda, launcher: GpuLauncher, stream: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    for iou in (0.3, 0.5, 0.7):
        output = OutputSpec("candidates", score_threshold=0.05, iou_threshold=iou, max_detections=300)
        check_nms(cuda, launcher, stream, output, random, rows=8400, classes=80)


@pytest.mark.parametrize(("rows", "classes"), [(21, 1), (2100, 5), (8400, 80)])
def test_ultralytics_raw_output_is_finished_as_on_the_host(
    cuda: Cuda, launcher: GpuLauncher, stream: int, rows: int, classes: int
) -> None:
    random = np.random.default_rng(rows)
    for case in range(50):
        output = OutputSpec("yolo_xywh", 0.25, [0.45, 0.5, 0.7][case % 3], max_detections=300, label_mode="best")
        check_nms(cuda, launcher, stream, output, random, rows=rows, classes=classes)


@pytest.mark.parametrize("size", RESIZE_SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("rule", RESIZE_RULES, ids=lambda rule: rule.rule)
@pytest.mark.parametrize("spec", RESIZE_SPECS)
def test_frames_are_resized_as_opencv_does(  # noqa: PLR0917
    cuda: Cuda, launcher: GpuLauncher, stream: int, spec: str, rule: ResizeRule, size: tuple[int, int]
) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        check_resize(cuda, launcher, stream, RESIZE_SPECS[spec], rule, random=random, size=size)


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

"""The kernels on a real GPU: bit for bit the CPU's NMS, a grey level from OpenCV's resize."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.runtimes.cuda.check import check_nms, check_resize
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.launcher import GpuLauncher

SIZES = (
    (479, 641), (33, 47), (1, 1), (1, 500), (700, 3), (320, 416), (640, 832), (1080, 1920), (2160, 3840),
    (4321, 7681),
)  # fmt: skip
"""Heights and widths of frames: odd, tiny, as the network's, halved exactly, huge."""


@pytest.mark.parametrize("seed", range(20))
def test_nms_is_the_hosts_on_a_thousand_random_cases(
    cuda: Cuda, launcher: GpuLauncher, stream: int, seed: int
) -> None:
    """Fifty by each seed, whose launcher gives their memory back: ties, NaN, infinity, boxes without extent."""
    random = np.random.default_rng(seed)
    kept = 0
    for case in range(50):
        classes = int(random.integers(1, 92))
        # The host takes its time over the large ones.
        largest = 25_000 if case == 0 and seed % 5 == 0 else 6000 if case == 0 else 300
        rows = largest if case == 0 else int(random.integers(1, largest))
        output = OutputSpec(
            "candidates",
            # Above every score: no boxes at all.
            score_threshold=float(random.choice([0.0, 0.05, 0.5, 1.0])),
            iou_threshold=float(random.choice([0.0, 0.3, 0.5, 0.7, 1.0])),
            max_detections=int(random.choice([1, 10, 100, 300])),
        )
        kept += check_nms(cuda, launcher, stream, output, random, rows=rows, classes=classes)
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


FOREIGN = {"dtype": "float32", "layout": "NCHW", "colour": "RGB", "normalise": "host", "scale": 1 / 255}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize(
    "rule", [ResizeRule("letterbox", place="center"), ResizeRule("stretch")], ids=lambda rule: rule.rule
)
@pytest.mark.parametrize("spec", [{}, {"dtype": "float32"}, FOREIGN], ids=["u8", "f32", "yolo"])
def test_frames_are_resized_as_opencv_does(  # noqa: PLR0917
    cuda: Cuda, launcher: GpuLauncher, stream: int, spec: dict[str, Any], rule: ResizeRule, size: tuple[int, int]
) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        check_resize(cuda, launcher, stream, InputSpec(320, 416, **spec), rule, random=random, size=size)


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

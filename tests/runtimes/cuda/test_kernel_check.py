"""The self-test's comparison of kernels and CPU: it passes kernels that are right and tells those that are not."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.errors import SelftestError
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.kernel_check import MAX_CANDIDATES, check_nms, check_resize, random_case
from tests.runtimes.cuda.host_build import HostLauncher


class HostCuda(Cuda):
    """Copies between arrays and the memory of the kernels' CPU build."""

    def __init__(self) -> None:
        pass

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def synchronise(self, stream: int) -> None:
        pass


class Meddler:
    """The CPU build, except that the last kernel's result ``argument`` begins with another number."""

    def __init__(self, host: HostLauncher, argument: int) -> None:
        self._host, self._argument = host, argument
        self.allocate, self.clear = host.allocate, host.clear

    def launch(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        self._host.launch(name, grid, threads, arguments)
        if name == "gather_kept":
            ctypes.memset(arguments[self._argument].value, 1, 4)
        if name == "resize_frame":
            ctypes.memset(arguments[self._argument].value, 1, 64 * 64)


OWN = OutputSpec("candidates", score_threshold=0.05, iou_threshold=0.5, max_detections=100)
FOREIGN = OutputSpec("yolo_xywh", 0.25, iou_threshold=0.5, max_detections=100, label_mode="best")


@pytest.mark.parametrize("output", [OWN, FOREIGN], ids=["own", "ultralytics"])
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (300, 91), (8400, 80), (25_000, 3)])
def test_the_kernels_pass(host: HostLauncher, output: OutputSpec, rows: int, classes: int) -> None:
    random = np.random.default_rng(rows)
    for _ in range(20 if rows <= 300 else 2):
        check_nms(HostCuda(), host, 0, output, random, rows=rows, classes=classes)


@pytest.mark.parametrize("argument", [-3, -2, -1], ids=["boxes", "scores", "labels"])
def test_a_wrong_result_is_told(host: HostLauncher, argument: int) -> None:
    with pytest.raises(SelftestError, match="of 300 boxes and 5 classes"):
        check_nms(HostCuda(), Meddler(host, argument), 0, OWN, np.random.default_rng(0), rows=300, classes=5)


@pytest.mark.parametrize("size", [(479, 641), (1, 1), (700, 3), (1080, 1920)], ids=str)
@pytest.mark.parametrize("rule", [ResizeRule("letterbox"), ResizeRule("stretch")], ids=lambda rule: rule.rule)
@pytest.mark.parametrize("spec", [{}, {"dtype": "float32", "normalise": "host", "scale": 1 / 255}], ids=["u8", "f"])
def test_the_resize_passes(
    host: HostLauncher, spec: dict[str, Any], rule: ResizeRule, size: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    check_resize(HostCuda(), host, 0, InputSpec(320, 416, **spec), rule, random=random, size=size)


def test_a_wrong_resize_is_told(host: HostLauncher) -> None:
    random = np.random.default_rng(0)
    with pytest.raises(SelftestError, match="of a 50x40 frame to another grey level"):
        check_resize(
            HostCuda(), Meddler(host, 4), 0, InputSpec(64, 64), ResizeRule("stretch"), random=random, size=(40, 50)
        )


def test_cases_are_awkward() -> None:
    """NaN, infinity, boxes without extent, ties; never more candidates than the kernels have room for."""
    random = np.random.default_rng(0)
    seen = dict.fromkeys(("nan box", "infinite box", "nan score", "infinite score", "no extent", "equal boxes"), 0)
    for _ in range(40):
        boxes, scores = random_case(random, 300, 20)
        seen["nan box"] += np.isnan(boxes).any()
        seen["infinite box"] += np.isinf(boxes).any()
        seen["nan score"] += np.isnan(scores).any()
        seen["infinite score"] += np.isinf(scores).any()
        seen["no extent"] += (boxes[:, 2:] == boxes[:, :2]).any()
        seen["equal boxes"] += len(np.unique(boxes, axis=0)) < 300
    assert min(seen.values()) > 3, seen
    _, scores = random_case(random, 25_000, 91)
    assert MAX_CANDIDATES * 0.9 < np.count_nonzero(scores) < 32768

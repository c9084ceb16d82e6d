"""An engine with NMS on the GPU finds what the graph with NMS on the host finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet import Detector
from edgedet.opening import read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.runtimes.base import TensorSpec
from edgedet.runtimes.cuda.device import CudaError
from edgedet.runtimes.cuda.kernels import NmsKernels
from edgedet.runtimes.cuda.suppression import sources
from edgedet.selftest import SELFTEST_GRAPH
from tests.runtimes.cuda.array_interface import OnGpu
from tests.runtimes.cuda.queued_launcher import QueuedLauncher
from tests.runtimes.cuda.ultralytics_network import FOREIGN_NAMES, foreign_detector
from tests.tensorrt_api.behaviour import make_plan
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install


def compare(engine: Path, **thresholds: Any) -> str:
    """Frame by frame equal to the graph in ONNX Runtime; returns what ran the engine."""
    with Detector(SELFTEST_GRAPH, **thresholds) as reference, Detector(engine, **thresholds) as detector:
        for seed in range(6):
            frame = golden_frame(seed)
            expected, found = reference.detect(frame), detector.detect(frame)
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.scores, expected.scores)
            np.testing.assert_array_equal(found.labels, expected.labels)
            assert len(found) > 0
        return detector.description


@pytest.mark.parametrize("thresholds", [{}, {"conf": 0.7}, {"iou": 0.2}, {"max_detections": 7}, {"conf": 0.55}])
def test_detections_are_the_hosts(engine: Path, double: FakeCuda, thresholds: dict[str, Any]) -> None:
    description = compare(engine, **thresholds)
    assert "NMS on the GPU" in description and "CUDA graph" in description
    assert double.launches == 5 and double.held == 0


def test_more_candidates_than_fit_go_to_the_host(
    engine: Path, double: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NmsKernels.__init__.__kwdefaults__, "capacity", 8)  # type: ignore[index]
    assert "NMS on the GPU" in compare(engine)
    assert double.held == 0


def test_without_a_compiler_the_host_does_it(
    engine: Path, double: FakeCuda, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(QueuedLauncher, "refuses", True)
    assert "NMS on the GPU" not in compare(engine)
    assert "NMS runs on the CPU: NVRTC is too old" in caplog.text
    assert double.held == 0


def test_without_memory_for_it_the_host_does_it(
    engine: Path, double: FakeCuda, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    allocate = QueuedLauncher.allocate

    def full(self: QueuedLauncher, size: int) -> int:
        if len(self._memory) >= 3:
            raise CudaError("CUDA cudaMalloc failed: out of memory")
        return allocate(self, size)

    monkeypatch.setattr(QueuedLauncher, "allocate", full)
    assert "NMS on the GPU" not in compare(engine)
    assert "NMS runs on the CPU: CUDA cudaMalloc failed" in caplog.text
    assert double.held == 0


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, double: FakeCuda) -> tuple[Path, Path]:
    """An engine as Ultralytics writes it, and the graph it was built from."""
    trt = install(monkeypatch, "10.3.0", double)
    model = foreign_detector()
    onnx.save(model, tmp_path / "yolo.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    named = {str(index): name for index, name in enumerate(FOREIGN_NAMES)}
    header = json.dumps(facts | {"imgsz": [64, 64], "batch": 1, "names": named}).encode()
    (tmp_path / "yolo.engine").write_bytes(len(header).to_bytes(4, "little") + header + make_plan(trt, model))
    return tmp_path / "yolo.engine", tmp_path / "yolo.onnx"


@pytest.mark.parametrize("thresholds", [{}, {"conf": 0.5}, {"iou": 0.3, "max_detections": 20}])
def test_ultralytics_engines_are_finished_on_the_gpu_too(
    foreign: tuple[Path, Path], double: FakeCuda, thresholds: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their raw output is megabytes; only detections come to the host."""
    engine, graph = foreign
    largest, labels = 0, list[int]()
    copy = double.module.cudaMemcpyAsync

    def watched(target: int, source: int, size: int, kind: Any, stream: int) -> Any:
        nonlocal largest
        if kind.name == "cudaMemcpyDeviceToHost":
            largest = max(largest, size)
        return copy(target, source, size, kind, stream)

    monkeypatch.setattr(double.module, "cudaMemcpyAsync", watched)
    with Detector(graph, **thresholds) as reference, Detector(engine, **thresholds) as detector:
        assert "NMS on the GPU" in detector.description
        for seed in range(5):
            frame = golden_frame(seed)
            expected, found = reference.detect(frame), detector.detect(frame)
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.scores, expected.scores)
            np.testing.assert_array_equal(found.labels, expected.labels)
            labels += found.labels.tolist()
        assert len(labels) > 20 and len(set(labels)) > 1
        assert 0 < largest <= 16 * detector.thresholds.max_detections
        on_gpu = detector.detect(OnGpu(double, golden_frame(0, 64, 64)))  # type: ignore[arg-type]
        assert len(on_gpu) > 0
    assert double.launches == 5 and double.held <= 1


def test_an_overflowing_ultralytics_engine_goes_to_the_host(
    foreign: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NmsKernels.__init__.__kwdefaults__, "capacity", 8)  # type: ignore[index]
    engine, graph = foreign
    with Detector(graph) as reference, Detector(engine) as detector:
        for seed in range(3):
            expected, found = reference.detect(golden_frame(seed)), detector.detect(golden_frame(seed))
            np.testing.assert_array_equal(found.boxes, expected.boxes)


def test_what_the_kernels_cannot_read_stays_with_the_host(foreign: tuple[Path, Path]) -> None:
    card = read_card(foreign[0])

    def spec(*shape: int, kind: Any = np.float32) -> tuple[TensorSpec, ...]:
        return (TensorSpec("output0", shape, np.dtype(kind)),)

    assert sources(card, spec(1, 11, 1024)) == ("output0",)
    assert sources(card, spec(1, 11, 1024, kind=np.float16)) == ()
    assert sources(card, spec(1, 12, 1024)) == ()
    assert sources(card, spec(1, 1024)) == ()
    final = replace(card, output=replace(card.output, format="yolo_end2end"))
    assert sources(final, spec(1, 300, 6)) == ()

"""Engines of three images, and three engines in three threads, down to the calls of the CUDA driver's double."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet import Detections, Detector
from edgedet.artifacts.engine_file import write_engine
from edgedet.opening import read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.runtimes.cuda import launcher as launcher_module
from edgedet.runtimes.cuda.kernels import NmsKernels
from edgedet.selftest import SELFTEST_GRAPH
from tests.runtimes.cuda.array_interface import OnGpu
from tests.runtimes.cuda.host_build import HostLauncher
from tests.runtimes.cuda.ultralytics_network import CELLS, FOREIGN_NAMES, foreign_detector
from tests.runtimes.threads import in_threads
from tests.tensorrt_api.behaviour import make_plan
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.driver_double import FakeDriver, cubin
from tests.tensorrt_api.installed import install

BATCH = 3
VERSION = "10.16.1.11"


@pytest.fixture(params=[False, True], ids=["discrete", "jetson"])
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, host: HostLauncher) -> Iterator[FakeCuda]:
    double = FakeCuda(integrated=request.param)
    driver = FakeDriver(double, host.launch)
    install(monkeypatch, VERSION, double, driver=driver)
    monkeypatch.setattr(launcher_module, "cached_kernels", cubin)
    yield double
    assert driver.held == 0


@pytest.fixture
def batched(tmp_path: Path, cuda: FakeCuda) -> tuple[Path, Path]:
    """An engine of three images as Ultralytics writes it, and its graph for one."""
    single = foreign_detector()
    onnx.save(single, tmp_path / "single.onnx")
    model = foreign_detector()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = BATCH
    for constant in model.graph.initializer:
        if constant.name == "flat":
            shape = np.array([BATCH, 4 + len(FOREIGN_NAMES), CELLS * CELLS], np.int64)
            constant.CopyFrom(numpy_helper.from_array(shape, "flat"))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    named = {str(index): name for index, name in enumerate(FOREIGN_NAMES)}
    header = json.dumps(facts | {"imgsz": [64, 64], "batch": BATCH, "names": named}).encode()
    plan = make_plan(sys.modules["tensorrt"], model)
    (tmp_path / "batched.engine").write_bytes(len(header).to_bytes(4, "little") + header + plan)
    return tmp_path / "batched.engine", tmp_path / "single.onnx"


@pytest.fixture
def tiny(tmp_path: Path, cuda: FakeCuda) -> Path:
    facts = {"tensorrt": VERSION, "compute_capability": "8.7", "architecture": platform.machine()}
    plan = make_plan(sys.modules["tensorrt"], onnx.load(SELFTEST_GRAPH))
    write_engine(tmp_path / "tiny.trt", replace(read_card(SELFTEST_GRAPH), engine=facts), plan)
    return tmp_path / "tiny.trt"


def require_same(found: Sequence[Detections], expected: Sequence[Detections]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.frame_size == other.frame_size and len(one) > 0


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_batch_finds_what_its_frames_do_alone(batched: tuple[Path, Path], cuda: FakeCuda, count: int) -> None:
    engine, graph = batched
    frames = [golden_frame(seed, 48 + 16 * seed, 64) for seed in range(count)]
    with Detector(graph) as reference, Detector(engine) as detector:
        expected = [reference.detect(frame) for frame in frames]
        for _ in range(3):  # plain, recorded, replayed
            require_same(detector.detect_batch(frames), expected)
        assert "NMS on the GPU" in detector.description and "CUDA graph" in detector.description
    assert cuda.held == 0


def test_a_batch_of_which_one_image_overflows_goes_to_the_host(
    batched: tuple[Path, Path], cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NmsKernels.__init__.__kwdefaults__, "capacity", 8)  # type: ignore[index]
    engine, graph = batched
    frames = [golden_frame(seed) for seed in range(BATCH)]
    with Detector(graph) as reference, Detector(engine) as detector:
        require_same(detector.detect_batch(frames), [reference.detect(frame) for frame in frames])
    assert cuda.held == 0


def test_a_batch_of_frames_on_the_gpu_finds_the_same(batched: tuple[Path, Path], cuda: FakeCuda) -> None:
    engine, _ = batched
    # Of the canvas's own size: resizing differs by a grey level, which this small a network notices.
    frames = [golden_frame(seed, 64, 64) for seed in range(5)]
    with Detector(engine) as detector:
        expected = detector.detect_batch(frames)
        before = cuda.held
        on_gpu = [OnGpu(cuda, frame) for frame in frames]
        for _ in range(2):
            require_same(detector.detect_batch(on_gpu), expected)  # type: ignore[arg-type]
        assert cuda.held - before == len(frames), "only the frames themselves"


@pytest.mark.parametrize("opened", ["by each thread", "beforehand"])
def test_three_detectors_in_three_threads_find_what_one_does(tiny: Path, cuda: FakeCuda, opened: str) -> None:
    frames = [golden_frame(seed) for seed in range(6)]
    with Detector(SELFTEST_GRAPH) as reference:
        expected = [reference.detect(frame) for frame in frames]
    ready = [Detector(tiny) for _ in range(3)] if opened == "beforehand" else []

    def work(number: int) -> None:
        with ready[number] if ready else Detector(tiny) as detector:
            for turn in range(12):
                index = (turn + 2 * number) % len(frames)  # never two threads on one frame
                require_same([detector.detect(frames[index])], [expected[index]])
            assert "NMS on the GPU" in detector.description and "CUDA graph" in detector.description

    in_threads([lambda number=number: work(number) for number in range(3)])  # type: ignore[misc]
    assert cuda.held == 0

"""An engine with NMS on the GPU finds what the graph with NMS on the host finds; kernels run in their CPU build."""

from __future__ import annotations

import ctypes
import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.artifacts.engine_file import write_engine
from edgedet.errors import FrameError, RuntimeUnavailableError, UsageError
from edgedet.opening import read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections, summarise
from edgedet.runtimes import tensorrt as runtime_module
from edgedet.runtimes.base import TensorSpec
from edgedet.runtimes.cuda.device import CudaError
from edgedet.runtimes.cuda.kernels import NmsKernels
from edgedet.runtimes.cuda.suppression import sources
from edgedet.selftest import SELFTEST_GRAPH
from tests.rectangle_detector import ultralytics_metadata
from tests.runtimes.cuda.dlpack_export import DlpackFrame
from tests.runtimes.cuda.host_build import HostLauncher, build
from tests.tensorrt_api.behaviour import make_plan
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install


class QueuedLauncher:
    """The kernels' CPU build behind the double's streams: nothing happens before the stream is waited for."""

    host: HostLauncher
    double: FakeCuda
    refuses = False

    def __init__(self, cuda: Any, stream: int) -> None:
        self._stream = stream
        self._memory: list[int] = []

    def prepare(self) -> None:
        if self.refuses:
            raise RuntimeUnavailableError("NVRTC is too old")

    def launch(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        # The driver copies the arguments when a kernel is queued.
        kept = [type(value).from_buffer_copy(value) for value in arguments]
        self.double.enqueue(self._stream, lambda: self.host.launch(name, grid, threads, kept))

    def allocate(self, size: int) -> int:
        self._memory.append(self.double.cudaMalloc(size)[1])
        return self._memory[-1]

    def clear(self, address: int, size: int) -> None:
        self.double.enqueue(self._stream, lambda: ctypes.memset(address, 0, size) and None)

    def close(self) -> None:
        for address in self._memory:
            self.double.cudaFree(address)
        self._memory = []


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostLauncher:
    return build(tmp_path_factory)


@pytest.fixture(params=[False, True], ids=["discrete", "jetson"])
def double(request: Any, monkeypatch: pytest.MonkeyPatch, host: HostLauncher) -> FakeCuda:
    double = FakeCuda(integrated=request.param)
    monkeypatch.setattr(QueuedLauncher, "host", host, raising=False)
    monkeypatch.setattr(QueuedLauncher, "double", double, raising=False)
    monkeypatch.setattr(runtime_module, "GpuLauncher", QueuedLauncher)
    return double


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, double: FakeCuda) -> Path:
    trt = install(monkeypatch, "10.16.1.11", double)
    facts = {"tensorrt": "10.16.1.11", "compute_capability": "8.7", "architecture": platform.machine()}
    write_engine(
        tmp_path / "tiny.trt",
        replace(read_card(SELFTEST_GRAPH), engine=facts),
        make_plan(trt, onnx.load(SELFTEST_GRAPH)),
    )
    return tmp_path / "tiny.trt"


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


CELLS = 32
FOREIGN_NAMES = tuple(f"class {index}" for index in range(7))


def foreign_detector() -> onnx.ModelProto:
    """A random network with Ultralytics' input and raw output: float32 [1, 3, 64, 64] to [1, 4 + 7, 1024]."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.8, (11, 3, 4, 4)).astype(np.float32)
    weights[4:] -= weights[4:].mean(axis=(1, 2, 3), keepdims=True)  # brightness alone prefers no class
    constants = {
        "w": weights,
        "b": np.float32([0] * 4 + [-0.5] * 7),
        "flat": np.array([1, 11, CELLS * CELLS], np.int64),
        # Centres anywhere on the canvas, sides up to 24 pixels, scores as they are.
        "scale": np.float32([64, 64, 24, 24] + [1] * 7).reshape(1, 11, 1),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Reshape", ["s", "flat"], ["r"]),
        helper.make_node("Mul", ["r", "scale"], ["output0"]),
    ]
    body = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 11, CELLS * CELLS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, ultralytics_metadata(names=str(dict(enumerate(FOREIGN_NAMES)))))
    onnx.checker.check_model(model, full_check=True)
    return model


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


class OnGpu:
    """A frame in the double's device memory, as PyTorch or CuPy would hand it over."""

    def __init__(self, double: FakeCuda, frame: np.ndarray, **changes: Any) -> None:
        address = double.cudaMalloc(frame.nbytes)[1]
        ctypes.memmove(address, frame.ctypes.data, frame.nbytes)
        facts = {"shape": frame.shape, "typestr": "|u1", "data": (address, True), "version": 3, "strides": None}
        self.__cuda_array_interface__ = facts | changes


def test_frames_on_the_gpu_give_the_same_detections(engine: Path, double: FakeCuda) -> None:
    with Detector(engine) as detector:
        for seed in range(6):
            # Of the canvas's own size: resizing differs by a grey level, which this small a network notices.
            frame = golden_frame(seed, 64, 64)
            expected, found = detector.detect(frame), detector.detect(OnGpu(double, frame))  # type: ignore[arg-type]
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.scores, expected.scores)
            assert len(found) > 0
            assert found.frame_size == expected.frame_size


def test_frames_on_the_gpu_are_resized_there(engine: Path, double: FakeCuda) -> None:
    """Within a grey level of the host's, so nearly all detections are the same."""
    tolerance = Tolerance(min_score=0.62, min_iou=0.95, max_score_difference=0.02)
    with Detector(engine) as detector:
        pairs = []
        for seed in range(4):
            frame = golden_frame(seed)
            found = detector.detect(OnGpu(double, frame))  # type: ignore[arg-type]
            assert found.frame_size == (480, 640)
            pairs.append(match_detections(detector.detect(frame), found, tolerance))
        report = summarise(pairs)
        assert report.reference_count > 50 and report.agrees(0.9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"typestr": "<f4"}, "float32"),
        ({"shape": (480, 640, 4)}, r"uint8 \[480, 640, 4\], expected uint8 \[height, width, 3\]"),
        ({"strides": (1, 480, 307200)}, "contiguous copy"),
        ({"shape": (0, 640, 3), "data": (0, True)}, r"uint8 \[0, 640, 3\], expected"),
    ],
)
def test_frames_that_are_none_are_refused(engine: Path, double: FakeCuda, changes: Any, said: str) -> None:
    with Detector(engine) as detector, pytest.raises(FrameError, match=said):
        detector.detect(OnGpu(double, golden_frame(0), **changes))  # type: ignore[arg-type]


def test_frames_of_another_gpu_are_refused(engine: Path, double: FakeCuda) -> None:
    frame = OnGpu(double, golden_frame(0))
    with Detector(engine) as detector:
        double.elsewhere[frame.__cuda_array_interface__["data"][0]] = 1
        with pytest.raises(FrameError, match=r"OnGpu on the GPU is on CUDA device 1, .*device 0; .*tensorrt:1"):
            detector.detect(frame)  # type: ignore[arg-type]


def test_frames_that_were_freed_are_refused(engine: Path, double: FakeCuda) -> None:
    with Detector(engine) as detector:
        frame = OnGpu(double, golden_frame(0))
        detector.detect(frame)  # type: ignore[arg-type]
        double.cudaFree(frame.__cuda_array_interface__["data"][0])
        with pytest.raises(FrameError, match=r"lies at 0x[0-9a-f]+, where CUDA has no"):
            detector.detect(frame)  # type: ignore[arg-type]


def test_frames_in_the_hosts_memory_are_read_where_the_gpu_can(engine: Path, double: FakeCuda) -> None:
    pixels = golden_frame(0, 64, 64)
    frame = OnGpu(double, pixels, data=(pixels.ctypes.data, True))
    with Detector(engine) as detector:
        with pytest.raises(FrameError, match="where CUDA has no memory"):
            detector.detect(frame)  # type: ignore[arg-type]
        double.pageable = True
        np.testing.assert_array_equal(detector.detect(frame).boxes, detector.detect(pixels).boxes)  # type: ignore[arg-type]


def test_frames_in_mapped_memory_are_read_where_they_are(engine: Path, double: FakeCuda) -> None:
    """Whichever device it was allocated with."""
    pixels = golden_frame(0, 64, 64)
    with Detector(engine) as detector:
        address = double.cudaHostAlloc(pixels.nbytes, 2)[1]
        ctypes.memmove(address, pixels.ctypes.data, pixels.nbytes)
        double.elsewhere[address] = 1
        frame = OnGpu(double, pixels, data=(address, True))
        np.testing.assert_array_equal(detector.detect(frame).boxes, detector.detect(pixels).boxes)  # type: ignore[arg-type]


def test_frames_on_the_gpu_need_an_engine(engine: Path, double: FakeCuda) -> None:
    frame = OnGpu(double, golden_frame(0))
    with (
        Detector(SELFTEST_GRAPH) as detector,
        pytest.raises(UsageError, match=r"need an engine, and selftest\.onnx runs"),
    ):
        detector.detect(frame)  # type: ignore[arg-type]


@pytest.mark.parametrize("strides", ["given", "missing"])
@pytest.mark.parametrize("protocol", ["old", "new"])
def test_frames_come_by_dlpack(engine: Path, double: FakeCuda, protocol: str, strides: str) -> None:
    """In order with the work that fills them, and given back once, after the run."""
    with Detector(engine) as detector:
        for seed in range(4):
            pixels = golden_frame(seed, 64, 64)
            frame = DlpackFrame(double, pixels, protocol=protocol, strides=strides, offset=256 * seed)
            expected, found = detector.detect(pixels), detector.detect(frame)  # type: ignore[arg-type]
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.scores, expected.scores)
            assert len(found) > 0
            assert frame.returned == 1
            assert frame.capsule_name == {"old": "used_dltensor", "new": "used_dltensor_versioned"}[protocol]
            assert frame.asked == [frame.asked[0]] and frame.asked[0] not in (None, 0, 1, 2)


def test_dlpack_is_preferred_to_the_array_interface(engine: Path, double: FakeCuda) -> None:
    """PyTorch has both, and only DLPack makes our stream wait for it."""

    class Both(DlpackFrame):
        @property
        def __cuda_array_interface__(self) -> Any:
            raise AssertionError("asked for the wrong one")

    with Detector(engine) as detector:
        frame = golden_frame(0, 64, 64)
        np.testing.assert_array_equal(
            detector.detect(Both(double, frame)).boxes,  # type: ignore[arg-type]
            detector.detect(frame).boxes,
        )


def test_rows_of_a_dlpack_frame_may_be_apart(engine: Path, double: FakeCuda) -> None:
    wide = np.zeros((64, 100, 3), np.uint8)
    wide[:, :64] = golden_frame(1, 64, 64)
    with Detector(engine) as detector:
        found = detector.detect(DlpackFrame(double, wide[:, :64]))  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.boxes, detector.detect(golden_frame(1, 64, 64)).boxes)


def test_whole_inputs_come_by_dlpack(engine: Path, double: FakeCuda) -> None:
    runtime = runtime_module.open(engine, card=read_card(engine))
    pixels = golden_frame(2, 64, 64)[None]
    expected = {name: value.copy() for name, value in runtime.run({"images": pixels}).items()}
    frame = DlpackFrame(double, pixels)
    for name, value in runtime.run({"images": frame}).items():
        np.testing.assert_array_equal(value, expected[name])
    assert frame.returned == 1
    wrong = DlpackFrame(double, pixels[:, :32])
    with pytest.raises(UsageError, match=r"uint8 \[1, 32, 64, 3\], images takes uint8 \[1, 64, 64, 3\]"):
        runtime.run({"images": wrong})
    runtime.close()
    assert wrong.returned == 1


@pytest.mark.parametrize(
    ("pixels", "changes", "said"),
    [
        (golden_frame(0, 64, 64), {"device": (2, 1)}, r"on CUDA device 1, the engine on device 0; .*tensorrt:1"),
        (golden_frame(0, 64, 64), {"major": 2}, "DLPack 2, edgedet knows 1"),
        (golden_frame(0, 64, 64).astype(np.float32), {}, r"float32 \[64, 64, 3\], expected uint8"),
        (golden_frame(0, 64, 64).transpose(1, 0, 2), {}, "contiguous copy"),
        (np.zeros((3, 64, 64), np.uint8), {}, r"uint8 \[3, 64, 64\], expected uint8 \[height, width, 3\]"),
    ],
)
def test_dlpack_frames_that_are_none_are_refused_and_given_back(
    engine: Path, double: FakeCuda, pixels: np.ndarray, changes: Any, said: str
) -> None:
    frame = DlpackFrame(double, pixels, **changes)
    with Detector(engine) as detector:
        with pytest.raises(FrameError, match=said):
            detector.detect(frame)  # type: ignore[arg-type]
        assert len(detector.detect(golden_frame(0, 64, 64))) > 0
    assert frame.returned == len(frame.asked)


def test_an_owner_that_refuses_is_quoted(engine: Path, double: FakeCuda) -> None:
    class Refusing(DlpackFrame):
        def _new(self, **named: Any) -> Any:
            raise BufferError("Can't export tensors that require gradient")

    with Detector(engine) as detector, pytest.raises(FrameError, match=r"Refusing on the GPU .*require gradient"):
        detector.detect(Refusing(double, golden_frame(0)))  # type: ignore[arg-type]


def test_old_array_interfaces_are_waited_for(
    engine: Path, double: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before version 3 nobody could name a stream: PyTorch's and PyCUDA's work is in the default one."""
    waited: list[int] = []
    wait = double.module.cudaStreamSynchronize
    monkeypatch.setattr(
        double.module, "cudaStreamSynchronize", lambda stream: waited.append(stream) or wait(stream)
    )
    with Detector(engine) as detector:
        for version, expected in ((2, [0]), (3, [])):
            waited.clear()
            detector.detect(OnGpu(double, golden_frame(0), version=version))  # type: ignore[arg-type]
            assert [stream for stream in waited if stream < 1000] == expected


def test_dlpack_frames_on_the_gpu_need_an_engine(engine: Path, double: FakeCuda) -> None:
    with (
        Detector(SELFTEST_GRAPH) as detector,
        pytest.raises(UsageError, match=r"need an engine, and selftest\.onnx runs"),
    ):
        detector.detect(DlpackFrame(double, golden_frame(0)))  # type: ignore[arg-type]

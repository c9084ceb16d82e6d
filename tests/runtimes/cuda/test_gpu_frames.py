"""Frames and whole inputs that are on the GPU already are read there, by the CUDA array interface and by DLPack."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detector
from edgedet.errors import FrameError, UsageError
from edgedet.opening import read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections, summarise
from edgedet.runtimes import tensorrt as runtime_module
from edgedet.selftest import SELFTEST_GRAPH
from tests.runtimes.cuda.array_interface import OnGpu
from tests.runtimes.cuda.dlpack_export import DlpackFrame
from tests.tensorrt_api.cuda_double import FakeCuda


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

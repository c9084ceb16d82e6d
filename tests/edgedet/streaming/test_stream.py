"""``Detector.stream`` with a real graph: right results, clean ends, whatever the source does."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet import Detector, Fault, LiveSettings
from edgedet.errors import SourceError, UsageError
from edgedet.pictures.frames import Frame
from edgedet.pictures.live.live_source import LiveSource
from edgedet.streaming.meter import Meter
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph
from tests.virtual_camera import VirtualCamera, box_of, number_in


@pytest.fixture
def detector(tmp_path: Path) -> Iterator[Detector]:
    save_rectangle_graph(tmp_path / "model.onnx")
    with Detector(tmp_path / "model.onnx", threads=1) as opened:
        yield opened


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        cv2.imwrite(str(folder / f"{number:02}.png"), frame_with_rectangle(64, 64, (number, 8, number + 20, 40)))
    return folder


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("edgedet-")]


def wait_for_threads() -> None:
    end = time.monotonic() + 5
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert threads() == []


def trouble(seed: int, share: float) -> tuple[random.Random, object]:
    rng = random.Random(seed)
    kinds = ["stall", "disconnect", "resize", "damage"]
    return rng, lambda number: rng.choice(kinds) if number and rng.random() < share else None


def test_a_folder_gives_the_same_as_one_by_one(detector: Detector, photos: Path) -> None:
    found = [(frame.index, detections.boxes.tolist()) for frame, detections in detector.stream(photos)]
    alone = [detector.detect(cv2.imread(str(path))).boxes.tolist() for path in sorted(photos.iterdir())]
    assert found == list(enumerate(alone))
    wait_for_threads()


def test_results_stay_what_they_were(detector: Detector, photos: Path) -> None:
    """Two input buffers take turns, and outputs are the runtime's: none of that may show."""
    results = list(detector.stream(photos))
    assert [detections.boxes[0, 0] for _, detections in results] == [float(number) for number in range(20)]


def test_leaving_the_loop_ends_the_threads(detector: Detector, photos: Path) -> None:
    for _ in detector.stream(photos):
        break
    gc.collect()
    wait_for_threads()
    with pytest.raises(ZeroDivisionError):
        for _ in detector.stream(photos):
            raise ZeroDivisionError
    gc.collect()
    wait_for_threads()
    with detector.stream(photos) as stream:
        next(stream)
    wait_for_threads()
    assert list(stream) == []
    with pytest.raises(UsageError, match="max_fps is -1"):
        detector.stream(photos, max_fps=-1)


def test_the_caller_s_arrays_are_never_asked_for_ahead(detector: Detector) -> None:
    """One array for every frame, as capture loops have it."""
    one, given = np.zeros((64, 64, 3), np.uint8), []

    def frames() -> Iterator[np.ndarray]:
        for number in range(10):
            one[:] = frame_with_rectangle(64, 64, (number, 8, number + 20, 40))
            given.append(number)
            yield one

    for number, (frame, detections) in enumerate(detector.stream(frames())):
        assert frame.image is one and given[-1] == number
        assert detections.boxes.tolist() == [[number, 8, number + 20, 40]]


def test_a_detector_that_is_closed_meanwhile_says_so(detector: Detector, photos: Path) -> None:
    with detector.stream(photos) as stream:
        next(stream)
        detector.close()
        with pytest.raises(UsageError, match="is closed"):
            list(stream)


def test_other_calls_beside_a_stream_are_right(detector: Detector) -> None:
    camera = VirtualCamera(count=400, rate=1000)
    frame, box = frame_with_rectangle(64, 64, (30, 2, 50, 22)), [[30.0, 2.0, 50.0, 22.0]]
    with LiveSource([("camera", camera)], LiveSettings(keep="every")) as source:
        for seen, detections in detector.stream(source):
            assert detections.boxes.tolist() == [box_of(number_in(seen.image))]
            assert detector.detect(frame).boxes.tolist() == box


def test_every_good_frame_is_right_whatever_the_source_does(detector: Detector) -> None:
    """The long one is ``python benchmarks/live.py soak``."""
    _, breaks = trouble(1, 0.004)
    camera = VirtualCamera(rate=2000, trouble=breaks, stall=1.5)  # type: ignore[arg-type]
    settings = LiveSettings(open_seconds=1, stall_seconds=1, longest_wait=0.02)
    told: list[Fault] = []
    with (
        LiveSource([("camera", camera)], settings) as source,
        detector.stream(source, fault=told.append) as stream,
    ):
        before = -1
        for count, (frame, detections) in enumerate(stream, 1):
            number, scale = number_in(frame.image), frame.image.shape[0] // 64
            assert detections.boxes.tolist() == [[value * scale for value in box_of(number)]]
            assert number > before
            before = number
            if count == 1000:
                break
        happened = camera.happened
    counted = stream.stats.faults
    names = {"stall": "stalled", "disconnect": "disconnected", "resize": "resized", "damage": "damaged"}
    # The last one may have come after the last frame.
    assert sum(happened.values()) - 1 <= sum(counted.values()) <= sum(happened.values()) and len(told) > 3
    for kind, count in happened.items():
        assert count - 1 <= counted.get(names[kind], 0) <= count
    wait_for_threads()


def test_several_cameras_share_a_detector_fairly_and_boxes_stay_with_their_frames(detector: Detector) -> None:
    cameras = [VirtualCamera(rate=rate, channel=number % 3) for number, rate in enumerate((400, 200, 100, 300))]
    with (
        LiveSource([(f"camera {n}", camera) for n, camera in enumerate(cameras)]) as source,
        detector.stream(source, max_fps=60) as stream,
    ):
        for _ in range(120):
            frame, detections = next(stream)
            assert detections.boxes.tolist() == [box_of(number_in(frame.image))]
            assert detections.labels.tolist() == [int(frame.source[-1]) % 3]
        delivered = stream.stats.delivered
    assert sorted(delivered) == [f"camera {n}" for n in range(4)]
    assert min(delivered.values()) >= 0.8 * 30


def test_a_source_that_cannot_be_opened_raises_when_it_is_asked_for(detector: Detector) -> None:
    stream = detector.stream("gone.mp4")
    with pytest.raises(SourceError, match="no such file"):
        next(stream)
    with pytest.raises(SourceError, match=r"camera 77|refused|cannot open"):
        next(detector.stream(["rtsp://127.0.0.1:9/none"], live=LiveSettings(open_seconds=2)))


def test_figures_say_how_it_goes(detector: Detector) -> None:
    camera = VirtualCamera(rate=100, count=40)
    with LiveSource([("camera", camera)]) as source, detector.stream(source, max_fps=20) as stream:
        assert stream.stats.fps is None and stream.stats.line.startswith("waiting")
        for frame, _ in stream:
            assert frame.age < 5
    stats = stream.stats
    assert stats.frames + stats.dropped == 40 and stats.dropped > 10
    assert stats.age_p50 is not None and stats.age_p99 is not None and 0 < stats.age_p50 <= stats.age_p99
    assert stats.delivered == {"camera": stats.frames}


def test_ages_are_of_the_moment_of_delivery() -> None:
    meter = Meter()
    now = time.monotonic()
    for index in range(100):
        meter.delivered(Frame(np.zeros((1, 1, 3), np.uint8), "", index, captured=now - 0.2))
    stats = meter.stats(3, {"stalled": 2})
    assert stats.age_p50 == pytest.approx(200, abs=30)
    assert "3 dropped, faults: 2 stalled" in stats.line

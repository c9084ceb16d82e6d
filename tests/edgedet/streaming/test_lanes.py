"""Frames read ahead, in one lane and in several: the same frames, detections and complaints as one by one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import Detector, Unreadable, open_source
from edgedet.errors import FrameError, SourceError, UsageError
from edgedet.pictures import sources
from edgedet.pictures.frames import Frame
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

RUNTIMES = ["onnxruntime", pytest.param("openvino", id="openvino")]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_rectangle_graph(tmp_path / "rectangle.onnx")
    return tmp_path / "rectangle.onnx"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures of all sizes, of which the sixth and the last cannot be read."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(20):
        frame = frame_with_rectangle(60 + 9 * index, 100, (2 * index, 10, 2 * index + 40, 50), channel=index % 3)
        cv2.imwrite(str(folder / f"{index:02}.png"), frame)
    for index in (5, 19):
        (folder / f"{index:02}.png").write_bytes(b"no picture")
    return folder


def seen(detector: Detector, source: Any) -> tuple[list[Any], list[tuple[str, str]]]:
    """Everything there is to a stream: frames with what is in them, and what was told, with where it came."""
    found: list[Any] = []
    told: list[tuple[str, str]] = []

    def tell(lost: Unreadable) -> None:
        told.append((lost.name, lost.reason))
        found.append(lost.index)

    for frame, detections in detector.stream(source, unreadable=tell):
        found.append((frame.name, frame.index, frame.time, frame.image.tobytes(), detections.to_json()))
    return found, told


def one_by_one(detector: Detector, source: Any) -> list[Any]:
    found: list[Any] = []
    with open_source(source, unreadable=lambda lost: found.append(lost.index)) as frames:
        for frame in frames:
            detections = detector.detect(frame.image)
            found.append((frame.name, frame.index, frame.time, frame.image.tobytes(), detections.to_json()))
    return found


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_a_folder_is_as_one_by_one(model: Path, photos: Path, lanes: int, runtime: str) -> None:
    pytest.importorskip(runtime)
    with Detector(model, runtime=runtime, lanes=lanes) as detector:
        assert len(detector.lanes) == lanes
        found, told = seen(detector, photos)
        assert found == one_by_one(detector, photos) and len(found) == 20
    assert [name for name, _ in told] == [str(photos / "05.png"), str(photos / "19.png")]
    assert [item if isinstance(item, int) else item[1] for item in found] == list(range(20))


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_video_is_as_one_by_one(model: Path, tmp_path: Path, lanes: int) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
    for index in range(15):
        writer.write(frame_with_rectangle(60, 80, (10 + index, 10, 40 + index, 40)))
    writer.release()
    with Detector(model, lanes=lanes) as detector:
        found, told = seen(detector, path)
        assert found == one_by_one(detector, path) and (len(found), told) == (15, [])


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_first_that_cannot_be_read_is_raised_at_its_turn(model: Path, photos: Path, lanes: int) -> None:
    given = []
    with Detector(model, lanes=lanes) as detector, pytest.raises(SourceError, match=r"05\.png"):
        for frame, _ in detector.stream(photos):
            given.append(frame.index)
    assert given == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_open_source_tells_at_its_turn_in_the_caller_s_thread(model: Path, photos: Path, lanes: int) -> None:
    order: list[int] = []

    def tell(lost: Unreadable) -> None:
        assert threading.current_thread() is threading.main_thread()
        order.append(lost.index)

    with (
        Detector(model, lanes=lanes) as detector,
        open_source(photos, unreadable=tell) as opened,
        detector.stream(opened) as stream,
    ):
        for frame, _ in stream:
            order.append(frame.index)
        assert stream.stats.frames == 18 and stream.stats.delivered == {str(photos): 18}
    assert order == list(range(20))
    with open_source(photos) as opened, Detector(model, lanes=lanes) as detector:
        given: list[int] = []
        with pytest.raises(SourceError, match=r"05\.png"):
            for frame, _ in detector.stream(opened):
                given.append(frame.index)
        assert given == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_lanes_of_an_artifact_in_memory(model: Path, photos: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    with Detector(model.read_bytes(), runtime=runtime, lanes=2) as detector, Detector(model) as alone:
        assert len(detector.lanes) == 2
        assert seen(detector, photos)[0] == one_by_one(alone, photos)


@pytest.mark.parametrize("limit", [{"max_fps": 500.0}, {"duty": 0.9}])
def test_limits_hold_for_lanes_too(model: Path, photos: Path, limit: dict[str, float]) -> None:
    """What rests after each frame is one network, not one of several."""
    with (
        Detector(model, lanes=2) as detector,
        detector.stream(photos, unreadable=lambda lost: None, **limit) as stream,  # type: ignore[arg-type]
    ):
        next(stream)
        assert not [each for each in threading.enumerate() if each.name.startswith("edgedet-ahead")]
        assert len(list(stream)) == 17


def test_closing_from_another_thread_ends_a_stream(model: Path, photos: Path) -> None:
    with Detector(model, lanes=2) as detector:
        stream = detector.stream(photos)
        next(stream)
        closing = threading.Thread(target=stream.close)
        closing.start()
        closing.join(10)
        assert not closing.is_alive() and list(stream) == []
        assert not [each for each in threading.enumerate() if each.name.startswith("edgedet-ahead")]


class Tables:
    """A source whose second frame is no image."""

    description, count, rate, waits = "tables", 3, None, True

    def __iter__(self) -> Any:
        return iter(self.items())

    def items(self) -> Any:
        for index in range(3):
            yield Frame(np.zeros((2, 2, 7), np.uint8) if index == 1 else TWO, f"table {index}", index)

    def read(self, item: Any) -> Any:
        return item

    def tell(self, lost: Unreadable) -> None:
        raise AssertionError(lost)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_recorded_frame_that_is_no_image_is_told_of_at_its_turn(model: Path, lanes: int) -> None:
    order: list[int] = []
    with Detector(model, lanes=lanes) as detector:
        for frame, _ in detector.stream(Tables(), unreadable=lambda lost: order.append(lost.index)):
            order.append(frame.index)
        assert order == [0, 1, 2]
        with pytest.raises(FrameError):
            list(detector.stream(Tables()))


@pytest.mark.parametrize("lanes", [1, 2])
def test_only_so_many_pictures_are_held(
    model: Path, photos: Path, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = sources.read_image
    monkeypatch.setattr(sources, "read_image", lambda path: read.append(path) or real(path))
    with Detector(model, lanes=lanes) as detector:
        results = detector.stream(photos)
        next(results)
        for _ in range(20):
            threading.Event().wait(0.01)
        assert 1 < len(read) <= 6
        results.close()
        assert not [each for each in threading.enumerate() if each.name.startswith("edgedet-ahead")]


def test_the_callers_own_frames_are_taken_when_they_are_asked_for(model: Path) -> None:
    """Read ahead, a camera would show the past, and a generator would be run by another thread."""
    taken: list[threading.Thread] = []

    def frames() -> Any:
        for index in range(5):
            taken.append(threading.current_thread())
            yield frame_with_rectangle(64, 64, (10, 10, 30 + index, 30))

    with Detector(model, lanes=2) as detector:
        for count, _ in enumerate(detector.stream(frames()), 1):
            assert len(taken) == count
    assert set(taken) == {threading.main_thread()}


def test_what_is_no_frame_is_told_of(model: Path) -> None:
    frames = [TWO, np.zeros((2, 2, 7), np.uint8), TWO]
    told: list[int] = []
    with Detector(model) as detector:
        found = list(detector.stream(frames, unreadable=lambda lost: told.append(lost.index)))
        with pytest.raises(FrameError):
            list(detector.stream(frames))
    assert (len(found), told) == (2, [1])


TWO = frame_with_rectangle(64, 64, (10, 10, 40, 40))


def test_stages_are_those_of_the_frame_that_was_given(model: Path, photos: Path) -> None:
    with Detector(model, lanes=2) as detector:
        for _ in detector.stream(photos, unreadable=lambda lost: None):
            assert detector.last_timing.run > 0


def test_lanes_detect_at_the_same_time(model: Path) -> None:
    with Detector(model, lanes=2) as detector:
        runtimes = [lane.runtime for lane in detector.lanes]
        together = threading.Barrier(2, timeout=10)
        for runtime in runtimes:
            run = runtime.run

            def meet(inputs: Any, run: Any = run) -> Any:
                together.wait()
                return run(inputs)

            runtime.run = meet  # type: ignore[method-assign]
        threads = [threading.Thread(target=lane.detect, args=(TWO,)) for lane in detector.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert not together.broken and not any(thread.is_alive() for thread in threads)


def test_threads_beside_lanes_are_refused(model: Path) -> None:
    with pytest.raises(UsageError, match="2 lanes and 4 threads: a lane has one thread"):
        Detector(model, lanes=2, threads=4)
    with pytest.raises(UsageError, match="lanes is 0, expected 1 or more"):
        Detector(model, lanes=0)
    with Detector(model, lanes=2, threads=2) as detector:
        assert detector.description.endswith("2 lanes of 1 thread")


def test_closed_lanes_say_so(model: Path) -> None:
    with Detector(model, lanes=2) as detector:
        pass
    for lane in detector.lanes:
        with pytest.raises(UsageError, match="is closed"):
            lane.detect(TWO)

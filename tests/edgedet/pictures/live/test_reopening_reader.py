"""Sources that break in every way: they come back, are told of, and never hold the program up."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edgedet.errors import MissingDependencyError, SourceEndedError, SourceError
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.live.fault import Fault
from edgedet.pictures.live.live_source import LiveSource
from edgedet.pictures.live.reopening_reader import MAX_BLOCKED, MAX_DAMAGED
from edgedet.pictures.live.settings import LiveSettings
from tests.virtual_camera import VirtualCamera, number_in

QUICK = LiveSettings(open_seconds=1, stall_seconds=0.2, longest_wait=0.02)


def at(**events: int) -> Callable[[int], str | None]:
    """Trouble at given numbers: ``at(stall=4)``."""
    by_number = {number: what for what, number in events.items()}
    return by_number.get


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    gc.collect()
    end = time.monotonic() + 5
    while (left := [one for one in threading.enumerate() if one.name.startswith("edgedet-")]) and (
        time.monotonic() < end
    ):
        time.sleep(0.01)
    assert left == []


def run(camera: VirtualCamera, settings: LiveSettings = QUICK) -> tuple[list[Frame], list[Fault], LiveSource]:
    told: list[Fault] = []
    with LiveSource([("camera", camera)], settings, fault=told.append) as source:
        return list(source), told, source


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        ("disconnect", "disconnected", "camera stopped after 4 frames; is it still connected?"),
        ("stall", "stalled", "camera gave no frame for 0.2 s"),
        ("resize", "resized", "camera changed its frames from 64x64 to 128x128"),
        ("damage", "damaged", "frame 4 of camera is damaged and cannot be decoded"),
    ],
)
def test_what_breaks_comes_back_and_is_told(trouble: str, kind: str, words: str) -> None:
    camera = VirtualCamera(count=9, trouble=at(**{trouble: 4}), stall=0.5)
    frames, told, source = run(camera, LiveSettings("every", 1, 0.2, 0.02))
    assert [number_in(frame.image) for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8]
    # Only a damaged frame has a number of its own; what a source does not send is not known.
    indices = [0, 1, 2, 3, 5, 6, 7, 8] if trouble == "damage" else list(range(8))
    assert [frame.index for frame in frames] == indices
    assert [(one.kind, one.reason, one.index) for one in told] == [(kind, words, 4)]
    assert (told[0].retry_seconds is None) == (trouble == "damage")
    assert source.faults == {kind: 1}
    assert camera.openings == (1 if trouble == "damage" else 2)
    assert [frame.source for frame in frames] == ["camera"] * 8 and frames[4].name == f"camera #{indices[4]}"


def test_a_read_that_never_comes_back_is_left_behind() -> None:
    camera = VirtualCamera(count=6, trouble=at(stall=3))
    began = time.monotonic()
    frames, told, _ = run(camera, LiveSettings("every", 1, 0.2, 0.02))
    assert [number_in(frame.image) for frame in frames] == [0, 1, 2, 4, 5]
    assert [one.kind for one in told] == ["stalled"]
    assert time.monotonic() - began < 3 and camera.open_captures == 1
    camera.release()


def test_a_picture_that_comes_when_its_reader_was_left_behind_is_not_given() -> None:
    camera = VirtualCamera(rate=50, count=40, trouble=at(late=4), stall=0.4)
    frames, told, _ = run(camera, LiveSettings("every", 1, 0.2, 0.02))
    assert [one.kind for one in told] == ["stalled"]
    # The reader that came after it gave later ones in the meantime.
    assert [number_in(frame.image) for frame in frames] == [number for number in range(40) if number != 4]


def test_readers_that_are_left_behind_do_not_pile_up() -> None:
    camera = VirtualCamera(trouble=lambda number: "stall")
    with LiveSource([("camera", camera)], LiveSettings(stall_seconds=0.05, longest_wait=0.01)):
        time.sleep(1.5)
        assert camera.openings == MAX_BLOCKED
    camera.release()


def test_closing_does_not_wait_for_a_read_that_blocks() -> None:
    camera = VirtualCamera(trouble=at(stall=2))
    source = LiveSource([("camera", camera)], LiveSettings(stall_seconds=60))
    frames = iter(source)
    assert next(frames).index <= 1
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 1
    assert list(frames) == []
    camera.release()


def test_nothing_but_damage_opens_the_source_again() -> None:
    camera = VirtualCamera(count=40, trouble=lambda number: "damage" if number >= 5 else None)
    _, told, _ = run(camera, LiveSettings("every", 1, 0.2, 0.02))
    assert [one.kind for one in told[: MAX_DAMAGED + 1]] == ["damaged"] * MAX_DAMAGED + ["disconnected"]
    assert "10 damaged frames in a row" in told[MAX_DAMAGED].reason


def test_waits_grow_while_it_stays_away_and_begin_anew_when_it_was_back_for_a_while() -> None:
    camera = VirtualCamera(rate=200, trouble=at(disconnect=4))
    told: list[Fault] = []
    with LiveSource([("camera", camera)], LiveSettings(longest_wait=0.3), fault=told.append) as source:
        frames = iter(source)
        next(frames)
        camera.refusing = True
        threading.Timer(1.0, setattr, (camera, "refusing", False)).start()
        while next(frames).time is None or len(told) < 3:
            pass
        assert [one.retry_seconds for one in told[:4]] == [0.1, 0.2, 0.3, 0.3]
        assert [one.kind for one in told[:3]] == ["disconnected", "unreachable", "unreachable"]
        assert told[1].reason == "the virtual camera is unplugged"
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            number = number_in(next(frames).image)
        count = len(told)
        camera.trouble = at(disconnect=number + 20)
        while len(told) == count:
            next(frames)
        assert told[-1].retry_seconds == 0.1


def test_what_cannot_be_opened_at_first_is_an_error_at_once() -> None:
    camera = VirtualCamera()
    camera.refusing = True
    with pytest.raises(SourceError, match="unplugged"):
        LiveSource([("good", VirtualCamera()), ("camera", camera)], QUICK)


def test_a_missing_library_is_no_fault() -> None:
    def opener() -> Any:
        raise MissingDependencyError("install it")

    with pytest.raises(MissingDependencyError, match="install it"):
        LiveSource([("camera", opener)], QUICK)


def test_an_opening_that_takes_for_ever_is_not_waited_for() -> None:
    free = threading.Event()

    def opener() -> Any:
        free.wait()
        raise SourceError("late")

    began = time.monotonic()
    with pytest.raises(SourceError, match="camera did not open within"):
        LiveSource([("camera", opener)], LiveSettings(open_seconds=0.1))
    assert time.monotonic() - began < 3
    free.set()


def test_a_capture_that_is_wrong_is_told_as_it_is() -> None:
    class Wrong(VirtualCamera):
        def trouble_(self, number: int) -> str | None:
            if number == 3:
                raise ZeroDivisionError("in the capture")
            return None

    camera = Wrong()
    camera.trouble = camera.trouble_
    with (
        LiveSource([("camera", camera)], LiveSettings(keep="every")) as source,
        pytest.raises(ZeroDivisionError, match="in the capture"),
    ):
        list(source)


def test_it_is_given_up_where_that_is_asked_for() -> None:
    camera = VirtualCamera(trouble=at(disconnect=4))
    settings = LiveSettings("every", 1, 0.2, 0.02, give_up_seconds=0.3)
    told: list[Any] = []
    with LiveSource([("camera", camera)], settings, fault=told.append) as source:
        camera.trouble = lambda number: "disconnect" if number >= 4 else None
        with pytest.raises(SourceEndedError, match=r"camera was given up after 0\.\d s: camera stopped after 4"):
            list(source)
    assert told[-1].kind == "ended" and told[-1].retry_seconds is None
    lost: list[Unreadable] = []
    camera = VirtualCamera(trouble=lambda number: "disconnect" if number >= 4 else None)
    with LiveSource([("camera", camera)], settings, unreadable=lost.append) as source:
        assert len(list(source)) == 4
    assert [(one.ends, one.index) for one in lost] == [(True, 4)]


def test_media_time_goes_on_over_an_outage() -> None:
    camera = VirtualCamera(rate=50, count=20, trouble=at(disconnect=10))
    frames, _, _ = run(camera, LiveSettings(keep="every"))
    times = [frame.time for frame in frames]
    assert times[0] == 0 and times[9] == pytest.approx(9 / 50)
    assert times[10] == pytest.approx(frames[10].captured - frames[0].captured, abs=1e-6)
    assert times[10] > times[9] + 0.08


def test_several_sources_are_told_apart() -> None:
    cameras = [VirtualCamera(count=30, rate=100, channel=channel) for channel in range(3)]
    with LiveSource([(f"camera {n}", camera) for n, camera in enumerate(cameras)], QUICK) as source:
        assert source.description == "camera 0, camera 1, camera 2"
        for frame in source:
            assert int(frame.image.max(axis=(0, 1)).argmax()) == int(frame.source[-1])


def test_one_of_several_that_ends_does_not_end_the_others() -> None:
    broken = VirtualCamera(trouble=lambda number: "disconnect" if number >= 2 else None)
    other = VirtualCamera(count=40, rate=100)
    told: list[Fault] = []
    settings = LiveSettings(longest_wait=0.02, give_up_seconds=0)
    with LiveSource([("a", broken), ("b", other)], settings, fault=told.append) as source:
        seen: set[int] = set()
        with pytest.raises(SourceEndedError, match="a stopped after 2 frames"):
            for frame in source:
                if frame.source == "b":
                    seen.add(frame.index)
    assert max(seen) == 39 and [one.kind for one in told] == ["ended"]


def test_a_source_that_nobody_holds_stops_reading() -> None:
    camera = VirtualCamera(rate=100)
    source = LiveSource([("camera", camera)], QUICK)
    next(iter(source))
    del source

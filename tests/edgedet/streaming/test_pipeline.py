"""Order, errors, ends and timing of the pipeline, with stages made of sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedet.errors import FrameError, UsageError
from edgedet.pictures.frames import Frame
from edgedet.streaming.pace import Limits, Pace, Rest
from edgedet.streaming.pipeline import Pipeline, Taken

IMAGE = np.zeros((2, 2, 3), np.uint8)


class Numbers:
    """A source of ``count`` frames that take ``seconds`` each to read."""

    def __init__(
        self, count: int, seconds: float = 0.0, *, fails_at: int | None = None, live: bool = False
    ) -> None:
        self.live = live
        self.taken = 0
        self.released = False
        self.renews = True
        self.renewed = 0
        self.begun: list[float] = []
        self._count = count
        self._seconds = seconds
        self._fails_at = fails_at

    def take(self) -> Taken:
        number = self.taken
        if number == self._count:
            raise EOFError
        if number == self._fails_at:
            raise ValueError("cannot be read")
        self.begun.append(time.monotonic())
        time.sleep(self._seconds)
        self.taken += 1
        return Taken(Frame(IMAGE, str(number), number))

    def renew(self, frame: Frame) -> Frame | None:
        self.renewed += 1
        return Frame(IMAGE, frame.name, frame.index) if self.renews else None

    def refuse(self, frame: Frame, error: FrameError) -> Taken:
        raise error

    def release(self) -> None:
        self.released = True


class Work:
    """Stages that take some time; ``fails`` says where a number makes which stage fail."""

    def __init__(self, prepare: float = 0.0, run: float = 0.0, fails: tuple[str, int, Exception] | None = None):
        self._prepare = prepare
        self._run = run
        self._fails = fails
        self.buffers: dict[int, int] = {}
        self.ran: list[int] = []

    def prepare(self, frame: Frame, buffer: int) -> tuple[int, int]:
        self._stage("prepare", frame.index)
        time.sleep(self._prepare)
        self.buffers[buffer] = frame.index
        return frame.index, buffer

    def run(self, prepared: tuple[int, int]) -> int:
        index, buffer = prepared
        self._stage("run", index)
        assert self.buffers[buffer] == index, "overwritten before it ran"
        time.sleep(self._run)
        assert self.buffers[buffer] == index, "overwritten while it ran"
        self.ran.append(index)
        return index * 10

    def _stage(self, name: str, index: int) -> None:
        if self._fails is not None and self._fails[:2] == (name, index):
            raise self._fails[2]


def results(pipeline: Pipeline, each: Callable[[], Any] = lambda: None) -> list[int]:
    pipeline.start()
    found = []
    while True:
        try:
            frame, made = pipeline.next()
        except StopIteration:
            return found
        assert made == frame.index * 10
        found.append(frame.index)
        each()


@pytest.mark.parametrize("slow", ["capture", "prepare", "run", "caller", "nothing"])
def test_every_recorded_frame_comes_once_and_in_order(slow: str) -> None:
    seconds = {slow: 0.004}
    source = Numbers(50, seconds.get("capture", 0))
    work = Work(seconds.get("prepare", 0), seconds.get("run", 0))
    pipeline = Pipeline(source, work, Limits())
    assert results(pipeline, lambda: time.sleep(seconds.get("caller", 0))) == list(range(50))
    assert source.released and not any(thread.is_alive() for thread in pipeline._threads)


@pytest.mark.parametrize("stage", ["capture", "prepare", "prepare no frame", "run"])
@pytest.mark.parametrize("live", [False, True])
def test_an_error_in_any_stage_comes_after_the_results_before_it(stage: str, live: bool) -> None:
    error = FrameError("no frame") if stage == "prepare no frame" else ValueError(stage)
    source = Numbers(20, 0.001, fails_at=7 if stage == "capture" else None, live=live)
    fails = None if stage == "capture" else (stage.split(maxsplit=1)[0], 7, error)
    pipeline = Pipeline(source, Work(fails=fails), Limits())
    pipeline.start()
    found = []
    with pytest.raises((ValueError, FrameError), match="cannot be read" if stage == "capture" else str(error)):
        while True:
            found.append(pipeline.next()[0].index)
    assert found == list(range(7))
    with pytest.raises(StopIteration):
        pipeline.next()
    for thread in pipeline._threads:
        thread.join(2)
        assert not thread.is_alive()
    assert source.released


def test_stages_run_at_the_same_time() -> None:
    """Four stages of 20 ms: one after the other, 30 frames take 2.4 s."""
    began = time.monotonic()
    assert results(Pipeline(Numbers(30, 0.02), Work(0.02, 0.02), Limits()), lambda: time.sleep(0.02))
    assert time.monotonic() - began < 1.8


def test_no_frame_is_read_long_before_it_is_run() -> None:
    source, waited = Numbers(20), []
    pipeline = Pipeline(source, Work(run=0.02), Limits())
    pipeline.start()
    for number in range(20):
        pipeline.next()
        waited.append(source.taken - number)
    pipeline.close()
    # This one, the next that is being run, and one that waits.
    assert max(waited) <= 3 and source.taken == 20


def test_a_live_frame_is_taken_just_in_time() -> None:
    source = Numbers(40, live=True)
    pipeline = Pipeline(source, Work(prepare=0.005, run=0.05), Limits())
    pipeline.start()
    ages = []
    for _ in range(40):
        frame, _ = pipeline.next()
        ages.append(time.monotonic() - frame.captured)
    pipeline.close()
    # Taken when the network before it begins, it would be 0.1 s old.
    assert sorted(ages)[20] < 0.085


def test_a_live_frame_is_not_taken_long_before_a_slow_caller_asks() -> None:
    pipeline = Pipeline(Numbers(12, live=True), Work(run=0.01), Limits())
    pipeline.start()
    ages = []
    for _ in range(12):
        frame, _ = pipeline.next()
        ages.append(time.monotonic() - frame.captured)
        time.sleep(0.1)
    pipeline.close()
    assert sorted(ages)[6] < 0.06, ages


@pytest.mark.parametrize("renews", [True, False])
def test_a_frame_that_waited_for_a_slow_run_gives_way_to_a_newer_one(renews: bool) -> None:
    class Uneven(Work):
        def run(self, prepared: tuple[int, int]) -> int:
            time.sleep(0.3 if prepared[0] % 12 == 11 else 0.02)
            return super().run(prepared)

    source = Numbers(48, live=True)
    source.renews = renews
    pipeline = Pipeline(source, Uneven(), Limits())
    pipeline.start()
    ages = {}
    for _ in range(48):
        frame, made = pipeline.next()
        assert made == frame.index * 10
        ages[frame.index] = time.monotonic() - frame.captured
    pipeline.close()
    after_slow = [ages[index] for index in (12, 24, 36)]
    assert source.renewed >= 3
    assert (max(after_slow) < 0.2) == renews, after_slow


def test_closing_stops_everything() -> None:
    source = Numbers(1000, 0.001)
    work = Work(run=0.001)
    pipeline = Pipeline(source, work, Limits())
    pipeline.start()
    pipeline.next()
    pipeline.close()
    pipeline.close()
    count = len(work.ran)
    time.sleep(0.05)
    assert source.released and len(work.ran) == count < 10
    with pytest.raises(StopIteration):
        pipeline.next()


def test_closing_does_not_wait_for_a_stage_that_blocks() -> None:
    free, blocked = threading.Event(), threading.Event()

    class Blocking(Numbers):
        def take(self) -> Taken:
            if self.taken == 1:
                blocked.set()
                free.wait()
            return super().take()

    source = Blocking(5)
    pipeline = Pipeline(source, Work(), Limits())
    pipeline.start()
    pipeline.next()
    assert blocked.wait(30)
    began = time.monotonic()
    pipeline.close()
    assert time.monotonic() - began < 1
    assert not source.released
    free.set()
    pipeline._threads[0].join(2)
    assert source.released


@pytest.mark.parametrize(
    ("running", "away", "seconds"),
    [
        (False, False, 0.0),
        # The network is free when the run in progress is over.
        (True, False, 0.11 - 0.02),
        # The caller asks when its own work is done, and the run has its time until then.
        (False, True, 0.1 - 0.02),
        # It takes the result of the run in progress first.
        (True, True, 0.2 - 0.02),
    ],
)
def test_a_live_frame_is_planned_behind_what_is_under_way(running: bool, away: bool, seconds: float) -> None:
    pace = Pace()
    for estimate, value in ((pace.run, 0.01), (pace.busy, 0.01), (pace.away, 0.1), (pace.prepare, 0.008)):
        estimate.add(value)
    now = time.monotonic()
    planned = pace.begin_at(now if running else None, now if away else None) - now
    assert planned == pytest.approx(seconds if running or away else -0.01, abs=0.02)


def test_limits_are_kept() -> None:
    began = time.monotonic()
    results(Pipeline(Numbers(10), Work(), Limits(max_fps=50)))
    assert time.monotonic() - began >= 9 / 50
    began = time.monotonic()
    results(Pipeline(Numbers(10), Work(run=0.01), Limits(duty=0.25)))
    assert time.monotonic() - began >= 10 * 0.01 + 9 * 0.03


def test_rests_keep_to_a_grid() -> None:
    rest = Rest(Limits(max_fps=10))
    assert rest.until(0.0, 0.02) == pytest.approx(0.1)
    # Woken up late, it still ends on the grid.
    assert rest.until(0.105, 0.12) == pytest.approx(0.2)
    # What is a whole period late begins a new one.
    assert rest.until(0.9, 0.95) == pytest.approx(1.0)
    assert Rest(Limits(duty=0.5)).until(1.0, 1.2) == pytest.approx(1.4)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_fps": 0}, "max_fps is 0, expected frames per second, above 0"),
        ({"max_fps": "8"}, "max_fps is '8'"),
        ({"duty": 0}, "duty is 0, expected a share of the time"),
        ({"duty": 1.5}, "duty is 1.5"),
        ({"duty": float("nan")}, "duty is nan"),
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Limits(**limits)

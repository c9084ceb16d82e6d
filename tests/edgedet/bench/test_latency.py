"""Warm-up, stopping and taking turns, on a clock that only moves when work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedet.bench import latency
from edgedet.bench.latency import Rules, measure_latency, warm_up
from edgedet.bench.reference_workload import Reference
from edgedet.bench.statistics import bootstrap_centre
from edgedet.bench.throughput import measure_batches, measure_streams

FRAMES = [np.full((4, 4, 3), value, np.uint8) for value in range(10)]


class Clock:
    """Seconds that pass only by working."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """A detector whose n-th call takes ``cost(n)`` seconds."""

    def __init__(self, clock: Clock, cost: Callable[[int], float]) -> None:
        self.clock, self.cost = clock, cost
        self.seen: list[int] = []
        self.last_timing = SimpleNamespace(pre=1.0, run=5.0, post=2.0)
        self.log: list[Worker] | None = None

    def detect(self, frame: Any) -> list[int]:
        self.clock.now += self.cost(len(self.seen))
        self.seen.append(int(frame[0, 0, 0]))
        if self.log is not None:
            self.log.append(self)
        return [0] * int(frame[0, 0, 0])

    def detect_batch(self, frames: Any) -> list[list[int]]:
        return [self.detect(frame) for frame in frames]

    def close(self) -> None:
        self.closed = True


RULES = Rules(warmup_frames=4, warmup_seconds=0.1, frames=30, seconds=1.0, max_seconds=4.0)


def test_warm_up_lasts_while_frames_are_getting_faster() -> None:
    clock = Clock()
    worker = Worker(clock, lambda call: max(0.01, 0.8**call))
    report = warm_up(worker, FRAMES, replace(RULES, warmup_seconds=1.0), clock)
    assert report["settled"]
    assert report["frames"] > 20
    assert report["median_s"] == pytest.approx(0.01, rel=0.1)


def test_warm_up_ends_when_frames_never_settle() -> None:
    clock = Clock()
    report = warm_up(Worker(clock, lambda call: 0.2 * 0.9**call), FRAMES, RULES, clock)
    assert not report["settled"]
    assert RULES.max_warmup_seconds <= report["seconds"] <= RULES.max_warmup_seconds + 0.2


def test_warm_up_of_a_detector_that_takes_seconds_is_two_frames() -> None:
    clock = Clock()
    report = warm_up(Worker(clock, lambda call: 3.0), FRAMES, RULES, clock)
    assert (report["frames"], report["settled"]) == (2, False)


def test_a_steady_detector_is_measured_for_the_least_time_and_no_frame_is_dropped() -> None:
    clock = Clock()
    worker = Worker(clock, lambda call: 0.5 if call == 30 else 0.02)
    (series,), states = measure_latency([worker], FRAMES, RULES, clock=clock)
    summary = series.describe()
    assert summary["settled"]
    assert summary["max"] == pytest.approx(500.0)
    assert summary["p50"] == pytest.approx(20.0)
    resumed = RULES.resume_frames * len(series.blocks)
    assert len(worker.seen) == summary["warmup"]["frames"] + resumed + summary["frames"]
    assert 1.0 <= summary["seconds"] < 2.5
    assert len(states) == len(series.blocks) + 1


def test_the_reference_is_timed_before_every_block_and_disturbs_no_counted_frame() -> None:
    clock = Clock()
    log: list[str] = []

    def fixed_work() -> None:
        log.append("reference")
        clock.now += 0.002 * len(log)

    class Upset(Worker):
        """Slow for two frames after anything else ran."""

        def detect(self, frame: Any) -> list[int]:
            upset = "reference" in log[-2:]
            log.append("frame")
            self.clock.now += 0.1 * upset
            return super().detect(frame)

    reference = Reference("work", fixed_work, warmup=1, repeats=3)
    (series,), _ = measure_latency(
        [Upset(clock, lambda call: 0.02)], FRAMES, RULES, reference=reference, clock=clock
    )
    described = series.describe()
    assert described["reference"] == "work"
    assert described["max"] == pytest.approx(20.0)
    times = [block["reference_ms"] for block in described["blocks"]]
    assert times == sorted(times) and len(set(times)) == len(times)
    assert log.count("reference") == 4 * len(times)


def test_slow_detectors_lose_at_most_a_third_of_their_time_to_uncounted_frames() -> None:
    clock = Clock()
    worker = Worker(clock, lambda call: 0.5)
    (series,), _ = measure_latency([worker], FRAMES, RULES, clock=clock)
    uncounted = len(worker.seen) - series.warmup["frames"] - len(series.samples)
    assert uncounted == len(series.blocks) == len(series.samples) // 3


def test_an_unsteady_detector_is_measured_longer_and_said_not_to_be_settled() -> None:
    clock = Clock()
    rng = np.random.default_rng(0)
    worker = Worker(clock, lambda call: 0.02 * float(np.exp(rng.standard_normal())))
    (series,), _ = measure_latency([worker], FRAMES, RULES, clock=clock)
    assert not series.describe()["settled"]
    assert series.seconds >= 0.8 * RULES.max_seconds, "a few frames of each block are not counted"


def test_a_slow_detector_stops_at_the_time_limit_without_its_least_frames() -> None:
    clock = Clock()
    (series,), _ = measure_latency([Worker(clock, lambda call: 1.0)], FRAMES, RULES, clock=clock)
    assert 0 < len(series.samples) < RULES.frames
    assert series.seconds <= RULES.max_seconds


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("cost", [0.004, 0.02, 0.3])
def test_the_time_limit_is_of_the_clock_whatever_the_time_goes_into(
    monkeypatch: pytest.MonkeyPatch, cost: float, count: int
) -> None:
    """After every turn all blocks were drawn anew, so a bench of 60 s still ran after ten minutes."""
    clock = Clock()
    deciding = []

    def costly(series: Any, **more: Any) -> Any:
        deciding.append(0.001 * len(series))
        clock.now += deciding[-1]
        return bootstrap_centre(series, **more)

    monkeypatch.setattr(latency, "bootstrap_centre", costly)
    monkeypatch.setattr(latency, "bootstrap_paired_ratio", lambda a, b: costly(np.array(a) / np.array(b)))

    def slow_work() -> None:
        clock.now += 0.01

    rng = np.random.default_rng(0)
    rules = replace(RULES, max_seconds=20.0)
    workers = [Worker(clock, lambda call: cost * float(np.exp(rng.standard_normal()))) for _ in range(count)]
    reference = Reference("work", slow_work, repeats=5)
    series, _ = measure_latency(workers, FRAMES, rules, reference=reference, clock=clock)
    warming = sum(its.warmup["seconds"] for its in series)
    passed = clock.now - warming
    assert 0.9 * count * rules.max_seconds <= passed <= 1.1 * count * rules.max_seconds
    assert len(deciding) > 1
    assert sum(deciding) <= 0.03 * passed
    assert len({len(its.blocks) for its in series}) == 1, "each has the same turns"


def test_artifacts_take_turns_on_the_same_frames() -> None:
    clock = Clock()
    workers = [Worker(clock, lambda call: 0.02), Worker(clock, lambda call: 0.02)]
    log: list[Worker] = []
    for worker in workers:
        worker.log = log
    series, _ = measure_latency(workers, FRAMES, RULES, clock=clock)
    turns = [[block["turn"] for block in its.blocks] for its in series]
    assert turns[0] == turns[1] == list(range(len(turns[0])))
    assert series[0].detections == series[1].detections
    assert set(series[0].detections) == set(range(10)), "all frames count"
    warm = sum(its.warmup["frames"] for its in series)
    measured = log[warm:]
    firsts = [worker for index, worker in enumerate(measured) if index == 0 or measured[index - 1] is not worker]
    assert len(firsts) >= len(turns[0]), "in turns, not one after the other"


def test_turns_are_shorter_than_the_blocks_of_one_alone() -> None:
    lengths = []
    for count in (1, 2):
        clock = Clock()
        workers = [Worker(clock, lambda call: 0.01) for _ in range(count)]
        series, _ = measure_latency(workers, FRAMES, RULES, clock=clock)
        lengths.append({len(block["samples_ms"]) for its in series for block in its.blocks})
    assert lengths == [{round(RULES.block_seconds / 0.01)}, {round(RULES.turn_seconds / 0.01)}]


def test_the_stages_and_what_lies_between_them_add_up() -> None:
    clock = Clock()
    (series,), _ = measure_latency([Worker(clock, lambda call: 0.01)], FRAMES, RULES, clock=clock)
    stages = series.describe_stages([])
    assert (stages["pre"], stages["run"], stages["post"]) == (1.0, 5.0, 2.0)
    assert stages["between"] == pytest.approx(2.0)
    assert "not_measured" in stages["capture"]


def test_throughput_counts_frames_not_calls() -> None:
    clock = Clock()
    rows = measure_batches(Worker(clock, lambda call: 0.1), FRAMES, (1, 4), seconds=2.0, clock=clock)
    assert [row["frames_per_second"] for row in rows] == [pytest.approx(10.0), pytest.approx(10.0)]
    assert rows[1]["frames"] % 4 == 0


def test_streams_share_the_cores_and_are_closed_even_when_one_fails() -> None:
    opened: list[tuple[int, Worker]] = []

    def open_one(threads: int) -> Worker:
        worker = Worker(Clock(), lambda call: 0.0)
        opened.append((threads, worker))
        return worker

    rows = measure_streams(open_one, FRAMES, (1, 2), cores=4, seconds=0.01)
    assert [threads for threads, _ in opened] == [4, 2, 2]
    assert [row["streams"] for row in rows] == [1, 2]

    def broken(call: int) -> float:
        raise RuntimeError("no device")

    failing: list[Worker] = []

    def open_broken(threads: int) -> Worker:
        failing.append(Worker(Clock(), broken if failing else lambda call: 0.0))
        return failing[-1]

    with pytest.raises(RuntimeError, match="no device"):
        measure_streams(open_broken, FRAMES, (2,), cores=2, seconds=0.01)
    assert all(worker.closed for worker in failing)

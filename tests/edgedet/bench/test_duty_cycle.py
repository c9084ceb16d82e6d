"""The price of idling, on clocks of our own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.bench.duty_cycle import TURNS, duty_cycle_seconds, measure_duty_cycle

FRAMES = [np.zeros((4, 4, 3), np.uint8)] * 3


class Machine:
    """A frame takes ``frame`` seconds of the clock and of two cores; sleeping burns ``idle`` of a core."""

    def __init__(self, frame: float, idle: float) -> None:
        self.frame, self.idle = frame, idle
        self.now = self.cpu = 0.0
        self.detected = 0

    def detect(self, frame: Any) -> None:
        self.now += self.frame
        self.cpu += 2 * self.frame
        self.detected += 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.cpu += self.idle * seconds

    def measure(self, rate: float) -> dict[str, Any]:
        return measure_duty_cycle(
            self, FRAMES, rate, clock=lambda: self.now, cpu_clock=lambda: self.cpu, sleep=self.sleep
        )


def test_threads_that_sleep_cost_nothing_between_frames() -> None:
    found = Machine(0.01, idle=0).measure(5)
    assert (found["cpu_ms"], found["closed_loop_cpu_ms"], found["ratio"]) == (20, 20, 1)
    assert (found["frames_per_second"], found["frames"]) == (5, 10 * TURNS)


def test_threads_that_spin_are_seen() -> None:
    found = Machine(0.01, idle=1).measure(5)
    # 200 ms between frames, less the 10 that one takes, on a core that never sleeps.
    assert found["closed_loop_cpu_ms"] == 20 and found["cpu_ms"] == pytest.approx(20 + 190)
    assert found["ratio"] == pytest.approx(10.5)


def test_a_detector_too_slow_for_the_rate_never_idles() -> None:
    found = Machine(0.3, idle=0).measure(5)
    assert found == {"not_measured": "a frame takes 300 ms, too long for 5 frames a second"}


def test_it_takes_no_longer_than_it_says() -> None:
    machine = Machine(0.199, idle=0)
    machine.measure(5)
    assert machine.now <= duty_cycle_seconds(5) + (TURNS + 1) / 5

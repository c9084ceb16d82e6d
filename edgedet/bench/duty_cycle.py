"""The price of idling: CPU time of a frame when a camera gives a few a second, beside one frame after another.

Threads of a runtime that look for work between two frames show here, and nowhere in the latency.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from edgedet.bench.frames import Frame
from edgedet.missing_figures import not_measured

TURNS = 5
PACED_SECONDS = 2.0
"""Time of the paced part of each turn; the other part has as many frames."""
MIN_FRAMES = 5


class Detecting(Protocol):
    """What is measured."""

    def detect(self, frame: Frame) -> Any:
        """Detections of one frame."""


def duty_cycle_seconds(rate: float) -> float:
    """Limit of the time for one artifact: in each turn the closed loop is no longer than the paced part."""
    return 2 * TURNS * _paced_frames(rate) / rate


def measure_duty_cycle(
    detector: Detecting,
    frames: Sequence[Frame],
    rate: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """CPU time per frame at ``rate`` frames a second and back to back, in turns; medians over the turns.

    CPU time is of all threads of this process, that between the frames included. Where a frame takes longer than it
    may at that rate, there is no idling, and nothing is measured.
    """
    count = _paced_frames(rate)
    paced, closed = [], []
    detector.detect(frames[0])
    for turn in range(TURNS):
        shown = [frames[(turn * count + index) % len(frames)] for index in range(count)]
        before, begin = cpu_clock(), clock()
        for frame in shown:
            detector.detect(frame)
        if clock() - begin > count / rate:
            spent = (clock() - begin) / count
            return not_measured(f"a frame takes {spent * 1e3:.0f} ms, too long for {rate:g} frames a second")
        closed.append((cpu_clock() - before) / count)
        # The first paced frame waits, too: what spins behind the closed loop is not its own.
        sleep(1 / rate)
        before, begin = cpu_clock(), clock()
        for number, frame in enumerate(shown, 1):
            detector.detect(frame)
            sleep(max(0.0, begin + number / rate - clock()))
        paced.append((cpu_clock() - before) / count)
    ratio = float(np.median(paced)) / float(np.median(closed)) if all(closed) else None
    if ratio is None:
        return not_measured("the process's clock is too coarse for the CPU time of a frame")
    return {
        "frames_per_second": rate,
        "frames": count * TURNS,
        "cpu_ms": round(float(np.median(paced)) * 1e3, 4),
        "closed_loop_cpu_ms": round(float(np.median(closed)) * 1e3, 4),
        "ratio": round(ratio, 4),
    }


def _paced_frames(rate: float) -> int:
    return max(MIN_FRAMES, round(PACED_SECONDS * rate))

"""How long races last: the clock is set by hand, so that nothing depends on the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedet.calibration import speed_race

FRAME = np.zeros((1, 2, 2, 3), np.uint8)


class Track:
    """Stands for sessions that take known times, and for the clock they advance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, list[float]]) -> None:
        self.now = 0.0
        self.runs: Counter[str] = Counter()
        self._seconds = seconds
        monkeypatch.setattr(speed_race, "open_session", lambda model, threads=None: model)
        monkeypatch.setattr(speed_race, "_timed", self._timed)
        monkeypatch.setattr(speed_race.time, "monotonic", lambda: self.now)

    def models(self) -> dict[str, Any]:
        """Names stand for graphs."""
        return {name: name for name in self._seconds}

    def _timed(self, session: str, frame: object, clock: Callable[[], float]) -> float:
        times = self._seconds[session]
        spent = times[min(self.runs[session], len(times) - 1)]
        self.runs[session] += 1
        self.now += spent
        return spent * 1e3


def test_quick_networks_get_every_run_and_the_first_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = speed_race.WARM_UP + speed_race.RUNS
    times = [run / 1000 for run in range(1, runs + 1)]
    track = Track(monkeypatch, {"a": times, "b": [0.003]})
    middle = speed_race.WARM_UP + (speed_race.RUNS + 1) // 2
    assert speed_race.cpu_times(track.models(), FRAME) == {"a": middle, "b": 3.0}
    assert track.runs["a"] == track.runs["b"] == runs


def test_slow_networks_are_raced_no_longer_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    track = Track(monkeypatch, {"a": [40.0, 20.0, 21.0, 22.0], "b": [30.0]})
    assert speed_race.cpu_times(track.models(), FRAME) == {"a": 21e3, "b": 30e3}
    assert track.runs["a"] == track.runs["b"] == speed_race.MIN_TURNS + 1


def test_waiting_times_leave_out_the_first_runs_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = [run / 1000 for run in range(1, speed_race.UNCOUNTED + speed_race.COUNTED + 1)]
    track = Track(monkeypatch, {"a": turn * speed_race.TURNS, "b": [0.005]})
    middle = speed_race.UNCOUNTED + (speed_race.COUNTED + 1) // 2
    assert speed_race.wall_times(track.models(), FRAME, seconds=60) == {"a": middle, "b": 5.0}
    assert track.runs["a"] == speed_race.TURNS * len(turn)


def test_waiting_times_of_slow_networks_take_few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    track = Track(monkeypatch, {"a": [5.0], "b": [6.0]})
    assert speed_race.wall_times(track.models(), FRAME) == {"a": 5e3, "b": 6e3}
    assert track.runs["a"] == speed_race.MIN_TURNS * (speed_race.UNCOUNTED + 1)

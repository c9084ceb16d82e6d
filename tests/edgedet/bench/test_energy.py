"""Energy of a frame: of the work alone, and of one artifact alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgedet.bench import suite
from edgedet.bench.frames import load_frames
from edgedet.bench.latency import Rules, Series
from edgedet.bench.reference_workload import sorting

RULES = Rules(warmup_frames=2, warmup_seconds=0.01, frames=5, seconds=0.05, max_seconds=0.2, block_seconds=0.01)


class Bench:
    """A clock, a power meter and its log in one: idle at 4 W, warm-up at 50 W, work at 10 W.

    The log's clock runs 100 s ahead of the one that measuring goes by, as clocks may.
    """

    source, covers = "made up", "everything"

    def __init__(self) -> None:
        self.now = 0.0
        self.readings: list[tuple[float, dict[str, float]]] = []

    def spend(self, seconds: float, watts: float) -> None:
        self.readings += [(self.clock(), {"total": watts}), (self.clock() + seconds - 1e-6, {"total": watts})]
        self.now += seconds

    def clock(self) -> float:
        return self.now + 100.0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def measure(self, detectors: list[Any], *rest: Any, **options: Any) -> tuple[list[Series], list[Any]]:
        self.spend(0.3, 50.0)
        self.spend(0.2, 10.0)
        block = {"samples_ms": [50.0, 50.0, 50.0, 50.0]}
        return [Series(blocks=[block], warmup={"seconds": 0.3}, seconds=0.2) for _ in detectors], []

    def energies(self, monkeypatch: pytest.MonkeyPatch, count: int) -> list[dict[str, Any]]:
        monkeypatch.setattr(suite, "find_meter", lambda root: (self, ""))
        monkeypatch.setattr(suite, "measure_latency", self.measure)
        monkeypatch.setattr(suite, "PowerLog", lambda meter: self)
        clock = SimpleNamespace(perf_counter=lambda: self.now, sleep=lambda seconds: self.spend(seconds, 4.0))
        monkeypatch.setattr(suite, "time", clock)
        detectors: Any = [None] * count
        _, _, energies = suite._latency(
            detectors, load_frames(None), RULES, reference=sorting(), progress=None, root=Path("/")
        )
        return energies


def test_energy_leaves_out_the_warm_up_and_names_the_idle_power(monkeypatch: pytest.MonkeyPatch) -> None:
    (energy,) = Bench().energies(monkeypatch, 1)
    assert energy["idle_watts"]["total"] == pytest.approx(4.0, abs=0.01)
    assert energy["watts"]["total"] == pytest.approx(10.0, abs=0.01)
    assert energy["joules_per_frame"] == pytest.approx(0.5, abs=1e-3)  # 10 W for 50 ms


def test_artifacts_in_turns_share_no_energy_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    energies = Bench().energies(monkeypatch, 2)
    assert len(energies) == 2
    assert all("bench one alone" in energy["not_measured"] for energy in energies)

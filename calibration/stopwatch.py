"""How fast graphs are on this machine's CPU, raced against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import onnx

from edgedet.calibration.executor import open_session
from edgedet.calibration.network import Array

WARM_UP = 3


def cpu_times(models: Mapping[str, onnx.ModelProto], frame: Array, *, runs: int = 15) -> dict[str, float]:
    """Milliseconds of CPU time per run on one thread, by name: interleaved, medians.

    CPU time of a single thread hardly notices what else the machine is doing, so small differences count.
    """
    return _race(models, frame, threads=1, clock=time.thread_time, runs=runs)


def wall_times(
    models: Mapping[str, onnx.ModelProto], frame: Array, *, threads: int | None = None, runs: int = 30
) -> dict[str, float]:
    """Milliseconds per run as a user waits for them, by name: interleaved, medians."""
    return _race(models, frame, threads=threads, clock=time.perf_counter, runs=runs)


def _race(  # type: ignore[no-untyped-def]
    models: Mapping[str, onnx.ModelProto], frame: Array, *, threads: int | None, clock, runs: int
) -> dict[str, float]:
    sessions = {name: open_session(model, threads=threads) for name, model in models.items()}
    feeds = {name: {session.get_inputs()[0].name: frame} for name, session in sessions.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(WARM_UP + runs):
        for name, session in sessions.items():
            begin = clock()
            session.run(None, feeds[name])
            if turn >= WARM_UP:
                times[name].append((clock() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}

"""How fast graphs are on this machine's CPU, raced against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import onnx

from edgedet.calibration.executor import open_session
from edgedet.calibration.network import Array
from edgedet.onnx_runtime import onnxruntime

WARM_UP = 3
TURNS = 4


def cpu_times(models: Mapping[str, onnx.ModelProto], frame: Array, *, runs: int = 15) -> dict[str, float]:
    """Milliseconds of CPU time per run on one thread, by name: interleaved, medians.

    CPU time of a single thread hardly notices what else the machine is doing, so small differences count.
    """
    sessions = {name: open_session(model, threads=1) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(WARM_UP + runs):
        for name, session in sessions.items():
            spent = _timed(session, frame, time.thread_time)
            if turn >= WARM_UP:
                times[name].append(spent)
    return {name: statistics.median(values) for name, values in times.items()}


def wall_times(
    models: Mapping[str, onnx.ModelProto], frame: Array, *, threads: int | None = None, runs: int = 10
) -> dict[str, float]:
    """Milliseconds per run as a user waits for them, by name: medians of ``TURNS`` turns of ``runs`` each.

    Only one session is open at a time, as where the graph will run.
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TURNS):
        for name, model in models.items():
            session = open_session(model, threads=threads)
            spent = [_timed(session, frame, time.perf_counter) for _ in range(WARM_UP + runs)]
            times[name] += spent[WARM_UP:]
            del session
    return {name: statistics.median(values) for name, values in times.items()}


def _timed(session: onnxruntime.InferenceSession, frame: Array, clock: Callable[[], float]) -> float:
    begin = clock()
    session.run(None, {session.get_inputs()[0].name: frame})
    return (clock() - begin) * 1e3

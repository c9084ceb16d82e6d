"""How fast graphs are on this machine's CPU, raced against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import onnx

from edgedet.onnx_graph.network import Array
from edgedet.onnxruntime_import import onnxruntime
from edgedet.proof.made_proposals import strewn_inputs

from .executor import open_session

WARM_UP, RUNS = 3, 15
"""Runs for CPU time: those that do not count, and those that do."""
TURNS, UNCOUNTED, COUNTED = 8, 2, 5
"""Turns for waiting time, and the runs of each that do not count and that do: the first find another's data in the
caches."""
ENOUGH_SECONDS, MIN_TURNS = 15.0, 3
"""A race over so long ends once each has had so many counted turns: the noise is small beside runs of a second."""
TURN_SECONDS = 1.0
"""A turn of waiting time over so long ends with its first counted run."""


def cpu_times(models: Mapping[str, onnx.ModelProto], frame: Array) -> dict[str, float]:
    """Milliseconds of CPU time per run on one thread, by name: interleaved, medians.

    CPU time of a single thread hardly notices what else the machine is doing, so small differences count. Slow
    networks are raced for about ENOUGH_SECONDS, but MIN_TURNS runs at least.
    """
    sessions = {name: open_session(model, threads=1) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    begin = time.monotonic()
    for turn in range(WARM_UP + RUNS):
        if turn > MIN_TURNS and time.monotonic() - begin > ENOUGH_SECONDS:
            break
        for name, session in sessions.items():
            times[name].append(_timed(session, frame, time.thread_time))
    return {
        name: statistics.median(values[min(WARM_UP, len(values) - MIN_TURNS) :]) for name, values in times.items()
    }


def wall_times(
    models: Mapping[str, onnx.ModelProto],
    frame: Array,
    *,
    threads: int | None = None,
    turns: int = TURNS,
    seconds: float = ENOUGH_SECONDS,
) -> dict[str, float]:
    """Milliseconds per run as a user waits for them, by name: medians of ``turns`` short turns.

    Turns follow one another without a pause, so that a slow moment of the machine falls on all alike. Slow
    networks are raced for about ``seconds``, but MIN_TURNS turns at least.
    """
    sessions = {name: open_session(model, threads=threads) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    begin = time.monotonic()
    for turn in range(turns):
        if turn >= MIN_TURNS and time.monotonic() - begin > seconds:
            break
        for name in list(sessions)[:: 1 if turn % 2 else -1]:
            spent: list[float] = []
            while len(spent) <= UNCOUNTED or (len(spent) < UNCOUNTED + COUNTED and sum(spent) < TURN_SECONDS * 1e3):
                spent.append(_timed(sessions[name], frame, time.perf_counter))
            times[name] += spent[UNCOUNTED:]
    return {name: statistics.median(values) for name, values in times.items()}


def _timed(session: onnxruntime.InferenceSession, frame: Array, clock: Callable[[], float]) -> float:
    shapes = {value.name: tuple(value.shape) for value in session.get_inputs()}
    inputs = strewn_inputs(shapes) | {next(iter(shapes)): frame}
    begin = clock()
    session.run(None, inputs)
    return (clock() - begin) * 1e3

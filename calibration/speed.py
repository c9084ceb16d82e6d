"""Which units gain time in INT8 on this machine: found by measuring, since no rule holds for two CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx

from edgedet.machine.hardware import describe_machine
from edgedet.onnx_graph.network import Array, Network

from .dialect import Build, Dialect, Unit
from .fitting import rough_fit
from .measurement_cache import Ledger, digest_of
from .observe import Progress, silent
from .qdq import Writer
from .speed_race import cpu_times, wall_times

SEGMENTS = 6
"""Runs of consecutive units that are tried in float; INT8 pays in stretches, since every border costs a pair."""
MAX_TIME_SHARE = 0.985
"""A change must save 1.5 %, or noise would decide."""
MAX_ROUGH_TIME_SHARE = 0.95
"""Share of fp32's time from which INT8 is not worth its loss of accuracy, nor the search for it."""


def fastest_roughly(
    dialect: Dialect,
    network: Network,
    units: Sequence[Unit],
    frame: Array,
    *,
    cache: Path | None,
    threads: int | None,
    progress: Progress,
) -> list[Unit]:
    """The units that are quicker in INT8 on this machine, found on a roughly fitted graph.

    What the race came to is kept in ``cache``, for this graph and this CPU.
    """
    layers = [layer for unit in units for layer in unit.layers]
    tensors = dialect.tensors(network, units)

    def race() -> list[str]:
        rough = rough_fit(network, frame, layers, tensors, kind=dialect.kind, weight_bits=dialect.weight_bits)

        def build(some: Sequence[Unit]) -> onnx.ModelProto:
            return dialect.place(network, rough, some, Writer(network.copy())).model

        chosen = fastest(units, build, frame, progress=progress)
        if chosen:
            # CPU time told them apart; what a user waits for is on all cores.
            times = wall_times({"fp32": network.model, "int8": build(chosen)}, frame, threads=threads)
            if times["int8"] > MAX_ROUGH_TIME_SHARE * times["fp32"]:
                chosen = []
        return [unit.name for unit in chosen]

    graph = network.graph.SerializeToString(deterministic=True)
    machine = asdict(describe_machine().cpu)
    ledger = Ledger(cache, digest_of("race", graph, dialect.name, dialect.weight_bits, machine))
    names = set(ledger.figure("paying units", race))
    return [unit for unit in units if unit.name in names]


def fastest(
    units: Sequence[Unit],
    build: Build,
    frame: Array,
    *,
    progress: Progress = silent,
) -> list[Unit]:
    """The units to run in INT8 for the least time; none where float is as fast.

    ``build`` makes the graph with some units in INT8. Whole families are raced first, then stretches of the winner
    are given back one by one as long as that saves time.
    """
    plans: dict[str, list[Unit]] = {
        "float": [],
        "everything": list(units),
        "dense layers": [unit for unit in units if not unit.layers[0].depthwise],
        "matrix products": [unit for unit in units if unit.layers[0].op_type in ("Gemm", "MatMul")],
    }
    distinct: dict[tuple[str, ...], str] = {}
    for name, plan in plans.items():
        distinct.setdefault(tuple(unit.name for unit in plan), name)
    times = cpu_times({name: build(plans[name]) for name in distinct.values()}, frame)
    progress("speed", 1, SEGMENTS + 1)
    best = min(times, key=lambda name: times[name] if name != "float" else times[name] * MAX_TIME_SHARE)
    chosen, time_of_chosen = plans[best], times[best]
    if not chosen:
        return []
    for index, segment in enumerate(segments(chosen)):
        rest = [unit for unit in chosen if unit not in segment]
        if rest:
            pair = cpu_times({"with": build(chosen), "without": build(rest)}, frame)
            if pair["without"] < MAX_TIME_SHARE * pair["with"]:
                chosen, time_of_chosen = rest, pair["without"]
        progress("speed", index + 2, SEGMENTS + 1)
    return chosen if time_of_chosen < MAX_TIME_SHARE * times["float"] else []


def segments(units: Sequence[Unit]) -> list[list[Unit]]:
    """At most ``SEGMENTS`` runs of consecutive units."""
    size = max(-(-len(units) // SEGMENTS), 1)
    return [list(units[start : start + size]) for start in range(0, len(units), size)]

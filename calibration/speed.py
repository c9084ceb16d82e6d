"""Which units gain time in INT8 on this machine: found by measuring, since no rule holds for two CPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx

from edgedet.onnx_graph.network import Array

from .dialect import Unit
from .observe import Progress, silent
from .stopwatch import cpu_times

SEGMENTS = 6
"""Runs of consecutive units that are tried in float; INT8 pays in stretches, since every border costs a pair."""
WORTH = 0.985
"""A change must save 1.5 %, or noise would decide."""


def fastest(
    units: Sequence[Unit],
    build: Callable[[Sequence[Unit]], onnx.ModelProto],
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
    best = min(times, key=lambda name: times[name] if name != "float" else times[name] * WORTH)
    chosen, time_of_chosen = plans[best], times[best]
    if not chosen:
        return []
    for index, segment in enumerate(segments(chosen)):
        rest = [unit for unit in chosen if unit not in segment]
        if rest:
            pair = cpu_times({"with": build(chosen), "without": build(rest)}, frame)
            if pair["without"] < WORTH * pair["with"]:
                chosen, time_of_chosen = rest, pair["without"]
        progress("speed", index + 2, SEGMENTS + 1)
    return chosen if time_of_chosen < WORTH * times["float"] else []


def segments(units: Sequence[Unit]) -> list[list[Unit]]:
    """At most ``SEGMENTS`` runs of consecutive units."""
    size = max(-(-len(units) // SEGMENTS), 1)
    return [list(units[start : start + size]) for start in range(0, len(units), size)]

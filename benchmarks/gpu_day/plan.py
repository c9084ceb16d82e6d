"""Which steps there are, and in which order: what decides most comes first, since the time may not do for all."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgedet.artifacts.card import Precision
from gpu_day.inputs import Graph, Inputs
from gpu_day.sequence import Step

PRECISIONS: tuple[Precision, ...] = ("fp16", "int8", "fp32")
"""By what they decide: fp16 is what a GPU is bought for, int8 what is claimed; fp32 is the reference."""
MEASURED = 2
"""Number of detectors, first ones first, that everything is measured of; of the others what is left time for."""
ENGINE_SECONDS, SELFTEST_SECONDS = 120, 60


def plan(inputs: Inputs, *, work: Path, library: str, engines: Sequence[Path] = ()) -> list[Step]:
    """The steps of a run. ``engines``: the user's own, whose cost of ``detect`` is measured as well."""

    def step(kind: str, name: str, does: str, limit: float, least: float = 5.0) -> Step:
        words = [sys.executable, "-m", "gpu_day.step", kind, name, "--inputs", str(inputs.folder)]
        command = (*words, "--work", str(work), "--library", library)
        return Step(kind if kind == name else f"{kind} {name}", does, command, limit, least)

    def engine(graph: Graph) -> Iterator[Step]:
        does = "building, replaying the golden input, reading the layers' precisions"
        yield step("engine", graph.name, does, ENGINE_SECONDS, least=10)
        if graph.pictures is not None:
            yield step("accuracy", graph.name, "parity and mAP against the graph", 45)

    def end_to_end(graph: Graph) -> Step:
        return step("end-to-end", graph.name, "detect() beside the bare network", 30)

    def steps() -> Iterator[Step]:
        yield step("machine", "machine", "looking for GPU, driver and libraries", 30)
        yield step("kernels", "kernels", "CUDA kernels against the host", 75)
        yield step("selftest", "selftest", "a first engine, of two convolutions", SELFTEST_SECONDS)
        main = detectors[:MEASURED]
        for precision in PRECISIONS[:2]:
            for detector in main:
                for graph in of(detector, precision):
                    yield from engine(graph)
        for detector in main:
            yield from map(end_to_end, of(detector, "fp16"))
        for detector in detectors:
            if detector in inputs.checkpoints:
                for graph in of(detector, "fp16"):
                    yield step("torchvision", graph.name, "beside torchvision on this GPU", 60)
        yield step("kernel-speed", "kernel-speed", "what preparing, finishing and NMS cost", 45)
        for path in engines:
            yield step("given", str(path.resolve()), "detect() beside the bare network", 30)
        for detector in main:
            yield step("latency", detector, "the latency suite", 45, least=20)
        for precision in PRECISIONS:
            for detector in detectors:
                if detector not in main or precision not in PRECISIONS[:2]:
                    for graph in of(detector, precision):
                        yield from engine(graph)
        for detector in main:
            yield from map(end_to_end, of(detector, "int8"))
        for detector in detectors[MEASURED:]:
            yield step("latency", detector, "the latency suite", 45, least=20)
        for name in inputs.left_out:
            yield step("left-out", name, "a graph that was not prepared", 10, least=0)

    def of(detector: str, precision: Precision) -> list[Graph]:
        return [graph for graph in inputs.graphs if (graph.detector, graph.precision) == (detector, precision)]

    # Judged ones before those with random weights, in the order they were prepared in.
    ranked = sorted(inputs.graphs, key=lambda graph: graph.pictures is None)
    detectors = list(dict.fromkeys(graph.detector for graph in ranked))
    return list(steps())

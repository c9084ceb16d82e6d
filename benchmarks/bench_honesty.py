"""Is the benchmark itself honest? What it costs, whether it sees changes that are not there, and those that are.

Three questions, on one artifact and real frames:

1. Does measuring change what is measured? p50 of the suite against a bare loop around ``detect``, in turns.
   Bar: within 2 %.
2. Does an artifact compare as unchanged with itself? Bar: in 19 of 20 comparisons, made either way.
3. Is an artifact that is made 10 % slower (by busy waiting) called slower? Bar: always where measured in turns, in
   19 of 20 runs made apart.

Comparisons are made in both ways: of two artifacts measured in turns in one run, and of two runs made apart, one
after the other. Beside them, any two of all those runs are compared, and what p50 alone would have said of them.

    python benchmarks/bench_honesty.py ARTIFACT --frames FOLDER
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import Detector
from edgedet.bench.compare import MIN_EFFECT_APART, compare_artifacts
from edgedet.bench.frames import Frame, load_frames
from edgedet.bench.latency import FRAME_STRIDE, Rules, measure_latency
from edgedet.bench.measured_latency import Latency
from edgedet.bench.reference_workload import Reference, reference_for
from edgedet.bench.statistics import bootstrap_paired_ratio
from edgedet.files import atomic_path

SLOWDOWN = 0.10


@dataclass(frozen=True)
class Entry:
    """One artifact of a run, as far as it is compared."""

    name: str
    latency: Latency

    def to_json(self) -> dict[str, Any]:
        """As a result has it."""
        return {"name": self.name, "latency": self.latency.to_json()}


class Slowed:
    """A detector whose every frame takes ``SLOWDOWN`` longer."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    @property
    def last_timing(self) -> Any:
        return self._detector.last_timing

    def detect(self, frame: Frame) -> Any:
        begin = time.perf_counter()
        found = self._detector.detect(frame)
        end = begin + (time.perf_counter() - begin) * (1 + SLOWDOWN)
        while time.perf_counter() < end:
            pass
        return found


def bare_loop(detector: Detector, frames: Sequence[Frame], *, first: int, length: int) -> float:
    """What anybody would write: the median of ``length`` frames, ms."""
    times = []
    for step in range(length):
        frame = frames[(first + step) % len(frames)]
        begin = time.perf_counter()
        detector.detect(frame)
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1e3


def own_cost(detector: Detector, frames: Sequence[Frame], reference: Reference, rounds: int) -> dict[str, Any]:
    """Short blocks of the suite and of the bare loop in turns, on the same frames, order swapped every round."""
    rules = Rules(
        warmup_frames=2, warmup_seconds=1e-3, frames=1, seconds=1e-3, max_seconds=1e-3, block_seconds=0.05
    )
    suite, bare = [], []

    def by_the_suite(shifted: Sequence[Frame]) -> int:
        (series,), _ = measure_latency([detector], shifted, rules, reference=reference)
        suite.append(float(np.median(series.samples)))
        return len(series.samples)

    length = by_the_suite(frames)
    suite.clear()
    for turn in range(rounds):
        places = (np.arange(len(frames)) + turn * FRAME_STRIDE) % len(frames)
        shifted = [frames[place] for place in places]
        for which in ("suite", "bare")[:: 1 if turn % 2 else -1]:
            if which == "suite":
                by_the_suite(shifted)
            else:
                # The suite warms up before it measures, so the bare loop does too.
                bare_loop(detector, shifted, first=0, length=2 * rules.warmup_frames)
                bare.append(bare_loop(detector, shifted, first=0, length=length))
    ratio = bootstrap_paired_ratio(bare, suite)
    return {
        "suite_p50_ms": round(float(np.median(suite)), 4),
        "bare_p50_ms": round(float(np.median(bare)), 4),
        "ratio": round(ratio.value, 5),
        "interval": [round(ratio.low, 5), round(ratio.high, 5)],
        "rounds": rounds,
        "kept": abs(ratio.value - 1) <= 0.02,
    }


def verdicts(
    detector: Detector,
    frames: Sequence[Frame],
    reference: Reference,
    *,
    repeats: int,
    seconds: float,
    save: Path | None,
) -> dict[str, Any]:
    """``repeats`` runs of the artifact, itself again, and itself slowed; every verdict counted.

    ``save``: a folder for what was measured, so that other rules for verdicts can be tried on the same runs.
    """
    rules = Rules(seconds=seconds, max_seconds=2 * seconds)
    counts = {
        name: Counter[str]() for name in ("same, in turns", "slowed, in turns", "same, apart", "slowed, apart")
    }
    resolutions = []
    runs: list[tuple[Entry, Entry]] = []
    for repeat in range(repeats + 1):
        series, _ = measure_latency([detector, detector, Slowed(detector)], frames, rules, reference=reference)
        entries = [Entry(name, Latency.from_json(its.describe())) for name, its in zip("abs", series, strict=True)]
        first, same, slowed = entries
        if save is not None:
            with atomic_path(save / f"{repeat:02d}.json") as temporary:
                temporary.write_text(
                    json.dumps({"first": first.to_json(), "same": same.to_json(), "slowed": slowed.to_json()})
                )
        if repeat < repeats:
            for name, other in (("same, in turns", same), ("slowed, in turns", slowed)):
                comparison = compare_artifacts(first, other, same_run=True)
                counts[name][comparison.verdict] += 1
                resolutions.append(comparison.resolution)
        if runs:
            for name, other in (("same, apart", first), ("slowed, apart", slowed)):
                counts[name][compare_artifacts(runs[-1][0], other, same_run=False).verdict] += 1
        runs.append((first, slowed))
        shares = [block.others_cpu_share or 0.0 for block in first.latency.blocks]
        print(
            f"{repeat + 1}/{repeats + 1}: p50 {first.latency.p50:.2f}, {same.latency.p50:.2f}, "
            f"slowed {slowed.latency.p50:.2f} ms; others used {np.median(shares):.0%} of the CPUs",
            flush=True,
        )
    return {
        "repeats": repeats,
        "verdicts": {name: dict(counter) for name, counter in counts.items()},
        "median_resolution_in_turns": round(float(np.median(resolutions)), 4),
        "any_two_runs": any_two(runs),
        "kept": min(counts[way]["no change"] for way in ("same, in turns", "same, apart")) >= 0.95 * repeats
        and counts["slowed, in turns"]["slower"] == repeats
        and counts["slowed, apart"]["slower"] >= 0.95 * repeats,
    }


def any_two(runs: Sequence[tuple[Entry, Entry]]) -> dict[str, dict[str, int]]:
    """Verdicts on all ordered pairs of runs (the artifact, itself slowed), and those of p50 alone."""
    counts = {name: Counter[str]() for name in ("same", "slowed", "same, p50 alone", "slowed, p50 alone")}
    for (before, _), (same, slowed) in itertools.permutations(runs, 2):
        for name, after in (("same", same), ("slowed", slowed)):
            counts[name][compare_artifacts(before, after, same_run=False).verdict] += 1
            ratio = after.latency.p50 / before.latency.p50
            alone = "slower" if ratio >= 1 + MIN_EFFECT_APART else "faster"
            counts[f"{name}, p50 alone"][
                alone if abs(np.log(ratio)) >= np.log1p(MIN_EFFECT_APART) else "no change"
            ] += 1
    return {name: dict(counter) for name, counter in counts.items()}


def main() -> int:
    """Answer the three questions and print them as JSON; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--frames", help="dataset, folder or video; synthetic scenes without it")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=400, help="of the suite against the bare loop")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each artifact in each repeat, at least")
    parser.add_argument("--save", type=Path, help="folder for every run's figures")
    arguments = parser.parse_args()
    frames = load_frames(arguments.frames).frames
    with Detector(arguments.artifact) as detector:
        detector.warmup(10)
        reference = reference_for([detector.device], None)
        result = {
            "artifact": arguments.artifact.name,
            "runtime": detector.description,
            "own_cost": own_cost(detector, frames, reference, arguments.rounds),
        }
        print(json.dumps(result["own_cost"]), flush=True)
        result["verdicts"] = verdicts(
            detector,
            frames,
            reference,
            repeats=arguments.repeats,
            seconds=arguments.seconds,
            save=arguments.save,
        )
    print(json.dumps(result, indent=1))
    return int(not (result["own_cost"]["kept"] and result["verdicts"]["kept"]))


if __name__ == "__main__":
    raise SystemExit(main())

"""Verdicts: slower, faster, no change, and the courage to say undecided."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from edgedet.bench.compare import Comparison, compare_artifacts, differences, other_machine
from edgedet.bench.measured_latency import Latency
from edgedet.bench.measured_parts import BenchResult
from tests.edgedet.report.results import bench


def artifact(
    name: str,
    milliseconds: Any,
    *,
    reference: Any = 2.0,
    work: str | None = None,
    others: float = 0.0,
    frames: int = 5,
) -> dict[str, Any]:
    """One entry of a result, a block for each of ``milliseconds``; ``work``: what its reference times are of."""
    fixed = np.broadcast_to(reference, len(milliseconds))
    blocks = [
        {
            "turn": turn,
            "begin_s": float(turn),
            "reference_ms": float(fixed[turn]),
            "others_cpu_share": others,
            "samples_ms": [float(value)] * frames,
        }
        for turn, value in enumerate(milliseconds)
    ]
    latency = {"p50": float(np.median(milliseconds)), "blocks": blocks}
    return {"name": name, "latency": latency if work is None else latency | {"reference": work}}


def noisy(centre: float, noise: float, seed: int, blocks: int = 40) -> Any:
    return centre * np.exp(noise * np.random.default_rng(seed).standard_normal(blocks))


@dataclass(frozen=True)
class Entry:
    name: str
    latency: Latency


def compared(before: dict[str, Any], after: dict[str, Any], **rules: Any) -> Comparison:
    """Two of :func:`artifact` compared; what else a latency holds says nothing here."""
    rest = dict.fromkeys(
        (
            "frames",
            "p90",
            "p95",
            "p99",
            "mean",
            "min",
            "max",
            "jitter",
            "p50_interval",
            "settled",
            "seconds",
            "warmup",
        )
    )
    entries = [Entry(each["name"], Latency.from_json(rest | each["latency"])) for each in (before, after)]
    return compare_artifacts(*entries, **rules)


@pytest.mark.parametrize(("factor", "verdict"), [(1.10, "slower"), (1 / 1.10, "faster"), (1.0, "no change")])
def test_ten_per_cent_show_through_a_machine_that_comes_and_goes(factor: float, verdict: str) -> None:
    machine = np.repeat(np.exp(0.6 * np.random.default_rng(0).standard_normal(8)), 5)
    before = artifact("a", machine * noisy(10, 0.03, 1))
    after = artifact("b", machine * noisy(10 * factor, 0.03, 2))
    comparison = compared(before, after, same_run=True)
    assert comparison.verdict == verdict
    assert comparison.paired


def test_comparing_an_artifact_with_itself_finds_nothing_in_nineteen_of_twenty() -> None:
    changed = 0
    for seed in range(60):
        before = artifact("a", noisy(10, 0.08, 2 * seed))
        after = artifact("a", noisy(10, 0.08, 2 * seed + 1))
        changed += compared(before, after, same_run=False).verdict != "no change"
    assert changed <= 3


def test_a_certain_but_tiny_change_is_no_change() -> None:
    before, after = artifact("a", noisy(10, 0.001, 0)), artifact("a", noisy(10.1, 0.001, 1))
    for same_run, least in ((True, "3%"), (False, "5%")):
        comparison = compared(before, after, same_run=same_run)
        assert comparison.verdict == "no change"
        assert f"below {least}" in comparison.reason
        assert comparison.ratio.low > 1


def test_the_smallest_change_that_is_seen_is_no_smaller_than_what_is_asked_for() -> None:
    before, after = artifact("a", noisy(10, 0.001, 0)), artifact("a", noisy(10, 0.001, 1))
    assert compared(before, after, same_run=True).resolution == 0.03
    assert compared(before, after, same_run=False).resolution == 0.05
    assert compared(before, after, same_run=False, min_effect=0.2).resolution == 0.2


def test_of_runs_made_apart_the_quiet_moments_count() -> None:
    """Disturbed for half of the time, as by another virtual machine, which no counter of this one shows."""
    disturbed = np.where(np.arange(40) % 10 < 5, 1.5, 1.0)
    calm = artifact("a", noisy(10, 0.01, 0))
    busy = artifact("a", noisy(10, 0.01, 1) * disturbed)
    assert compared(calm, busy, same_run=False).verdict == "no change"
    assert compared(calm, busy, same_run=True).ratio.value > 1.1
    slower = artifact("a", noisy(11, 0.01, 2) * disturbed)
    assert compared(calm, slower, same_run=False).verdict == "slower"
    assert compared(slower, calm, same_run=False).verdict == "faster"


def test_the_machine_is_suspected_before_the_artifact() -> None:
    before, after = artifact("a", noisy(10, 0.01, 0)), artifact("a", noisy(15, 0.01, 1), reference=3.0)
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "undecided"
    assert "+50%" in comparison.reason
    assert "edgedet bench A B" in comparison.reason


def test_a_disturbed_run_gives_no_verdict_unless_it_has_enough_quiet_blocks() -> None:
    before = artifact("a", noisy(10, 0.01, 0))
    after = artifact("a", noisy(20, 0.01, 1), others=0.4)
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "undecided"
    assert "40%" in comparison.reason
    for block in after["latency"]["blocks"][:25]:
        block["others_cpu_share"] = 0.0
        block["samples_ms"] = [10.0] * 5
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "no change"
    assert "25 of 40" in comparison.reason


def test_too_few_blocks_give_no_verdict_and_what_would_be_missed_is_said() -> None:
    comparison = compared(artifact("a", [10.0] * 5), artifact("a", [20.0] * 5), same_run=True)
    assert comparison.verdict == "undecided"
    assert "only 5 blocks" in comparison.reason
    wide = compared(artifact("a", noisy(10, 0.3, 0)), artifact("a", noisy(10, 0.3, 1)), same_run=True)
    assert wide.verdict == "no change"
    assert wide.resolution > 0.1


def test_blocks_are_paired_by_their_round() -> None:
    before, after = artifact("a", noisy(10, 0.5, 0)), artifact("b", noisy(10, 0.5, 0) * 1.2)
    after["latency"]["blocks"] = after["latency"]["blocks"][5:][::-1]
    assert compared(before, after, same_run=True).ratio.value == pytest.approx(1.2)


def test_the_least_effect_counts_for_faster_as_it_does_for_slower() -> None:
    before = artifact("a", noisy(10, 0.001, 0))
    after = artifact("a", noisy(9.9, 0.001, 1))
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "no change" and comparison.ratio.high < 1
    assert compared(before, after, same_run=False, min_effect=0.005).verdict == "faster"


def test_a_large_change_that_is_not_certain_is_no_change() -> None:
    spread = np.tile([2.0, 40.0], 15)
    before, after = artifact("a", [10.0] * 30), artifact("b", spread)
    for first, second in ((before, after), (after, before)):
        comparison = compared(first, second, same_run=True)
        assert comparison.verdict == "no change" and "holds zero" in comparison.reason


@pytest.mark.parametrize("disturbed", ["before", "after"])
def test_either_run_may_be_the_disturbed_one(disturbed: str) -> None:
    shares = {"before": 0.0, "after": 0.0} | {disturbed: 0.4}
    before = artifact("a", noisy(10, 0.01, 0), others=shares["before"])
    after = artifact("a", noisy(20, 0.01, 1), others=shares["after"])
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "undecided" and "other processes used" in comparison.reason


def test_a_machine_that_became_faster_is_suspected_too() -> None:
    before, after = artifact("a", noisy(15, 0.01, 0), reference=3.0), artifact("a", noisy(10, 0.01, 1))
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "undecided" and "-33%" in comparison.reason


@pytest.mark.parametrize("counts", [(30, 5), (5, 30)])
def test_the_run_with_fewer_blocks_decides_whether_they_are_enough(counts: tuple[int, int]) -> None:
    before, after = (artifact("a", noisy(10, 0.01, seed, blocks)) for seed, blocks in enumerate(counts))
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "undecided" and "only 5 blocks" in comparison.reason


def restless(seed: int, factor: float, power: float, *, blocks: int = 60) -> tuple[Any, Any]:
    """How many times longer detections and the reference network take on a machine that comes and goes."""
    rng = np.random.default_rng(seed)
    speed = np.log(factor) + np.repeat(0.05 * rng.standard_normal(blocks // 5), 5)
    return np.exp(power * speed), np.exp(speed)


@pytest.mark.parametrize("power", [0.7, 0.85, 1.0])
@pytest.mark.parametrize(("slowed", "verdict"), [(1.0, "no change"), (1.1, "slower"), (1 / 1.1, "faster")])
def test_what_the_reference_network_tells_of_the_machine_is_taken_out(
    slowed: float, verdict: str, power: float
) -> None:
    quick, quick_reference = restless(0, 1.0, power)
    tired, tired_reference = restless(1, 1.1, power)
    quick, tired = quick * noisy(10, 0.01, 2, 60), tired * noisy(10 * slowed, 0.01, 3, 60)
    before = artifact("a", quick, reference=2 * quick_reference, work="network")
    after = artifact("a", tired, reference=2 * tired_reference, work="network")
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == verdict
    assert comparison.ratio.low < slowed < comparison.ratio.high
    assert comparison.machine is not None and 1.1 < comparison.machine < 1.2
    assert "the reference network took +1" in comparison.reason
    back = compared(after, before, same_run=False)
    assert back.verdict == {"slower": "faster", "faster": "slower"}.get(verdict, verdict)


def test_the_more_the_machine_changed_the_less_is_certain() -> None:
    def width(factor: float) -> float:
        before = artifact("a", noisy(10, 0.01, 0), reference=noisy(2, 0.01, 1), work="network")
        after = artifact("a", factor * noisy(10, 0.01, 2), reference=factor * noisy(2, 0.01, 3), work="network")
        return compared(before, after, same_run=False).ratio.relative_half_width

    assert width(1.0) < width(1.1) < width(1.2)
    assert width(1.2) == pytest.approx(width(1.0) + 0.25 * np.log(1.2), rel=0.2)


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "no change"), (1.3, "undecided"), (1 / 1.3, "undecided")])
def test_a_machine_that_changed_beyond_the_references_reach_gives_no_verdict(factor: float, verdict: str) -> None:
    before = artifact("a", noisy(10, 0.01, 0), reference=noisy(2, 0.01, 1), work="network")
    after = artifact("a", noisy(10 * factor, 0.01, 2), reference=noisy(2 * factor, 0.01, 3), work="network")
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == verdict
    assert ("the machine itself changed" in comparison.reason) == (verdict == "undecided")
    assert ("taken out" in comparison.reason) == (verdict != "undecided")


@pytest.mark.parametrize("works", [(None, "network"), ("network", None), ("network, 1.30", "network, 1.31")])
def test_where_the_reference_works_differ_nothing_tells_the_machine_from_the_artifact(works: Any) -> None:
    before = artifact("a", noisy(10, 0.01, 0), reference=2.0, work=works[0])
    after = artifact("a", noisy(14, 0.01, 1), reference=0.8, work=works[1])
    comparison = compared(before, after, same_run=False)
    assert comparison.verdict == "undecided" and comparison.machine is None
    assert (
        "the fixed work beside the frames differs" in comparison.reason and "edgedet bench A B" in comparison.reason
    )


def test_another_machine_gives_no_verdict() -> None:
    before, after = artifact("a", noisy(10, 0.01, 0)), artifact("a", noisy(14, 0.01, 1))
    elsewhere = other_machine(
        outcome(), outcome(machine__cpu__model="B", machine__cpu__cores=2, frames__source="x")
    )
    assert elsewhere == "the processor: A before, B after; the cores: 4 before, 2 after"
    comparison = compared(before, after, same_run=False, elsewhere=elsewhere)
    assert comparison.verdict == "undecided" and "the processor: A before" in comparison.reason
    assert other_machine(outcome(), outcome(frames__source="x", rules__threads=2)) is None
    first, second = (outcome(machine__gpus=[{"name": "X", "driver": driver}]) for driver in ("1", "2"))
    assert other_machine(first, second) is None and len(differences(first, second)) == 1


def outcome(**changes: Any) -> BenchResult:
    """A result for :func:`differences` to look at; ``changes`` by dotted names with ``__`` for the dots."""
    result = copy.deepcopy(bench("a", 10.0, architecture="x"))
    board = {"model": "Board", "l4t": "36.4", "jetpack": "6", "power_mode": "15W"}
    start = {
        "machine__cpu__model": "A",
        "machine__cpu__cores": 4,
        "machine__jetson": board,
        "frames__source": "photos",
    }
    for names, value in (start | {"during__throttled": False} | changes).items():
        *path, last = names.split("__")
        place = result
        for name in path:
            place = place[name]
        place[last] = value
    result["machine"]["gpus"] = [
        {"compute_capability": None, "memory_mib": 0} | gpu for gpu in result["machine"]["gpus"]
    ]
    return BenchResult.from_json(result)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine__cpu__model": "B"}, "the processor: A before, B after"),
        ({"machine__cpu__cores": 2}, "the cores: 4 before, 2 after"),
        ({"machine__gpus": [{"name": "X", "driver": "1"}]}, "the GPUs: none before, X (driver 1) after"),
        ({"machine__jetson__power_mode": "MAXN"}, "the power mode: 15W before, MAXN after"),
        ({"machine__jetson": None}, "the power mode: 15W before, None after"),
        ({"machine__clocks__governor": "powersave"}, "the governor: performance before, powersave after"),
        ({"frames__source": "video.mp4"}, "the frames: photos before, video.mp4 after"),
        ({"rules__threads": 2}, "--threads: None before, 2 after"),
        ({"during__throttled": True}, "throttling: False before, True after"),
    ],
)
def test_whatever_else_differs_is_named(change: dict[str, Any], words: str) -> None:
    assert differences(outcome(), outcome(**change)) == [words]
    assert differences(outcome(**change), outcome(**change)) == []

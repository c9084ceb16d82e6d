"""Is one artifact slower than another, or was it the machine? Verdicts on two benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from edgedet.bench.measured_conditions import MeasuredMachine
from edgedet.bench.measured_latency import Block, Latency
from edgedet.bench.measured_parts import BenchResult
from edgedet.bench.reference_workload import SORTING
from edgedet.bench.statistics import (
    CONFIDENCE,
    MIN_SERIES,
    Interval,
    bootstrap_paired_ratio,
    bootstrap_ratio,
    bootstrap_relative_ratio,
)
from edgedet.machine.state import QUIET_SHARE
from edgedet.missing_figures import explained

Verdict = Literal["slower", "faster", "no change", "undecided"]

MIN_EFFECT = 0.03
"""Minimum change for a verdict in one run: a rebuilt binary moves by as much (Mytkowicz et al., ASPLOS 2009)."""
MIN_EFFECT_APART = 0.05
"""The same for separate runs: from one minute to the next, a machine at rest itself moves by 2 to 4 %."""

MIN_BLOCKS = 20
"""Minimum number of blocks for a verdict; the interval of fewer is too narrow."""

MACHINE_DRIFT = 0.05
"""Maximum change of a fixed sort between two runs that are taken to be of one machine."""

FOLLOWS = (0.6, 1.1)
"""Lowest and highest exponent: where the reference network slows down by a factor, detectors do by a power of it.
0.7 to 1.0 was measured of SSDLite, YOLOX and Faster R-CNN on a machine whose speed changed by up to 60 % (least
squares, windows of 15 and 30 s); a tenth more either way is for detectors that were not."""
NETWORK_DRIFT = 0.25
"""Maximum change of the reference network; beyond it, the rest reflects the machine more than the artifact."""

ADVICE = "bench both artifacts in one run (`edgedet bench A B --json both.json`) and compare that file"


@dataclass(frozen=True)
class Comparison:
    """Whether one artifact is slower than another.

    Attributes:
        before: name of the first artifact.
        after: name of the second artifact.
        p50_before: median latency of the first, in milliseconds.
        p50_after: median latency of the second, in milliseconds.
        ratio: ``after / before`` of typical block medians. For separate runs, of quiet moments and without what
            the machine's own change explains. None where fewer than ``MIN_SERIES`` blocks of each can be compared.
        min_effect: share below which a change counts as none.
        verdict: ``slower``, ``faster``, ``no change`` or ``undecided``.
        machine: factor by which the reference work took longer in quiet moments of the second run; None in one run,
            and where the two runs had different reference works.
        paired: whether both were measured in turns, in one run.
        reason: how the verdict came about, one sentence.

    >>> from edgedet.bench import read_result
    >>> small, large = read_result("bench.json").artifacts
    >>> comparison = compare_artifacts(small, large, same_run=True)
    >>> comparison.paired, comparison.after, comparison.machine
    (True, 'slow.onnx', None)
    """

    before: str
    after: str
    p50_before: float
    p50_after: float
    ratio: Interval | None
    min_effect: float
    verdict: Verdict
    machine: float | None
    paired: bool
    reason: str

    @property
    def resolution(self) -> float | None:
        """Smallest slowdown that this comparison would have shown, as a share; None without a ratio."""
        if self.ratio is None:
            return None
        return max(self.min_effect, self.ratio.high / self.ratio.value - 1, 1 - self.ratio.low / self.ratio.value)

    def describe(self) -> dict[str, Any]:
        """The comparison as ``edgedet compare --json`` writes it.

        Returns:
            Plain values; ``absent`` says why figures among them are None.
        """
        ratio, resolution = self.ratio, self.resolution
        figures = {
            "before": self.before,
            "after": self.after,
            "p50_before_ms": self.p50_before,
            "p50_after_ms": self.p50_after,
            "ratio": None if ratio is None else round(ratio.value, 5),
            "interval": None if ratio is None else [round(ratio.low, 5), round(ratio.high, 5)],
            "confidence": None if ratio is None else ratio.confidence,
            "min_effect": self.min_effect,
            "resolution": None if resolution is None else round(resolution, 5),
            "verdict": self.verdict,
            "machine_ratio": None if self.machine is None else round(self.machine, 5),
            "paired": self.paired,
            "reason": self.reason,
        }
        machine = "both were measured in one run" if self.paired else self.reason
        return explained(figures, {"machine_ratio": machine}, otherwise=self.reason)


class Timed(Protocol):
    """Anything that can be compared: it has a name and a latency, as an artifact of a result has.

    >>> from edgedet.bench import read_result
    >>> timed: Timed = read_result("bench.json").artifacts[0]
    >>> timed.name
    'model.onnx'
    """

    @property
    def name(self) -> str:
        """Name of the artifact."""

    @property
    def latency(self) -> Latency:
        """Its blocks and its median."""


def compare_artifacts(
    before: Timed,
    after: Timed,
    *,
    same_run: bool,
    elsewhere: str | None = None,
    min_effect: float | None = None,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare the latency of two artifacts.

    In one run, the blocks of a round are divided by one another, so that a disturbed machine cancels. For separate
    runs, only blocks during which the machine was quiet count where there are enough of them. What the reference
    network's own change explains is taken out; where there is no such reference and the machine changed, or where
    it changed too much, no verdict is given rather than a wrong one.

    Args:
        before: first artifact of a result.
        after: second artifact, of the same result or of another.
        same_run: whether both were measured in turns, in one run.
        elsewhere: why the results are not of one machine (:func:`other_machine`); None if they are.
        min_effect: share below which a change counts as none, however certain it is; None takes 3 % for one run,
            5 % for separate runs.
        confidence: of the interval, in (0, 1).

    Returns:
        The verdict, and how it came about.

    >>> from edgedet.bench import read_result
    >>> small, large = read_result("bench.json").artifacts
    >>> compare_artifacts(small, large, same_run=True).verdict
    'slower'
    """
    if min_effect is None:
        min_effect = MIN_EFFECT if same_run else MIN_EFFECT_APART
    first: Sequence[Block] = before.latency.blocks
    second: Sequence[Block] = after.latency.blocks
    machine, trouble, note = None, None, ""
    if same_run:
        turns = sorted({block.turn for block in first} & {block.turn for block in second})
        first_by, second_by = ({block.turn: block for block in blocks} for blocks in (first, second))
        ratio = _paired(
            [_median(first_by[turn]) for turn in turns], [_median(second_by[turn]) for turn in turns], confidence
        )
        count = len(turns)
    else:
        first, second, note = _quiet(first, second)
        count = min(len(first), len(second))
        works = before.latency.reference_work, after.latency.reference_work
        ratio, machine, trouble = _apart(first, second, works, confidence)
        trouble = _disturbed(first, second) or trouble
        if machine is not None and works[0] != SORTING:
            note += f" (the reference network took {machine - 1:+.1%} time, and what that explains is taken out)"
        note += _unknown_load(first, second)
    if elsewhere is not None:
        trouble = f"not measured on the same machine ({elsewhere}); compare results of one machine"
    if count < MIN_BLOCKS:
        trouble = f"only {count} blocks were measured, {MIN_BLOCKS} are needed; bench for longer (--seconds)"
    verdict, reason = _judge(ratio, min_effect, trouble)
    return Comparison(
        before=before.name,
        after=after.name,
        p50_before=before.latency.p50,
        p50_after=after.latency.p50,
        ratio=ratio,
        min_effect=min_effect,
        verdict=verdict,
        machine=machine,
        paired=same_run,
        reason=reason if trouble else reason + note,
    )


def other_machine(before: BenchResult, after: BenchResult) -> str | None:
    """Differences that show that two results are of two machines, or of one in two power modes.

    A GPU's new driver makes no other machine: its effect is to be seen.

    Args:
        before: first result.
        after: second result.

    Returns:
        The differences in words; None without any.

    >>> from edgedet.bench import read_result
    >>> other_machine(read_result("bench.json"), read_result("bench.json")) is None
    True
    """
    return "; ".join(_differing(_of_the_machine(before, after, drivers=False))) or None


def differences(before: BenchResult, after: BenchResult) -> list[str]:
    """Differences besides the artifacts between two results, which could be the reason for a change.

    Args:
        before: first result.
        after: second result.

    Returns:
        One text per difference.

    >>> from edgedet.bench import read_result
    >>> differences(read_result("bench.json"), read_result("bench.json"))
    []
    """
    return _differing(
        [
            *_of_the_machine(before, after, drivers=True),
            ("the governor", before.machine.clocks.governor, after.machine.clocks.governor),
            ("the frames", before.frames.source, after.frames.source),
            ("--threads", before.rules.threads, after.rules.threads),
            ("throttling", before.during.throttled, after.during.throttled),
        ]
    )


def _differing(rows: list[tuple[str, Any, Any]]) -> list[str]:
    return [f"{what}: {first} before, {second} after" for what, first, second in rows if first != second]


def _of_the_machine(before: BenchResult, after: BenchResult, *, drivers: bool) -> list[tuple[str, Any, Any]]:
    first, second = before.machine, after.machine
    return [
        ("the processor", first.cpu.model, second.cpu.model),
        ("the cores", first.cpu.cores, second.cpu.cores),
        ("the GPUs", _gpus(first, drivers), _gpus(second, drivers)),
        ("the power mode", _power_mode(first), _power_mode(second)),
    ]


def _power_mode(machine: MeasuredMachine) -> str | None:
    return None if machine.jetson is None else machine.jetson.power_mode


def _gpus(machine: MeasuredMachine, drivers: bool) -> str:
    named = (f"{gpu.name} (driver {gpu.driver})" if drivers else gpu.name for gpu in machine.gpus)
    return ", ".join(named) or "none"


def _judge(ratio: Interval | None, min_effect: float, trouble: str | None) -> tuple[Verdict, str]:
    if trouble is not None or ratio is None:
        return "undecided", trouble or "too few blocks were measured"
    span = f"{ratio.confidence:.0%} interval {ratio.low - 1:+.1%} to {ratio.high - 1:+.1%}"
    if ratio.low > 1 and ratio.value >= 1 + min_effect:
        return "slower", f"the {span} lies above zero"
    if ratio.high < 1 and ratio.value <= 1 / (1 + min_effect):
        return "faster", f"the {span} lies below zero"
    if ratio.low > 1 or ratio.high < 1:
        return "no change", f"the {span} leaves out zero, but the change is below {min_effect:.0%}"
    return "no change", f"the {span} holds zero"


def _median(block: Block) -> float:
    return float(np.median(block.samples_ms))


def _paired(before: list[float], after: list[float], confidence: float) -> Interval | None:
    if len(before) < MIN_SERIES:
        return None
    return bootstrap_paired_ratio(before, after, confidence=confidence)


def _apart(
    before: Sequence[Block], after: Sequence[Block], works: tuple[str, str], confidence: float
) -> tuple[Interval | None, float | None, str | None]:
    """The ratio, that of the reference work, and why there is no verdict."""
    if min(len(before), len(after)) < MIN_SERIES:
        return None, None, None
    ratio: Interval
    values = [_median(block) for block in before], [_median(block) for block in after]
    if works[0] != works[1]:
        reason = f"the fixed work beside the frames differs ({works[0]} before, {works[1]} after); {ADVICE}"
        return bootstrap_ratio(*values, confidence=confidence), None, reason
    fixed = [block.reference_ms for block in before], [block.reference_ms for block in after]
    if works[0] == SORTING:
        ratio = bootstrap_ratio(*values, confidence=confidence)
        drift = bootstrap_ratio(*fixed, confidence=confidence)
        machine = drift.value
        changed = abs(machine - 1) > MACHINE_DRIFT and not drift.low <= 1 <= drift.high
    else:
        ratio, machine = bootstrap_relative_ratio(
            (values[0], fixed[0]), (values[1], fixed[1]), follows=FOLLOWS, confidence=confidence
        )
        changed = abs(np.log(machine)) > np.log1p(NETWORK_DRIFT)
    trouble = f"the machine itself changed: a fixed piece of work took {machine - 1:+.0%} time; {ADVICE}"
    return ratio, machine, trouble if changed else None


def _quiet(before: Sequence[Block], after: Sequence[Block]) -> tuple[Sequence[Block], Sequence[Block], str]:
    def undisturbed(blocks: Sequence[Block]) -> list[Block]:
        return [
            block for block in blocks if block.others_cpu_share is None or block.others_cpu_share <= QUIET_SHARE
        ]

    chosen = undisturbed(before), undisturbed(after)
    if min(map(len, chosen)) < MIN_BLOCKS or (len(chosen[0]), len(chosen[1])) == (len(before), len(after)):
        return before, after, ""
    return *chosen, f" (quiet blocks alone: {len(chosen[0])} of {len(before)}, {len(chosen[1])} of {len(after)})"


def _unknown_load(before: Sequence[Block], after: Sequence[Block]) -> str:
    """A word on runs during which nobody counted what other processes did: unknown is not quiet."""
    if all(block.others_cpu_share is not None for block in (*before, *after)):
        return ""
    return " (what other processes used of the CPUs is not known for all of the time)"


def _disturbed(before: Sequence[Block], after: Sequence[Block]) -> str | None:
    shares = []
    for blocks in (before, after):
        known = [block.others_cpu_share for block in blocks if block.others_cpu_share is not None]
        shares.append(float(np.median(known)) if known else None)
    if all(share is None or share <= QUIET_SHARE for share in shares):
        return None
    said = ["an unknown part" if share is None else f"{share:.0%}" for share in shares]
    return (
        f"other processes used {said[0]} of the CPUs before and {said[1]} after; quieten the machine, or {ADVICE}"
    )

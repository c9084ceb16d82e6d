"""Warm single-stream latency: one frame after another, several artifacts in turns.

Measured in blocks of consecutive frames. Where several artifacts are given, every round has one block of each, in
an order drawn anew: what slows the machine for a while slows all of them, and their ratio stays honest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgedet.bench.frames import Frame
from edgedet.bench.reference_workload import Reference, sorting
from edgedet.bench.statistics import (
    MIN_SERIES,
    bootstrap_centre,
    bootstrap_paired_ratio,
    settled_interval,
    summarise,
)
from edgedet.machine.state import MachineState, others_share, read_state
from edgedet.missing_figures import not_measured

STAGES = ("pre", "run", "post")
FRAME_STRIDE = 7
"""Frames between the starts of two rounds: in a round all artifacts see the same frames, and all get their turn."""
MAX_WARMUP = 10
"""Limit of the warm-up, in its minimum of time."""
DECIDING_SHARE = 0.01
"""Share of the time that may go into deciding whether it is enough: an interval is drawn anew from all blocks, so
doing so after every turn would cost with the square of their number."""


class Timed(Protocol):
    """What is measured: detects, and says how long its stages took (milliseconds)."""

    @property
    def last_timing(self) -> Any:
        """``pre``, ``run`` and ``post`` of the last call."""

    def detect(self, frame: Frame) -> Any:
        """Detections of one frame."""


@dataclass(frozen=True)
class Rules:
    """When measuring begins and ends. Seconds are for each artifact: minima of counted frames, limits of the wall
    clock.

    Attributes:
        warmup_frames: minimum of frames before counting begins.
        warmup_seconds: minimum of time before counting begins.
        frames: minimum of counted frames.
        seconds: minimum of time.
        max_seconds: limit of time, all included: counted frames, those before a block, the reference work, and
            deciding when it is enough.
        half_width: share of the median below which half its 99 % interval must lie for the median to count as
            settled.
        block_seconds: length of a block.
        turn_seconds: length of a block where several artifacts take turns; machine speed drifts over seconds.
        resume_frames: limit of frames that run and are not counted before a block (a third of its frames at most):
            something else had the machine, and the caches are full of its data.

    >>> Rules(seconds=2, max_seconds=5).frames
    100
    """

    warmup_frames: int = 20
    warmup_seconds: float = 1.0
    frames: int = 100
    seconds: float = 10.0
    max_seconds: float = 60.0
    half_width: float = 0.02
    block_seconds: float = 0.25
    turn_seconds: float = 0.1
    resume_frames: int = 2

    def describe(self) -> dict[str, Any]:
        """The rules in figures and in words.

        Returns:
            Plain values, as the result file has them.
        """
        return asdict(self) | {
            "clipping": "none",
            "warmup_rule": f"at least {self.warmup_frames} frames and {self.warmup_seconds:g} s, until the last "
            f"frames are no longer faster than those before them, at most {self.max_warmup_seconds:g} s",
            "stopping_rule": f"at least {self.frames} frames and {self.seconds:g} s of counted frames, then until "
            f"half the 99 % interval of the median is below {self.half_width:.1%}, at most {self.max_seconds:g} s "
            "by the clock",
        }

    @property
    def max_warmup_seconds(self) -> float:
        """Limit of time before counting begins; two frames are seen in any case."""
        return MAX_WARMUP * self.warmup_seconds


@dataclass
class Series:
    """Everything measured of one artifact, block by block, milliseconds."""

    blocks: list[dict[str, Any]] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    detections: list[int] = field(default_factory=list)
    warmup: dict[str, Any] = field(default_factory=dict)
    reference: str = ""
    """Name of the work timed before every block."""
    seconds: float = 0.0
    settled: bool = False

    @property
    def samples(self) -> list[float]:
        """Every counted frame, in order."""
        return [sample for block in self.blocks for sample in block["samples_ms"]]

    @property
    def medians(self) -> list[float]:
        """The median of each block."""
        return [float(np.median(block["samples_ms"])) for block in self.blocks]

    def describe(self) -> dict[str, Any]:
        """The result's ``latency`` section."""
        interval = settled_interval(self.medians)
        summary = summarise(self.samples)
        if interval is None:
            summary["absent"]["p50_interval"] = f"{MIN_SERIES} blocks are needed, {len(self.blocks)} were measured"
        return summary | {
            "p50_interval": None if interval is None else [round(interval.low, 4), round(interval.high, 4)],
            "settled": self.settled and interval is not None,
            "seconds": round(self.seconds, 3),
            "warmup": self.warmup,
            "reference": self.reference,
            "blocks": self.blocks,
        }

    def describe_stages(self, capture_ms: Sequence[float]) -> dict[str, Any]:
        """The result's ``stages`` section: the median of each, and what lies between them."""
        stages: dict[str, Any] = {name: summarise(values)["p50"] for name, values in self.stages.items()}
        inside = np.sum([self.stages[stage] for stage in STAGES], axis=0)
        stages["between"] = round(float(np.median(np.array(self.samples) - inside)), 4)
        stages["capture"] = (
            round(float(np.median(capture_ms)), 4)
            if capture_ms
            else not_measured("synthetic frames are not captured")
        )
        return stages


def measure_latency(
    detectors: Sequence[Timed],
    frames: Sequence[Frame],
    rules: Rules,
    *,
    reference: Reference | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    root: Path = Path("/"),
) -> tuple[list[Series], list[MachineState]]:
    """Warm up, then measure all detectors in turns until the rules are met; nothing is dropped.

    ``reference``: timed before every block; by default a sort. Returns one series for each detector and the states
    of the machine between blocks.
    """
    reference = reference or sorting()
    series = [Series(reference=reference.name) for _ in detectors]
    seconds = rules.block_seconds if len(detectors) == 1 else rules.turn_seconds
    lengths = []
    for detector, its in zip(detectors, series, strict=True):
        its.warmup = warm_up(detector, frames, rules, clock)
        lengths.append(int(np.clip(round(seconds / max(its.warmup["median_s"], 1e-6)), 3, 1000)))
    rng = np.random.default_rng(0)
    states = [read_state(root)]
    begin = clock()
    limit, longest, next_decision = rules.max_seconds * len(detectors), 0.0, 0.0
    for turn in range(1_000_000):
        opening = clock()
        for index in rng.permutation(len(detectors)):
            reference_ms = reference.milliseconds(clock)
            first = turn * FRAME_STRIDE
            resume = min(rules.resume_frames, lengths[index] // 3)
            for step in range(resume):
                detectors[index].detect(frames[(first - resume + step) % len(frames)])
            before = read_state(root)
            its = series[index]
            block = _block(detectors[index], frames, its, first=first, length=lengths[index], clock=clock)
            states.append(read_state(root))
            share = others_share(before, states[-1])
            block |= {
                "turn": turn,
                "begin_s": round(block["begin_s"] - begin, 3),
                "reference_ms": reference_ms,
                "others_cpu_share": None if share is None else round(share, 3),
            }
            series[index].blocks.append(block)
        spent = clock() - begin
        longest = max(longest, clock() - opening)
        if progress is not None:
            done = spent / len(detectors)
            progress("measuring latency", int(done), int(max(rules.seconds, done + 1)))
        # Every artifact has the same turns: one that would end far beyond the limit is not begun.
        last = spent + longest / 2 >= limit
        if last or (spent >= next_decision and _saw_enough(series, rules)):
            settled = _settled(series, rules)
            next_decision = clock() - begin + (clock() - begin - spent) / DECIDING_SHARE
            if last or settled:
                break
    return series, states


def warm_up(detector: Timed, frames: Sequence[Frame], rules: Rules, clock: Callable[[], float]) -> dict[str, Any]:
    """Run until the machine has settled: minimum met, and no longer getting faster by more than 5 %.

    A limit of time ends it all the same, after two frames at the earliest.
    """
    begin = clock()
    times: list[float] = []
    window = max(2, min(10, rules.warmup_frames // 2))
    while True:
        before = clock()
        detector.detect(frames[len(times) % len(frames)])
        after = clock()
        times.append(after - before)
        spent = after - begin
        enough = len(times) >= rules.warmup_frames and spent >= rules.warmup_seconds
        settled = len(times) >= 2 * window and np.median(times[-window:]) >= 0.95 * np.median(
            times[-2 * window : -window]
        )
        overtime = len(times) >= 2 and spent >= rules.max_warmup_seconds
        if (enough and settled) or overtime:
            return {
                "frames": len(times),
                "seconds": round(spent, 3),
                "settled": bool(settled),
                "median_s": float(np.median(times[-window:])),
            }


def _block(
    detector: Timed, frames: Sequence[Frame], series: Series, *, first: int, length: int, clock: Callable[[], float]
) -> dict[str, Any]:
    samples: list[float] = []
    opening = clock()
    for step in range(length):
        frame = frames[(first + step) % len(frames)]
        before = clock()
        detections = detector.detect(frame)
        after = clock()
        samples.append(round((after - before) * 1e3, 4))
        timing = detector.last_timing
        for stage in STAGES:
            series.stages[stage].append(float(getattr(timing, stage)))
        series.detections.append(len(detections))
    series.seconds += clock() - opening
    return {"begin_s": opening, "samples_ms": samples}


def _saw_enough(series: Sequence[Series], rules: Rules) -> bool:
    """Whether the minimum of frames, time and blocks was met for each."""
    return all(
        its.seconds >= rules.seconds and len(its.samples) >= rules.frames and len(its.blocks) >= MIN_SERIES
        for its in series
    )


def _settled(series: Sequence[Series], rules: Rules) -> bool:
    """Whether all medians are known well enough, and their ratios to the first."""
    if min(len(its.blocks) for its in series) < MIN_SERIES:
        return False
    for its in series:
        its.settled = bootstrap_centre(its.medians).relative_half_width <= rules.half_width
    ratios = [bootstrap_paired_ratio(series[0].medians, its.medians) for its in series[1:]]
    return all(its.settled for its in series) and all(
        ratio.relative_half_width <= rules.half_width for ratio in ratios
    )

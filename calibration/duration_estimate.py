"""How long a quantisation will take: predicted from one run of the float graph, corrected by what has passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array, Layer, Network

from .activation_samples import rows_per_frame
from .dialect import Dialect
from .effort import Effort
from .executor import GraphRunner
from .first_pass import FirstPass
from .fitting import SEARCH_CHANNELS, SEARCH_ROWS
from .judge import ComparingJudge, Judge
from .observe import Progress
from .rounding import LARGEST_HESSIAN, TOGETHER
from .speed import SEGMENTS
from .speed_race import ENOUGH_SECONDS

SIMULATED = 1.5
"""Times a float run that one in INT8 takes, with every pair executed where it stands."""
RACED_AT_FIRST, RACED_LATER = 100, 60
"""Float runs that it takes to find out which layers INT8 makes faster: in all, and for every stretch of them."""
READ = 1.15
"""Times a float run that it takes with the picture read and its detections decoded."""
TAPPED = 1.5
"""Times a float run that a run with taps takes, what is made of it included."""
SEARCH_ODDS = 0.1
"""How often everything in INT8 costs too much, so that a search follows: nobody knows before."""
SILU_SEARCH_ODDS = 0.6
"""The same of networks whose activations are SiLU: of a symmetric grid these use little more than half. Both are
guesses after three detectors, of which the one with SiLU needed a search."""
SEARCH_EVALUATIONS = 4
"""Full ones that a search takes, most often."""
OPERATIONS_PER_SECOND = 6.4e10
"""Floating-point ones of one core in numpy's products and factorisations."""
SECONDS_PER_COLUMN = 1.5e-5
"""Time of learned rounding for a column, beside its products."""
SECONDS_PER_LAYER = 3e-3
"""Time of rounding any layer, however small."""
PARTIAL = 0.25
"""Share of the time of opening a graph that it takes to open what lies behind one of its layers."""
FINISHING_SECONDS = 0.4
"""Time of checking, opening and writing the result, however small."""
CANDIDATES = 7
"""Ranges that compete, and the exact product they are compared with."""
WARM_RUNS = 3
PRIOR = 0.1
"""Share of the whole prediction that the pace so far is weighed against."""


@runtime_checkable
class TimedProgress(Protocol):
    """A progress callback that also wants to know how long everything will still take."""

    def __call__(self, what: str, done: int, of: int, /) -> None:
        """As any :data:`edgedet.calibration.observe.Progress`."""

    def expect(self, seconds: float) -> None:
        """About so many seconds are left."""


@dataclass(frozen=True)
class Step:
    """A stage of the work.

    Attributes:
        name: as progress is told.
        seconds: predicted.
        parts: how many calls of progress it takes, where they do not say so themselves.
        before: calls of progress that had been made when the step was predicted; they are no part of ``seconds``.
        odds: how likely it comes at all; ``seconds`` are what it takes then.
    """

    name: str
    seconds: float
    parts: int = 1
    before: int = 0
    odds: float = 1.0


class Forecast:
    """Passes progress on, and tells a :class:`TimedProgress` what is left.

    Args:
        progress: the user's.
        steps: in the order in which they come.
        clock: seconds that have passed since some moment.
    """

    def __init__(
        self, progress: TimedProgress, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress = progress
        self._steps = list(steps)
        self._at = 0
        self._share = 0.0
        self._first = 0
        self._clock = clock
        self._begun = clock()
        progress.expect(self.left)

    def __call__(self, what: str, done: int, of: int) -> None:
        """As :data:`edgedet.calibration.observe.Progress`."""
        names = [step.name for step in self._steps]
        if what in names[self._at :]:
            at = names.index(what, self._at)
            if at > self._at:
                # Where the end is not known, the count is of what has begun, and runs on from stage to stage.
                self._at, self._share, self._first = at, 0.0, 0 if of else done
                self._steps[at] = replace(self._steps[at], odds=1.0)
            step = self._steps[at]
            passed, parts = done - self._first - step.before, (of or step.parts) - step.before
            self._share = max(self._share, min(passed / parts, 1.0) if parts else 1.0)
            if what == "sensitivity":
                # The search is on, and its evaluations are certain now.
                self._steps[at:] = [replace(later, odds=1.0) for later in self._steps[at:]]
        self._progress.expect(self.left)
        self._progress(what, done, of)

    @property
    def left(self) -> float:
        """Seconds."""
        weights = [step.seconds * step.odds for step in self._steps]
        passed = sum(weights[: self._at]) + self._share * weights[self._at]
        prior = PRIOR * sum(weights)
        pace = (self._clock() - self._begun + prior) / (passed + prior) if prior else 1.0
        return pace * max(sum(weights) - passed, 0.0)


def forecast(
    progress: Progress,
    network: Network,
    layers: Sequence[Layer],
    frames: Sequence[Array],
    *,
    float_graph: Callable[[], GraphRunner],
    judge: Judge | None,
    effort: Effort,
    dialect: Dialect,
    threads: int | None,
    max_drop: float,
    runs_after: int,
    first: FirstPass | None = None,
) -> Progress:
    """``progress`` with the time left, where it wants to know.

    Args:
        progress: the user's; one that is no :class:`TimedProgress` comes back as it is, and nothing is measured.
        network: the float graph.
        layers: that may become INT8.
        frames: calibration frames.
        float_graph: opens it, or has it open.
        judge: the caller's; None for agreement with the float graph.
        effort: of the quantisation.
        dialect: in which INT8 is written.
        threads: of a run; None takes every core.
        max_drop: what may be lost; of all, nothing is searched for.
        runs_after: runs in INT8 that the caller needs afterwards.
        first: the one pass for judge and ranges, where there is one: its first frames are run, for its own pace.
    """
    if not isinstance(progress, TimedProgress):
        return progress
    pace = first.pace() if first is not None else None
    if pace is not None:
        opening, run = pace.opening, pace.between / TAPPED
    else:
        runner = float_graph()
        opening = runner.opening
        run = min(_seconds(runner, frames[0]) for _ in range(WARM_RUNS)) / runner.lanes
    cores = threads or available_cores()
    judged = len(judge) if isinstance(judge, Sized) else min(len(frames), effort.judged)
    simulated = SIMULATED if dialect.fusion == "separate" else 1.0
    evaluation = opening + judged * run * simulated
    some = min(len(frames), effort.frames)
    race = min(ENOUGH_SECONDS, RACED_AT_FIRST * run) + SEGMENTS * min(ENOUGH_SECONDS, RACED_LATER * run)
    alone = opening * PARTIAL + min(len(frames), effort.probes) * run * simulated
    odds = 0.0 if max_drop >= 1 else SILU_SEARCH_ODDS if _has_silu(network) else SEARCH_ODDS
    float_accuracy = Step(
        "float accuracy", 0.0 if isinstance(judge, ComparingJudge) else opening + judged * run * READ
    )
    ranges = Step("ranges", opening + some * run * TAPPED)
    apart = [
        *([float_accuracy] if judge is None else []),
        *([Step("speed", race)] if dialect.fusion == "fused" else []),
        Step("equalisation", opening + min(len(frames), effort.evened) * run * TAPPED),
        *([float_accuracy] if judge is not None else []),
        ranges,
    ]
    # The one pass has its graph open by now, and its first frames behind it.
    rest = [Step("ranges", pace.left * pace.between, before=pace.ranged)] if pace is not None else apart
    steps = [
        *rest,
        Step("weights", sum(_fitting(network, layer) for layer in layers) / cores),
        Step("accuracy", evaluation, SEARCH_EVALUATIONS),
        Step("sensitivity", min(len(layers), effort.checks) * alone, odds=odds),
        Step("accuracy", SEARCH_EVALUATIONS * evaluation, SEARCH_EVALUATIONS, odds=odds),
        Step("finishing", FINISHING_SECONDS + opening + runs_after * run * simulated),
    ]
    return Forecast(progress, steps)


def _has_silu(network: Network) -> bool:
    """Whether a tensor is multiplied with its own sigmoid."""
    return any(
        reader.op_type == "Mul" and node.input[0] in reader.input
        for node in network.graph.node
        if node.op_type == "Sigmoid"
        for reader in network.consumers.get(node.output[0], [])
    )


def _seconds(runner: GraphRunner, frame: Array) -> float:
    begun = time.monotonic()
    runner(frame)
    return time.monotonic() - begun


def _fitting(network: Network, layer: Layer) -> float:
    """Seconds that one core fits a layer in."""
    dims = network.constants[layer.weight].dims
    channels = dims[layer.channel_axis]
    columns = int(np.prod(dims, dtype=np.int64)) // max(channels, 1)
    rows = rows_per_frame(1, columns * channels)
    tried = CANDIDATES * 2 * min(rows, SEARCH_ROWS) * columns * min(channels, SEARCH_CHANNELS)
    # The float product of half of the rows, and that of two roundings.
    fitted = 3 * rows * columns * channels
    if columns > LARGEST_HESSIAN or layer.depthwise:
        return (tried + fitted) / OPERATIONS_PER_SECOND + SECONDS_PER_LAYER
    together = min(columns, TOGETHER)
    learned = columns * together * (rows + together + channels)
    return (tried + fitted + learned) / OPERATIONS_PER_SECOND + columns * SECONDS_PER_COLUMN + SECONDS_PER_LAYER

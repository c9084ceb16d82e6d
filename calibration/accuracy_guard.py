"""The accuracy guard: which units can be INT8 without losing more than the budget.

All units in INT8 are judged first; most often that is all. Else sensitivity decides: the units whose own output
INT8 disturbs most are tried alone on a few frames, agreement with the float graph (as in "Mixed precision
post-training quantization", arXiv:2302.05397, and the per-layer analysis of arXiv:2106.08295, section 3.4); the
others are estimated from their disturbance. That ranks the units, and, since losses add up roughly, says how far
down the ranking precision must be given back; a few full evaluations correct it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .dialect import Unit
from .effort import EFFORTS, Effort
from .measurement_cache import Ledger
from .observe import Progress, silent

AIM = 0.5
"""Share of the budget that is aimed at: the evaluation set is a sample, so the edge of the budget is none."""
SAFETY = 0.8
"""Share of what is aimed at that the estimate is allowed to use up."""
PREDICTIONS = 2
"""Evaluations whose place is estimated; after them the interval is halved."""
MIN_GAIN = 0.05
"""Share of all that INT8 gains, below which nothing more is tried for it."""

Names = frozenset[str]


@dataclass(frozen=True)
class Verdict:
    """``on``: units that stay INT8. ``figure``: the judge's with them, None where it has nothing to judge by.
    ``evaluations``: full ones it took."""

    on: Names
    figure: float | None
    evaluations: int


def within(reference: float | None, figure: float | None, allowed: float) -> bool:
    """Whether ``figure`` is at most ``allowed`` below ``reference``; an absent figure is below nothing."""
    return reference is not None and figure is not None and reference - figure <= allowed


class Guard:
    """Searches the largest gain inside the budget.

    Args:
        units: what can be INT8 or not.
        evaluate: the judge's figure with the named units in INT8 and all others in float; the reference is that of
            the empty set.
        sensitivity: agreement lost by one unit alone, None where nothing tells.
        disturbance: how much INT8 disturbs a unit's own output, relative to others.
        effort: how many units are tried alone, and how many evaluations there may be.
        ledger: keeps what was measured.
        progress: called with (what, done, of).
    """

    def __init__(
        self,
        units: Sequence[Unit],
        evaluate: Callable[[Names], float | None],
        sensitivity: Callable[[str], float | None],
        *,
        disturbance: Callable[[str], float] = lambda name: 1.0,
        effort: Effort = EFFORTS["normal"],
        ledger: Ledger,
        progress: Progress = silent,
    ) -> None:
        self._units = {unit.name: unit for unit in units}
        self._evaluate = evaluate
        self._sensitivity = sensitivity
        self._disturbance = disturbance
        self._effort = effort
        self._ledger = ledger
        self._progress = progress
        self._all_gain = sum(unit.gain for unit in units) or 1.0
        self.evaluations = 0
        self.losses: dict[str, float | None] = {}

    def figure(self, on: Names) -> float | None:
        """The judge's figure with ``on`` in INT8, measured once."""

        def measure() -> float | None:
            self.evaluations += 1
            self._progress("accuracy", self.evaluations, 0)
            return self._evaluate(on)

        figure: float | None = self._ledger.figure(f"figure {self._ledger.key(on)}", measure)
        return figure

    @property
    def reference(self) -> float | None:
        """The float graph's figure."""
        return self.figure(frozenset())

    def keeps(self, on: Names, aim: float) -> bool:
        """Whether ``on`` in INT8 costs at most ``aim``. What cannot be told is not kept, unless all may be lost."""
        return aim >= 1 or within(self.reference, self.figure(on), aim)

    def expected(self) -> dict[str, float]:
        """Agreement that every unit is expected to lose: measured for those that matter most, estimated for others.

        Units of which nothing tells are expected to lose nothing.
        """
        disturbances = {name: self._disturbance(name) for name in self._units}
        by_disturbance = sorted(self._units, key=lambda name: -disturbances[name])
        checked = by_disturbance[: self._effort.checks]
        for count, name in enumerate(name for name in self._units if name in checked):
            self.losses[name] = self._ledger.figure(f"loss {name}", partial(self._sensitivity, name))
            self._progress("sensitivity", count + 1, len(checked))
        ratios = [
            loss / disturbances[name]
            for name, loss in self.losses.items()
            if loss is not None and disturbances[name]
        ]
        ratio = statistics.median(ratios) if ratios else 0.0
        return {
            name: (self.losses[name] or 0.0) if name in self.losses else disturbances[name] * ratio
            for name in self._units
        }

    def search(self, aim: float) -> Verdict:
        """Give precision back until the drop is at most ``aim``."""
        everything = frozenset(self._units)
        if not everything or self.keeps(everything, aim):
            return self._verdict(everything)
        expected = self.expected()
        order = sorted(self._units, key=lambda name: -expected[name] / max(self._units[name].gain, 1e-9))

        def without(count: int) -> Names:
            return everything - frozenset(order[:count])

        bad, good, tried = 0, len(order), 0
        last = self.evaluations + self._effort.evaluations
        while self._gain(order[bad:good]) > MIN_GAIN and good - bad > 1 and self.evaluations < last:
            middle = (bad + good) // 2
            if tried < PREDICTIONS:
                drop = self._drop(without(bad))
                middle = self._enough(order, bad, good, expected, SAFETY * aim / drop if drop > 0 else 1.0)
            tried += 1
            if self.keeps(without(middle), aim):
                good = middle
            else:
                bad = middle
        on = without(good)
        # The ranking is by single units on few frames; some were given back for company's sake.
        for name in sorted(order[:good], key=lambda name: -self._units[name].gain)[: self._effort.returns]:
            if self._gain([name]) > MIN_GAIN and self.keeps(on | {name}, aim):
                on |= {name}
        return self._verdict(on)

    def _enough(self, order: Sequence[str], bad: int, good: int, expected: dict[str, float], share: float) -> int:
        """How many units of ``order`` have to go, were losses to add up: more than ``bad``, fewer than ``good``.

        ``share``: of what is lost without the first ``bad``, so much may be lost.
        """
        left = sum(expected[name] for name in order[bad:])
        allowed = left * share
        count = bad
        while count < good - 1 and (count == bad or left > allowed):
            left -= expected[order[count]]
            count += 1
        return count

    def _drop(self, on: Names) -> float:
        reference, figure = self.reference, self.figure(on)
        return 1.0 if reference is None or figure is None else reference - figure

    def _gain(self, names: Sequence[str]) -> float:
        return sum(self._units[name].gain for name in names) / self._all_gain

    def _verdict(self, on: Names) -> Verdict:
        return Verdict(on, self.figure(on), self.evaluations)

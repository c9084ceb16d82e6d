"""The accuracy guard: which units can be INT8 without losing more than the budget.

Sensitivity first: every unit alone in INT8, a few frames, agreement with the float graph (as in "Mixed precision
post-training quantization", arXiv:2302.05397, and the per-layer analysis of arXiv:2106.08295, section 3.4). That
ranks the units; how far down the ranking precision must be given back is then found by bisection with the real
figure, so a network of a hundred layers takes about a dozen full evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .dialect import Unit
from .ledger import Ledger
from .observe import Progress, silent

AIM = 0.5
"""Share of the budget that is aimed at: the evaluation set is a sample, so the edge of the budget is none."""
RETURNS = 6
"""Units given back that are tried in INT8 again, once the budget is met, largest gain first."""

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

    ``evaluate``: the judge's figure with the named units in INT8 and all others in float; the reference is
    ``evaluate`` of the empty set. ``sensitivity``: agreement lost by one unit alone, None where nothing tells.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        evaluate: Callable[[Names], float | None],
        sensitivity: Callable[[str], float | None],
        *,
        ledger: Ledger,
        progress: Progress = silent,
    ) -> None:
        self._units = {unit.name: unit for unit in units}
        self._evaluate = evaluate
        self._sensitivity = sensitivity
        self._ledger = ledger
        self._progress = progress
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

    def ranking(self) -> list[str]:
        """Units by agreement lost per gain, worst first; those of which nothing tells come last."""
        for count, name in enumerate(self._units):
            self.losses[name] = self._ledger.figure(f"loss {name}", partial(self._sensitivity, name))
            self._progress("sensitivity", count + 1, len(self._units))
        return sorted(self._units, key=lambda name: -(self.losses[name] or 0.0) / max(self._units[name].gain, 1e-9))

    def search(self, aim: float) -> Verdict:
        """Give precision back until the drop is at most ``aim``."""
        everything = frozenset(self._units)
        if not everything or self.keeps(everything, aim):
            return self._verdict(everything)
        order = self.ranking()

        def without(count: int) -> Names:
            return everything - frozenset(order[:count])

        bad, good = 0, 1
        while good < len(order) and not self.keeps(without(good), aim):
            bad, good = good, min(good * 2, len(order))
        while good - bad > 1:
            middle = (bad + good) // 2
            if self.keeps(without(middle), aim):
                good = middle
            else:
                bad = middle
        on = without(good)
        # The ranking is by single units on few frames; some were given back for company's sake.
        returnable = sorted(order[:good], key=lambda name: -self._units[name].gain)[:RETURNS]
        for name in returnable:
            if self.keeps(on | {name}, aim):
                on |= {name}
        return self._verdict(on)

    def _verdict(self, on: Names) -> Verdict:
        return Verdict(on, self.figure(on), self.evaluations)

"""How much time a quantisation may take: three points, and what each of them looks at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

EffortName = Literal["quick", "normal", "thorough"]


@dataclass(frozen=True)
class Effort:
    """What is looked at.

    Attributes:
        frames: calibration frames that set ranges; of more, so many evenly spread ones are taken.
        judged: calibration frames that stand in for an evaluation set where there are no labels.
        checks: units that are tried alone in INT8, those first whose own output is disturbed most.
        probes: calibration frames on which single units are tried.
        evaluations: full ones, from which the search for more INT8 ends.
        returns: units given back that are tried in INT8 again, once the budget is met, largest gain first.
        multiply_adds: that one pass over the frames may take; a heavy network is shown fewer of them.
    """

    frames: int
    judged: int
    checks: int
    probes: int
    evaluations: int
    returns: int
    multiply_adds: float

    @property
    def evened(self) -> int:
        """Calibration frames that decide whether channels are evened out."""
        return min(self.frames, EVENED_FRAMES)

    def affordable(self, multiply_adds: int) -> Effort:
        """The same for a network that takes so many multiply-adds per frame.

        Fewer frames are enough there: what makes networks heavy are large pictures and hundreds of proposals, and
        every position of them is a sample.

        >>> EFFORTS["normal"].affordable(500_000_000) == EFFORTS["normal"]
        True
        >>> EFFORTS["normal"].affordable(100_000_000_000).frames
        25
        """
        frames = max(int(self.multiply_adds / max(multiply_adds, 1)), MIN_FRAMES)
        return replace(
            self,
            frames=min(self.frames, frames),
            judged=min(self.judged, frames),
            probes=min(self.probes, max(frames // MIN_FRAMES, 1)),
            checks=min(self.checks, max(frames // 2, MIN_FRAMES)),
            evaluations=min(self.evaluations, max(frames // MIN_EVALUATIONS, MIN_EVALUATIONS)),
        )


EFFORTS: dict[EffortName, Effort] = {
    "quick": Effort(frames=24, judged=24, checks=8, probes=3, evaluations=4, returns=0, multiply_adds=1e12),
    "normal": Effort(frames=96, judged=64, checks=16, probes=4, evaluations=7, returns=2, multiply_adds=2.5e12),
    "thorough": Effort(
        frames=500, judged=128, checks=1000, probes=12, evaluations=40, returns=6, multiply_adds=1e14
    ),
}
MIN_FRAMES = 8
"""Frames that the heaviest network is shown, if there are so many; as many units are tried alone."""
MIN_EVALUATIONS = 3
"""Full ones that a search has, however heavy the network."""
EVENED_FRAMES = 16
"""Calibration frames that decide whether channels are evened out, at most."""


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices evenly spaced over ``count``.

    >>> spread(10, 3), spread(2, 5)
    ([0, 4, 9], [0, 1])
    """
    if wanted >= count:
        return list(range(count))
    return sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})

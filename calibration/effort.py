"""How much time a quantisation may take: three points, and what each of them looks at."""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    frames: int
    judged: int
    checks: int
    probes: int
    evaluations: int
    returns: int


EFFORTS: dict[EffortName, Effort] = {
    "quick": Effort(frames=24, judged=24, checks=8, probes=3, evaluations=4, returns=0),
    "normal": Effort(frames=96, judged=64, checks=16, probes=4, evaluations=7, returns=2),
    "thorough": Effort(frames=500, judged=128, checks=1000, probes=12, evaluations=40, returns=6),
}
EVENED_FRAMES = 16
"""Calibration frames that decide whether channels are evened out."""


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices evenly spaced over ``count``.

    >>> spread(10, 3), spread(2, 5)
    ([0, 4, 9], [0, 1])
    """
    if wanted >= count:
        return list(range(count))
    return sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})

"""The search for the INT8 graph to ship: built, measured as built, and held to what may be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx

from edgedet.errors import AccuracyBudgetError

from .accuracy_guard import AIM, Guard, within
from .dialect import Unit
from .effort import Effort
from .observe import Progress
from .quantisation_run import Quantisation
from .reasons import given_back, no_faster

OverBudget = Literal["refuse", "keep_best"]
"""What happens when the budget cannot be kept: an error, or the best graph and a warning."""


@dataclass(frozen=True)
class Candidate:
    """A graph that could be shipped.

    Attributes:
        model: the Q/DQ graph.
        units: those in INT8.
        figure: the judge's of ``model`` itself; None where it has nothing to judge by.
        evaluations: full ones it took to find it.
    """

    model: onnx.ModelProto
    units: tuple[Unit, ...]
    figure: float | None
    evaluations: int


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        candidate: the graph to ship.
        kept_float: the layers that are not INT8, by name, with the reason.
        losses: agreement lost by single units, as far as it was measured; None where nothing tells.
        missed: what the candidate lacks of what was asked for, as a sentence; None where nothing.
    """

    candidate: Candidate
    kept_float: dict[str, str]
    losses: dict[str, float | None]
    missed: str | None


def search(
    work: Quantisation,
    kept_float: Mapping[str, str],
    *,
    max_drop: float,
    over_budget: OverBudget,
    effort: Effort,
    progress: Progress,
) -> Found:
    """Find the graph with the most INT8 that loses at most ``max_drop``, and pays.

    Args:
        work: the fitted graph and what can be asked of it.
        kept_float: layers that were left out before, with the reason.
        max_drop: how much of the judge's figure may be lost, absolute; 1 keeps whatever is left of it.
        over_budget: what happens when that cannot be kept.
        effort: how much is tried.
        progress: called with (what, done, of); ``of`` is 0 where the end is not known.

    Raises:
        AccuracyBudgetError: the drop cannot be kept inside the budget, and the best graph is not wanted.
    """
    guard = Guard(
        work.candidates,
        work.figure_with,
        work.loss_of,
        disturbance=work.disturbance_of,
        effort=effort,
        ledger=work.ledger,
        progress=progress,
    )
    accurate = _inside_budget(work, guard, max_drop)
    kept = _without_slow_rest(work, guard, accurate, progress=progress)
    reasons = dict(kept_float) | no_faster(accurate.units, kept.units)
    reasons |= {
        unit.name: given_back(work, guard, unit)
        for unit in work.candidates
        if unit not in kept.units and unit.name not in reasons
    }
    missed = _missed(work, kept, max_drop)
    if missed is not None and over_budget == "refuse":
        raise AccuracyBudgetError(
            f"{missed}: allow more with --max-drop, calibrate on more images, or keep the best graph with "
            "--over-budget keep_best"
        )
    return Found(kept, reasons, guard.losses, missed)


def _inside_budget(work: Quantisation, guard: Guard, max_drop: float) -> Candidate:
    """The most INT8 for half of what may be lost; for all of it where that leaves too little INT8."""
    # Who allows everything to be lost asks for all that INT8 makes faster.
    for aim in (max_drop * AIM, max_drop) if max_drop < 1 else (1.0,):
        verdict = guard.search(aim)
        units = tuple(unit for unit in work.candidates if unit.name in verdict.on)
        if work.share(units) >= work.dialect.min_share:
            break
    return Candidate(work.build(units), units, verdict.figure, verdict.evaluations)


def _without_slow_rest(work: Quantisation, guard: Guard, candidate: Candidate, *, progress: Progress) -> Candidate:
    """Give back, too, what gains no time any more without the units that the guard gave back.

    Less INT8 is never less exact, but it is measured again all the same.
    """
    if not 0 < len(candidate.units) < len(work.candidates):
        return candidate
    paying = work.dialect.still_paying(candidate.units, work.build, work.frames[0], progress=progress)
    if len(paying) == len(candidate.units):
        return candidate
    figure = guard.figure(frozenset(unit.name for unit in paying))
    return Candidate(work.build(paying), tuple(paying), figure, guard.evaluations)


def _missed(work: Quantisation, candidate: Candidate, max_drop: float) -> str | None:
    """What ``candidate`` lacks, as a sentence; None where it loses at most ``max_drop`` and is INT8 enough."""
    reference, figure, share = work.reference, candidate.figure, work.share(candidate.units)
    min_share = work.dialect.min_share
    if (max_drop >= 1 or within(reference, figure, max_drop)) and share >= min_share:
        return None
    if max_drop >= 1 or within(reference, figure, max_drop):
        return (
            f"the best INT8 graph has {share:.0%} of the multiply-adds in INT8, where at least {min_share:.0%} are "
            f"wanted: with more of them it loses over {max_drop:g} of {work.judge.name}"
        )
    lost = (
        f"an unknown part of {work.judge.name}"
        if reference is None or figure is None
        else f"{reference - figure:.4f} of {work.judge.name} ({reference:.4f} in fp32)"
    )
    least = f" with at least {min_share:.0%} of them" if min_share else ""
    return (
        f"the best INT8 graph loses {lost} with {share:.0%} of the multiply-adds in INT8; "
        f"the budget is {max_drop:g}{least}"
    )

"""The artifact for a budget, the runner-up, and the reason in one paragraph."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgedet.budget_limits import Limit
from edgedet.evaluate.application_result import BY_HOUR
from edgedet.report.collect import Row


@dataclass(frozen=True)
class Budget:
    """What the device allows and the task demands; None where nothing was said.

    ``percentile``: which latency must keep within ``milliseconds``. Default p90, as MLPerf judges single streams: a
    budget that is kept on average is broken every second frame.
    """

    milliseconds: float | None = None
    watts: float | None = None
    min_map: float | None = None
    percentile: str = "p90"
    limits: tuple[tuple[Limit, float], ...] = ()
    """Figures of the application, and their maxima."""

    @property
    def given(self) -> bool:
        """Whether there is anything to choose by."""
        return (self.milliseconds, self.watts, self.min_map) != (None, None, None) or bool(self.limits)

    def __str__(self) -> str:
        parts = []
        if self.milliseconds is not None:
            parts.append(f"{self.percentile} within {self.milliseconds:g} ms")
        if self.watts is not None:
            parts.append(f"at most {self.watts:g} W")
        if self.min_map is not None:
            parts.append(f"mAP of {self.min_map:g} or more")
        parts += [f"at most {limit.text(most)}" for limit, most in self.limits]
        return ", ".join(parts) or "no budget"


@dataclass(frozen=True)
class Choice:
    """``chosen`` and ``runner_up`` may be None; ``why`` then says what stood in the way."""

    budget: Budget
    chosen: Row | None
    runner_up: Row | None
    why: str
    left_out: tuple[tuple[str, str], ...]
    """Rows that could not be judged at all, with the reason."""


def pareto_front(rows: Sequence[Row], percentile: str) -> list[Row]:
    """Rows that no other row beats in both accuracy and latency, fastest first."""
    known = [(row.latency(percentile), row.map, row) for row in rows]
    points = sorted(
        ((latency, -score, row) for latency, score, row in known if latency is not None and score is not None),
        key=lambda point: point[:2],
    )
    front: list[Row] = []
    best = -1.0
    for _, negative, row in points:
        if -negative > best:
            best = -negative
            front.append(row)
    return front


def choose(rows: Sequence[Row], budget: Budget) -> Choice:
    """The most accurate row within the budget; the fastest one where only accuracy was demanded.

    A row without the figure that a budget is about cannot be chosen: not measured is not the same as good enough.
    """
    judged: list[Row] = []
    left_out: list[tuple[str, str]] = []
    for row in rows:
        gap = _gap(row, budget)
        if gap is None:
            judged.append(row)
        else:
            left_out.append((row.name, gap))
    fitting = sorted((row for row in judged if not _violations(row, budget)), key=lambda row: _rank(row, budget))
    chosen, runner_up = [*fitting, None, None][:2]
    if not budget.given:
        options = "--budget-ms, --budget-watts, --min-map, --max-…"
        why = f"No budget was given ({options}): the frontier below is the choice."
        return Choice(budget, None, None, why, tuple(left_out))
    why = _why(chosen, runner_up, judged, budget) if chosen is not None else _why_none(judged, budget)
    return Choice(budget, chosen, runner_up, why, tuple(left_out))


def _gap(row: Row, budget: Budget) -> str | None:
    if row.latency(budget.percentile) is None:
        return f"{budget.percentile} not measured: {row.why_missing('latency', budget.percentile)}"
    if row.map is None:
        return f"accuracy not measured: {row.why_missing('accuracy')}"
    if budget.watts is not None and row.watts is None:
        return f"power not measured: {row.why_missing('watts')}"
    for limit, _ in budget.limits:
        figure = row.accuracy.figure(limit.key)
        if figure.value is None:
            return f"{limit.title} not measured: {figure.reason}"
    return None


def _violations(row: Row, budget: Budget) -> list[str]:
    found = []
    latency, score, watts = row.latency(budget.percentile), row.map, row.watts
    if budget.milliseconds is not None and latency is not None and latency > budget.milliseconds:
        found.append(f"{budget.percentile} {latency:.1f} ms")
    if budget.watts is not None and watts is not None and watts > budget.watts:
        found.append(f"{watts:.1f} W")
    if budget.min_map is not None and score is not None and score < budget.min_map:
        found.append(f"mAP {score:.3f}")
    for limit, most in budget.limits:
        value = row.accuracy.figure(limit.key).value
        if value is not None and value > most:
            found.append(limit.text(value))
    return found


def _rank(row: Row, budget: Budget) -> tuple[float, float]:
    latency, score = row.latency(budget.percentile) or 0.0, row.map or 0.0
    if budget.milliseconds is None and budget.watts is None:
        return latency, -score
    return -score, latency


def _why(chosen: Row, runner_up: Row | None, judged: Sequence[Row], budget: Budget) -> str:
    rule = "fastest" if budget.milliseconds is None and budget.watts is None else "most accurate"
    within = sum(not _violations(row, budget) for row in judged)
    words = [
        f"{chosen.name} is the {rule} of {within} that keep the budget ({budget}), out of {len(judged)} judged: "
        f"{_figures(chosen, budget)}."
    ]
    if runner_up is None:
        words.append("Nothing else keeps it.")
    else:
        score = (runner_up.map or 0.0) - (chosen.map or 0.0)
        pace = (runner_up.latency(budget.percentile) or 0.0) / (chosen.latency(budget.percentile) or 1.0) - 1
        words.append(
            f"Runner-up: {runner_up.name}, {_figures(runner_up, budget)} ({score:+.3f} mAP, {pace:+.0%} time)."
        )
    better = [row for row in judged if (row.map or 0.0) > (chosen.map or 0.0) and _violations(row, budget)]
    if better:
        best = max(better, key=lambda row: row.map or 0.0)
        breaks = ", ".join(_violations(best, budget))
        words.append(f"More accurate but outside the budget: {best.name} with mAP {best.map:.3f} ({breaks}).")
    words += _doubts(chosen, judged, budget)
    if chosen.disturbed:
        words.append("Its latency was measured while other processes were busy: measure it again, alone.")
    return " ".join(words)


def _doubts(chosen: Row, judged: Sequence[Row], budget: Budget) -> Iterator[str]:
    """What the figures of the application leave open."""
    for limit, most in budget.limits:
        high = chosen.accuracy.figure(limit.key).high
        if high is not None and high > most:
            reach = "without end" if math.isinf(high) else format(high, limit.form)
            yield (
                f"Whether it keeps {limit.text(most)} is not certain: the 95 % interval reaches {reach}; more "
                "pictures or clips would tell."
            )
    if any(limit.key in BY_HOUR for limit, _ in budget.limits):
        ways = {row.accuracy.application.by: row.name for row in judged if row.accuracy.application is not None}
        if len(ways) > 1:
            said = "; ".join(f"{name}: {by}" for by, name in ways.items())
            yield f"Alarms are not counted alike, and cannot be compared ({said})."


def _why_none(judged: Sequence[Row], budget: Budget) -> str:
    if not judged:
        return f"Nothing can be chosen for {budget}: no artifact has all the figures that takes."
    nearest = min(judged, key=lambda row: (len(_violations(row, budget)), _rank_latency(row, budget)))
    return (
        f"None of {len(judged)} keeps the budget ({budget}). Nearest: {nearest.name}, but it has "
        f"{' and '.join(_violations(nearest, budget))}."
    )


def _rank_latency(row: Row, budget: Budget) -> float:
    return row.latency(budget.percentile) or 0.0


def _figures(row: Row, budget: Budget) -> str:
    power = "" if row.watts is None else f", {row.watts:.1f} W"
    figures = "".join(
        f", {limit.text(value)}"
        for limit, _ in budget.limits
        if (value := row.accuracy.figure(limit.key).value) is not None
    )
    latency = f"{budget.percentile} {row.latency(budget.percentile) or 0.0:.1f} ms"
    return f"mAP {row.map or 0.0:.3f}, {latency}{power}{figures}"

"""The GPU bars: what was measured, against what, and whether the limit holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

WARMUP, RUNS = 50, 200


@dataclass(frozen=True)
class Bar:
    """One line of the result.

    ``rule``: what ``limit`` is about: the measured value itself, how many times the reference it is, how many times
    faster than the reference, or how far from it. ``why``: it was not measured.
    """

    name: str
    rule: Literal["value", "times", "faster", "apart"]
    limit: float
    unit: str = "ms"
    measured: float | None = None
    reference: float | None = None
    why: str = ""

    @property
    def value(self) -> float | None:
        """What is held to the limit; None where something was not measured."""
        if self.measured is None or self.why:
            return None
        if self.rule == "value":
            return self.measured
        if self.reference is None:
            return None
        if self.rule == "apart":
            return abs(self.measured - self.reference)
        return self.measured / self.reference if self.rule == "times" else self.reference / self.measured

    @property
    def met(self) -> bool | None:
        """Whether the limit holds; None where that is not known. NaN holds no limit."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.rule == "faster" else self.value <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """All of it and what follows from it, for the step's result; ``text``: the figures as a line."""
        return asdict(self) | {"value": self.value, "met": self.met, "text": str(self)}

    def __str__(self) -> str:
        figures = [
            "-" if figure is None else f"{figure:.4f} {self.unit}".rstrip()
            for figure in (self.measured, self.reference)
        ]
        ratio = "-" if self.value is None or self.rule == "value" else f"{self.value:.4g} {SUFFIX[self.rule]}"
        least = "at least" if self.rule == "faster" else "at most"
        limit = f"{least} {self.limit:g} {SUFFIX.get(self.rule, self.unit)}"
        verdict = {True: "met", False: "NOT MET", None: f"not measured: {self.why}"}[self.met]
        return " | ".join((self.name, *figures, ratio, limit, verdict))


SUFFIX: dict[str, str] = {"times": "x", "faster": "x faster", "apart": "apart"}


def wall(work: Callable[[], object]) -> Callable[[], float]:
    """``work``, which waits for its own end, as a stopwatch: milliseconds."""

    def timed() -> float:
        begin = time.perf_counter()
        work()
        return (time.perf_counter() - begin) * 1e3

    return timed


def medians(*stopwatches: Callable[[], float]) -> list[float]:
    """Medians of RUNS after WARMUP unmeasured ones, in turns: a slow moment falls on all alike."""
    times: list[list[float]] = [[] for _ in stopwatches]
    for index in range(WARMUP + RUNS):
        for stopwatch, spent in zip(stopwatches, times, strict=True):
            milliseconds = stopwatch()
            if index >= WARMUP:
                spent.append(milliseconds)
    return [statistics.median(spent) for spent in times]

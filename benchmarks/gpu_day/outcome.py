"""What a step found out, written down as it goes: a step that is killed keeps what it had until then."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from edgedet.errors import EdgedetError
from gpu_day.bars import Bar

Outcome = Literal["passed", "failed", "not_measured"]

RESULT = "GPU_DAY_RESULT"
"""Environment variable: the file that a step's process leaves its result in."""


class NotHereError(Exception):
    """This machine lacks what the step needs: the step was not measured, and has not failed."""


class Report:
    """The result of one step, written whole to ``path`` whenever something is added.

    ``checks``: what held and what did not; ``bars``: figures with a limit; ``figures``: all others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._checks: list[dict[str, str]] = []
        self._bars: list[Bar] = []
        self._figures: dict[str, Any] = {}

    def check(self, what: str, outcome: Outcome, detail: str = "") -> None:
        """Add a finding; ``detail``: what was compared, or why it failed or was not measured."""
        self._checks.append({"what": what, "outcome": outcome, "detail": " ".join(detail.split())})
        self._write()

    def attempt(self, what: str, work: Callable[[], str]) -> None:
        """Add what ``work`` finds out: it passed with the sentence that it returns, or failed by what it raises."""
        try:
            self.check(what, "passed", work())
        except NotHereError as error:
            self.check(what, "not_measured", str(error))
        except Exception as error:  # one broken thing must not cost the other figures
            self.check(what, "failed", reason(error))

    def measure(self, bars: Iterable[Bar], work: Callable[[], Iterable[Bar]]) -> None:
        """Add what ``work`` makes of ``bars``, one by one; those it does not come to say why."""
        left = {bar.name: bar for bar in bars}
        try:
            for bar in work():
                del left[bar.name]
                self._add(bar)
        except NotHereError as error:
            self.leave_out(left.values(), str(error))
        except Exception as error:
            self.leave_out(left.values(), reason(error))
            self.check("measuring", "failed", reason(error))

    def leave_out(self, bars: Iterable[Bar], why: str) -> None:
        """Add figures that were not measured."""
        self._add(*(replace(bar, why=why) for bar in bars))

    def _add(self, *bars: Bar) -> None:
        self._bars += bars
        self._write()

    def figure(self, name: str, value: Any) -> None:
        """Add a figure that has none."""
        self._figures[name] = value
        self._write()

    def end(self) -> None:
        """Nothing more is to come."""
        self._write(complete=True)

    def _write(self, *, complete: bool = False) -> None:
        content = plain(
            {
                "complete": complete,
                "checks": self._checks,
                "bars": [bar.to_dict() for bar in self._bars],
                "figures": self._figures,
            }
        )
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
        partial.replace(self._path)


def judge(result: dict[str, Any]) -> tuple[Outcome, str]:
    """The outcome of a step by its checks and bars, and why it is none of the better ones."""
    found = [(check["outcome"], check["what"], check["detail"]) for check in result["checks"]]
    found += [(MET[bar["met"]], bar["name"], bar["why"] or bar["text"]) for bar in result["bars"]]

    def said(kind: Outcome) -> str:
        reasons: dict[str, list[str]] = {}
        for outcome, what, why in found:
            if outcome == kind:
                reasons.setdefault(why, []).append(what)
        return "; ".join(f"{', '.join(whats)}: {why}" for why, whats in reasons.items())

    kinds = {outcome for outcome, _, _ in found}
    if "failed" in kinds:
        return "failed", said("failed")
    if "passed" in kinds:
        return "passed", said("not_measured")
    return "not_measured", said("not_measured") or "there was nothing to measure"


MET: dict[bool | None, Outcome] = {True: "passed", False: "failed", None: "not_measured"}


def reason(error: BaseException) -> str:
    """An error in one line, with its kind where its words are not ours."""
    said = " ".join(str(error).split())
    return said if isinstance(error, EdgedetError | NotHereError) else f"{type(error).__name__}: {said}"


def plain(value: Any) -> Any:
    """The same nested value as JSON has it: no tuples, no NumPy, and None for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(value.item()) if hasattr(value, "item") else str(value)

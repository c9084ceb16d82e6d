"""Steps one after another, each in a process of its own, within one budget of time."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_day.journal import Journal
from gpu_day.outcome import judge
from gpu_day.process import Ended, read_result, run

PASSED, FAILED, USAGE, NOTHING, IN_PART = 0, 1, 2, 3, 4
"""Exit codes: all was measured and passed; something failed; a usage error; nothing could be measured; what could
be measured passed, and the rest was not measured."""
STOPPED = 128
"""More than this: the number of the signal that ended the run."""
WORDS_SHOWN = 300
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Step:
    """``limit``: seconds it may take; ``least``: with fewer left of the budget it is not begun."""

    name: str
    does: str
    command: tuple[str, ...]
    limit: float
    least: float = 5.0


class Stopped(BaseException):
    """A signal that ends the run."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)


def waiting(step: Step) -> dict[str, Any]:
    """The entry of a step that has not been begun."""
    return {
        "name": step.name, "does": step.does, "outcome": "waiting", "reason": "", "limit_s": step.limit,
        "seconds": None, "exit_code": None, "checks": [], "bars": [], "figures": {}, "last_words": "",
    }  # fmt: skip


def run_steps(
    steps: Sequence[Step],
    journal: Journal,
    *,
    budget: float,
    folder: Path,
    environment: Mapping[str, str],
    told: Callable[[str], None],
    written: Callable[[dict[str, Any]], None] = lambda content: None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run them all; the exit code.

    ``folder``: for the results of the steps. ``told`` hears a line for each; ``written`` gets the content of the
    journal whenever that was written.
    """
    content, begin = journal.content, clock()
    entries = content["steps"] = [waiting(step) for step in steps]
    problem = ""

    def left() -> float:
        return budget - (clock() - begin)

    def save() -> None:
        nonlocal problem
        content["spent_s"] = round(clock() - begin, 1)
        content["counts"] = counts(entries)
        problem = journal.write()
        if problem:
            told(f"warning: {problem}; what was measured is kept in memory until the end")
        written(content)

    with _signals() as undisturbed:
        try:
            save()
            for number, (step, entry) in enumerate(zip(steps, entries, strict=True), 1):
                place = f"[{number:>{len(str(len(steps)))}}/{len(steps)}] {step.name}"
                available = left()
                if available < step.least:
                    why = f"no time left: it needs {step.least:.0f} s, {max(available, 0):.0f} are left"
                    entry.update(outcome="not_measured", reason=why)
                    told(f"{place}: not measured, {why}")
                    continue
                entry["outcome"] = "running"
                save()
                limit = min(step.limit, available)
                told(f"{place}: {step.does} ({limit:.0f} s at most, {available:.0f} s left for all)")
                ended = run(step.command, limit, folder / f"step-{number}.json", environment)
                entry.update(concluded(step, ended, limit))
                save()
                told(f"{place}: {_line(entry)}; {max(left(), 0):.0f} s left")
        except Stopped as stopped:
            _stop(entries, stopped, folder)
            content["stopped_by"] = stopped.signal.name
            content["exit_code"] = STOPPED + int(stopped.signal)
        else:
            content["complete"] = True
            content["exit_code"] = exit_code(entries)
        undisturbed()
        content["ended"] = utc_now()
        save()
    journal.close()
    if problem:
        # The disk is full and stays so; nobody must take the run for a good one.
        content["exit_code"] = content["exit_code"] if content["exit_code"] > STOPPED else FAILED
    return int(content["exit_code"])


def _stop(entries: Sequence[dict[str, Any]], stopped: Stopped, folder: Path) -> None:
    """What was not done says so; the step that was running keeps what it had."""
    for number, entry in enumerate(entries, 1):
        if entry["outcome"] == "running":
            result, _ = read_result(folder / f"step-{number}.json")
            result = result or {"checks": [], "bars": [], "figures": {}}
            outcome, why = judge(result)
            entry.update({name: result[name] for name in ("checks", "bars", "figures")})
            entry["outcome"] = "failed" if outcome == "failed" else "not_measured"
            entry["reason"] = f"stopped by {stopped.signal.name}" + (
                f"; before that: {why}" if result["checks"] else ""
            )
        elif entry["outcome"] == "waiting":
            entry.update(outcome="not_measured", reason=f"stopped by {stopped.signal.name} before it began")


def concluded(step: Step, ended: Ended, limit: float) -> dict[str, Any]:
    """What becomes of a step's entry."""
    result = ended.result or {"complete": False, "checks": [], "bars": [], "figures": {}}
    outcome, why = judge(result)
    broken = _broken(step, ended, limit)
    if broken:
        cut_by_budget = ended.late and limit < step.limit
        found = "" if outcome != "failed" else f"; before that: {why}"
        outcome = "failed" if outcome == "failed" or not cut_by_budget else "not_measured"
        why = broken + found
    return {
        "outcome": outcome,
        "reason": why,
        "seconds": round(ended.seconds, 2),
        "exit_code": ended.code,
        **{name: result[name] for name in ("checks", "bars", "figures")},
        "last_words": ended.words,
    }


def _broken(step: Step, ended: Ended, limit: float) -> str:
    """Why its process says nothing for certain; empty where it ended as it should."""
    last = ended.words[-WORDS_SHOWN:].replace("\n", " ")
    words = f": {last}" if last else ", without a word"
    if ended.late:
        whose = (
            "its limit" if limit >= step.limit else f"the end of the budget (its own limit is {step.limit:.0f} s)"
        )
        kept = "" if ended.result is None else "; what it had found until then is kept"
        lives = "" if ended.code is not None else "; it could not be ended and may hold the GPU"
        return f"stopped after {ended.seconds:.0f} s, {whose}{kept}{lives}"
    if ended.code is None:
        return ended.words
    if ended.code < 0:
        name = signal.Signals(-ended.code).name if -ended.code in set(signal.Signals) else f"signal {-ended.code}"
        return f"its process was ended by {name}{words}"
    if ended.code:
        return f"its process ended with exit code {ended.code}{words}"
    if ended.unreadable:
        return ended.unreadable
    if ended.result is None or not ended.result["complete"]:
        return f"its process ended before its work was done{words}"
    return ""


def counts(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many steps came out how."""
    kinds = ("passed", "failed", "not_measured", "running", "waiting")
    return {kind: sum(entry["outcome"] == kind for entry in entries) for kind in kinds}


def exit_code(entries: Sequence[Mapping[str, Any]]) -> int:
    """Exit code of a run that came to its end. Also a step that passed may have parts that were not measured."""
    found = counts(entries)
    if found["failed"]:
        return FAILED
    if not found["passed"]:
        return NOTHING
    whole = not found["not_measured"] and not any(entry["reason"] for entry in entries)
    return PASSED if whole else IN_PART


def _line(entry: Mapping[str, Any]) -> str:
    outcome = {"passed": "passed", "failed": "FAILED", "not_measured": "not measured"}[entry["outcome"]]
    why = f": {entry['reason'][:WORDS_SHOWN]}" if entry["reason"] else ""
    return f"{outcome} after {entry['seconds']:.1f} s{why}"


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], None]]:
    """Signals that end a program become :class:`Stopped`, once; what is yielded ignores them until the end."""
    stopped = False

    def ignore() -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)

    def stop(number: int, frame: Any) -> None:
        nonlocal stopped
        stopped = True
        ignore()
        raise Stopped(number)

    before = {each: signal.signal(each, stop) for each in SIGNALS}
    try:
        yield ignore
    finally:
        # A second Ctrl-C finds a program that is ending as it should.
        for each, handler in before.items() if not stopped else ():
            signal.signal(each, handler)


def utc_now() -> str:
    """ISO 8601, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def print_safely(text: str) -> None:
    """A line for whoever watches; nobody has to (the terminal may be gone)."""
    try:
        print(text, flush=True)
    except OSError:
        # Also what Python itself would write at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

"""Steps one after another: what goes wrong in one costs that one, and the file says what happened at any moment."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpu_day import process, sequence
from gpu_day.journal import Journal
from gpu_day.sequence import FAILED, IN_PART, NOTHING, PASSED, Step, run_steps

BENCHMARKS = Path(process.__file__).parents[1]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)


def result(outcome: str | None, *, complete: bool = True) -> str:
    checks = [] if outcome is None else [{"what": "it", "outcome": outcome, "detail": "because"}]
    return json.dumps({"complete": complete, "checks": checks, "bars": [], "figures": {"x": 1}})


MISSING = {"what": "more", "outcome": "not_measured", "detail": "no GPU"}


def step(name: str, code: str, limit: float = 30, least: float = 0) -> Step:
    return Step(name, "trying", (sys.executable, "-c", code), limit, least)


def leaving(text: str, then: str = "") -> str:
    return f"import os, pathlib; pathlib.Path(os.environ['GPU_DAY_RESULT']).write_text({text!r}); {then}"


GOOD = step("good", leaving(result("passed")))
BAD = step("bad", leaving(result("failed")))
ABSENT = step("absent", leaving(result("not_measured")))
CRASHES = step("crashes", "import os; print('last words', flush=True); os.abort()")
GARBAGE = step("garbage", leaving("{'not json\0"))
SILENT = step("silent", "pass")
EXITS = step("exits", leaving(result("passed"), "raise SystemExit('sorry')"))
SURROGATE = step("surrogate", leaving('{"complete": true, "checks": [{"what": "\\ud800", "outcome": "failed", '
                                      '"detail": "\\udfff"}], "bars": [], "figures": {}}'))  # fmt: skip
HALF = step("half", leaving(result("passed", complete=False)))
PART = step("part", leaving(result("passed").replace('"checks": [', '"checks": [' + json.dumps(MISSING) + ", ")))
LONG = step("long", leaving(result("passed", complete=False), "import time; time.sleep(60)"), limit=60)
PATIENCE = (0.5, 2, 8)
"""Seconds that a step which goes on for a minute is given, more where it found nothing until then: where much else
runs, Python takes its time to start."""


def content() -> dict[str, Any]:
    return {"complete": False, "stopped_by": None, "exit_code": None, "ended": None, "budget_s": 0, "counts": {}}


class Run:
    """``code``: the exit code; ``told``: the lines; ``entries``: of the file, by step."""

    def __init__(self, folder: Path, *steps: Step, budget: float = 60, **named: Any) -> None:
        self.told: list[str] = []
        self.path = folder / "run.json"
        journal = Journal(self.path, content())
        self.code = run_steps(
            steps, journal, budget=budget, folder=folder, environment=os.environ, told=self.told.append, **named
        )
        self.file = json.loads(self.path.read_text())
        self.entries = {entry["name"]: entry for entry in self.file["steps"]}


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((GOOD,), PASSED),
        ((GOOD, ABSENT), IN_PART),
        ((ABSENT, ABSENT), NOTHING),
        ((GOOD, BAD, ABSENT), FAILED),
        ((), NOTHING),
        ((PART,), IN_PART),
    ],
)
def test_the_exit_code_says_how_it_went(tmp_path: Path, steps: tuple[Step, ...], code: int) -> None:
    run = Run(tmp_path, *steps)
    assert run.code == code == run.file["exit_code"]
    assert run.file["complete"] is True and run.file["ended"]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (BAD, "it: because"),
        (CRASHES, "ended by SIGABRT: last words"),
        (GARBAGE, "its result cannot be read"),
        (SILENT, "ended before its work was done, without a word"),
        (EXITS, "ended with exit code 1: sorry"),
        (HALF, "ended before its work was done"),
        (SURROGATE, "\ud800: \udfff"),
        (Step("nowhere", "trying", ("/nothing/here",), 5, 0), "could not be started"),
    ],
    ids=lambda value: value.name if isinstance(value, Step) else "",
)
def test_a_step_that_goes_wrong_fails_alone(tmp_path: Path, broken: Step, why: str) -> None:
    run = Run(tmp_path, broken, GOOD)
    assert run.code == FAILED
    assert run.entries[broken.name]["outcome"] == "failed" and why in run.entries[broken.name]["reason"]
    assert run.entries["good"]["outcome"] == "passed"
    assert any(line.startswith(f"[1/2] {broken.name}: FAILED") for line in run.told)


def until_it_found(name: str, folder: Path, make: Callable[[Path, float], Run]) -> Run:
    """The first run, of ``make`` in a folder and with one of ``PATIENCE``, in which the step found something."""
    for seconds in PATIENCE:
        place = folder / f"{seconds}"
        place.mkdir()
        run = make(place, seconds)
        if run.entries[name]["checks"]:
            break
    return run


def test_a_step_that_hangs_fails_alone_and_what_it_had_found_is_kept(tmp_path: Path) -> None:
    def make(folder: Path, limit: float) -> Run:
        return Run(folder, replace(LONG, name="hangs", limit=limit), GOOD)

    run = until_it_found("hangs", tmp_path, make)
    entry = run.entries["hangs"]
    assert run.code == FAILED
    assert entry["outcome"] == "failed"
    assert " s, its limit; what it had found until then is kept" in entry["reason"]
    assert entry["figures"] == {"x": 1} and entry["checks"][0]["outcome"] == "passed"
    assert run.entries["good"]["outcome"] == "passed"
    assert any(line.startswith("[1/2] hangs: FAILED") for line in run.told)


def test_what_failed_before_the_end_of_the_budget_failed(tmp_path: Path) -> None:
    late = step("late", leaving(result("failed", complete=False), "import time; time.sleep(60)"), limit=60)
    run = until_it_found("late", tmp_path, lambda folder, budget: Run(folder, late, budget=budget))
    assert run.code == FAILED and "before that: it: because" in run.entries["late"]["reason"]


def test_a_step_that_the_budget_cuts_off_has_not_failed(tmp_path: Path) -> None:
    steps = (GOOD, LONG, step("after", "pass", least=10))
    run = until_it_found("long", tmp_path, lambda folder, budget: Run(folder, *steps, budget=budget))
    assert run.code == IN_PART
    assert run.entries["long"]["outcome"] == "not_measured"
    assert "the end of the budget (its own limit is 60 s)" in run.entries["long"]["reason"]
    assert run.entries["after"]["outcome"] == "not_measured"
    assert "no time left: it needs 10 s, 0 are left" in run.entries["after"]["reason"]
    assert run.file["spent_s"] < 12


def test_what_is_left_is_said_with_every_step(tmp_path: Path) -> None:
    told = Run(tmp_path, GOOD, GOOD, budget=50).told
    assert len(told) == 4
    assert told[0].startswith("[1/2] good: trying (30 s at most, 50 s left for all)")
    assert told[1].startswith("[1/2] good: passed after") and told[1].endswith(" s left")


def test_the_file_is_valid_before_and_after_every_step(tmp_path: Path) -> None:
    seen = []

    def look(_: Any) -> None:
        seen.append([entry["outcome"] for entry in json.loads((tmp_path / "run.json").read_text())["steps"]])

    Run(tmp_path, GOOD, BAD, written=look)
    assert seen == [
        ["waiting", "waiting"],
        ["running", "waiting"],
        ["passed", "waiting"],
        ["passed", "running"],
        ["passed", "failed"],
        ["passed", "failed"],
    ]


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = sequence.Journal.write, []

    def write(self: Journal) -> str:
        calls.append(1)
        return "the disk is full" if len(calls) in (3, 4) else real(self)

    monkeypatch.setattr(sequence.Journal, "write", write)
    run = Run(tmp_path, GOOD, GOOD)
    assert run.code == PASSED and [entry["outcome"] for entry in run.file["steps"]] == ["passed", "passed"]
    assert "warning: the disk is full" in " ".join(run.told)


def test_a_run_whose_file_cannot_be_written_is_not_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def replace(self: Path, target: Any) -> Path:
        if Path(target).name == "run.json" and Path(target).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    run = Run(tmp_path, GOOD)
    assert run.code == FAILED
    # What is there is the first state, and valid.
    assert run.file["steps"][0]["outcome"] == "waiting" and run.file["complete"] is False


def in_a_process(folder: Path) -> subprocess.Popen[str]:
    """A run of one good step and one that goes on for a minute, once that has begun."""
    code = (
        f"import sys; sys.path[:0] = [{str(BENCHMARKS)!r}, {str(Path(__file__).parents[3])!r}]\n"
        "from pathlib import Path\n"
        "from tests.benchmarks.gpu_day import test_sequence as t\n"
        f"t.process.GRACE = 0.5\nsys.exit(t.Run(Path({str(folder)!r}), t.GOOD, t.LONG, t.GOOD).code)"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end, found = time.monotonic() + 60, folder / "step-2.json"
    while time.monotonic() < end:
        # There before it is written.
        if found.exists() and found.read_text().endswith("}"):
            return started
        time.sleep(0.05)
    pytest.fail("the second step never began")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    started = in_a_process(tmp_path)
    yield started
    started.kill()
    started.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_leaves_what_was_done(
    running: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    running.send_signal(number)
    # Impatience changes nothing.
    time.sleep(0.05)
    running.send_signal(number)
    assert running.wait(20) == 128 + number, running.stderr
    file = json.loads((tmp_path / "run.json").read_text())
    first, second, third = file["steps"]
    assert file["stopped_by"] == number.name and file["complete"] is False and file["ended"]
    assert file["exit_code"] == 128 + number
    assert first["outcome"] == "passed"
    assert second["outcome"] == "not_measured" and second["reason"].startswith(f"stopped by {number.name}")
    assert second["checks"][0]["detail"] == "because"
    assert third["reason"] == f"stopped by {number.name} before it began"


def test_a_killed_run_leaves_a_valid_file(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.kill()
    running.wait()
    file = json.loads((tmp_path / "run.json").read_text())
    assert [entry["outcome"] for entry in file["steps"]] == ["passed", "running", "waiting"]
    assert file["exit_code"] is None and file["complete"] is False

"""A process of its own for every step: whatever it does, the next one can be run, and its words are kept."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from gpu_day import process
from gpu_day.process import Ended, read_result, run

GOOD = {"complete": True, "checks": [], "bars": [], "figures": {"x": 1}}
LEAVE = "import os, pathlib; pathlib.Path(os.environ['GPU_DAY_RESULT']).write_text({!r})"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)


def ended(tmp_path: Path, code: str, limit: float = 30) -> Ended:
    return run([sys.executable, "-c", code], limit, tmp_path / "result.json", os.environ)


def until_it_spoke(tmp_path: Path, code: str) -> Ended:
    """Of a program that goes on: the end after the first limit by which it had left or said something. Where much
    else runs, Python takes its time to start."""
    for limit in (0.5, 2, 8):
        found = ended(tmp_path, code, limit)
        if found.result is not None or found.words:
            break
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_result_comes_back(tmp_path: Path) -> None:
    found = ended(tmp_path, LEAVE.format(json.dumps(GOOD)) + "; print('said this')")
    assert (found.code, found.late, found.result, found.words) == (0, False, GOOD, "said this")


def test_an_older_result_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(GOOD))
    assert ended(tmp_path, "pass").result is None


def test_what_hangs_is_stopped_and_keeps_what_it_had(tmp_path: Path) -> None:
    partial = GOOD | {"complete": False}
    found = until_it_spoke(tmp_path, LEAVE.format(json.dumps(partial)) + "; import time; time.sleep(60)")
    assert found.late and found.result == partial and found.code == -signal.SIGTERM
    assert found.seconds < 30


def test_what_does_not_listen_is_killed(tmp_path: Path) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf = f"{ignore}print('deaf', flush=True); time.sleep(60)"
    found = until_it_spoke(tmp_path, deaf)
    assert found.late and found.code == -signal.SIGKILL and found.words == "deaf"


def test_what_a_step_started_ends_with_it(tmp_path: Path) -> None:
    """And does not keep the run waiting by holding the other end of its output."""
    code = (
        "import subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(p.pid)"
    )
    begin = time.monotonic()
    found = ended(tmp_path, code)
    assert found.code == 0 and time.monotonic() - begin < 20
    for _ in range(50):
        if not is_alive(int(found.words)):
            return
        time.sleep(0.1)
    pytest.fail("what the step started is still there")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_is_known_by_its_signal(tmp_path: Path, number: signal.Signals) -> None:
    assert ended(tmp_path, f"import os; os.kill(os.getpid(), {int(number)})").code == -number


def test_garbage_is_kept_short_and_printable(tmp_path: Path) -> None:
    code = "import sys; [sys.stdout.buffer.write(bytes(range(256)) * 1000) for _ in range(200)]; print('the end')"
    found = ended(tmp_path, code)
    assert found.code == 0 and len(found.words) <= process.TAIL_BYTES and found.words.endswith("the end")
    assert all(letter.isprintable() or letter == "\n" for letter in found.words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "\0\x01",
        '{"complete": true}',
        '{"complete": 1, "checks": [], "bars": [], "figures": {}}',
        '{"complete": true, "checks": [3], "bars": [], "figures": {}}',
        '{"complete": true, "checks": [{"what": "", "detail": "", "outcome": "great"}], "bars": [], "figures": {}}',
        '{"complete": true, "checks": [{"what": "a", "outcome": "passed"}], "bars": [], "figures": {}}',
        '{"complete": true, "checks": [], "bars": [{"name": "a", "why": "", "text": ""}], "figures": {}}',
        '{"complete": true, "checks": [], "bars": [{"name": "", "why": "", "text": "", "met": []}], "figures": {}}',
        "[" * 100_000,
    ],
)
def test_a_result_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    found = ended(tmp_path, LEAVE.format(text))
    assert found.code == 0 and found.result is None and "result" in found.unreadable


def test_numbers_that_are_none_become_nothing(tmp_path: Path) -> None:
    text = '{"complete": true, "checks": [], "bars": [], "figures": {"x": NaN, "y": -Infinity}}'
    (tmp_path / "result.json").write_text(text)
    assert read_result(tmp_path / "result.json") == (
        {"complete": True, "checks": [], "bars": [], "figures": {"x": None, "y": None}},
        "",
    )


def test_a_huge_result_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MAX_RESULT", 10)
    assert read_result(_written(tmp_path))[0] is None


def _written(tmp_path: Path) -> Path:
    (tmp_path / "result.json").write_text(json.dumps(GOOD))
    return tmp_path / "result.json"


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    found = run([str(tmp_path / "nothing")], 5, tmp_path / "result.json", os.environ)
    assert found.code is None and not found.late and "could not be started" in found.words


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's prctl")
def test_a_step_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    path = str(Path(process.__file__).parents[1])
    child = (
        f"import sys, time; sys.path.append({path!r}); from gpu_day.process import end_with_parent; "
        "end_with_parent(); print('ready', flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE); "
        "p.stdout.readline(); print(p.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    found = ended(tmp_path, parent)
    assert found.code == -signal.SIGKILL
    for _ in range(50):
        if not is_alive(int(found.words)):
            return
        time.sleep(0.1)
    pytest.fail("the step outlived its run")

"""One step in a process of its own, which cannot take the others with it: not by crashing, hanging or talking."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gpu_day.outcome import RESULT

GRACE = 3.0
"""Seconds between asking a process to end and ending it, and again until it is given up: one that waits for a
driver in the kernel does not even die."""
TAIL_BYTES = 8_000
"""Last words of a step that are kept, however much it says."""
MAX_RESULT = 8 * 2**20
"""Bytes of a result; what is larger is no result of ours."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    ``code``: its exit code, negative for a signal; None where it could not be started, or not be ended either.
    ``result``: what it left, None where that is nothing or not a result; ``unreadable`` says what is wrong with it.
    ``late``: it was stopped at its limit. ``words``: the last it said.
    """

    code: int | None
    seconds: float
    late: bool
    words: str
    result: dict[str, Any] | None
    unreadable: str = ""


def run(command: Sequence[str], limit: float, result: Path, environment: Mapping[str, str]) -> Ended:
    """Run ``command`` for ``limit`` seconds at most; it is told by ``GPU_DAY_RESULT`` to leave ``result``.

    Raises:
        KeyboardInterrupt, SystemExit: from a signal; the process has been ended first.
    """
    begin = time.monotonic()
    with contextlib.suppress(OSError):
        result.unlink(missing_ok=True)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, RESULT: str(result)},
            # A group of its own: what it starts ends with it, and Ctrl-C reaches this process alone.
            start_new_session=True,
        )
    except OSError as error:
        return Ended(None, time.monotonic() - begin, False, f"it could not be started: {error}", None)
    words = _Listener(process.stdout)
    late = False
    try:
        process.wait(max(limit, 0.0))
    except subprocess.TimeoutExpired:
        late = True
    finally:
        _end(process)
    found, unreadable = read_result(result)
    return Ended(process.returncode, time.monotonic() - begin, late, words.last(), found, unreadable)


def read_result(path: Path) -> tuple[dict[str, Any] | None, str]:
    """What a step left, and what is wrong with it where it is not a result."""
    try:
        if path.stat().st_size > MAX_RESULT:
            return None, f"its result is of {path.stat().st_size} bytes"
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, RecursionError) as error:
        return None, f"its result cannot be read ({error})"
    return (content, "") if _is_result(content) else (None, "its result is not one")


def _is_result(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("complete"), bool):
        return False
    checks, bars, figures = (content.get(name) for name in ("checks", "bars", "figures"))
    if not (isinstance(checks, list) and isinstance(bars, list) and isinstance(figures, dict)):
        return False
    if not all(isinstance(entry, dict) for entry in (*checks, *bars)):
        return False
    texts = [check.get(name) for check in checks for name in ("what", "detail")]
    texts += [bar.get(name) for bar in bars for name in ("name", "why", "text")]
    return (
        all(isinstance(text, str) for text in texts)
        and all(check.get("outcome") in ("passed", "failed", "not_measured") for check in checks)
        and all(bar.get("met", "") in (True, False, None) for bar in bars)
    )


def end_with_parent() -> None:
    """Die, in a step's process, when the one that started it does (Linux), however that happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class _Listener:
    """Reads what a process says, in a thread, so that it never waits for a reader; keeps the end of it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._pieces: deque[bytes] = deque()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def last(self) -> str:
        """The last words, printable."""
        # Something it started may hold the other end of the pipe for ever.
        self._thread.join(GRACE)
        text = b"".join(tuple(self._pieces))[-TAIL_BYTES:].decode("utf-8", errors="replace")
        return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text).strip()

    def _listen(self) -> None:
        kept = 0
        with contextlib.suppress(OSError, ValueError):
            while piece := os.read(self._stream.fileno(), 65536):
                self._pieces.append(piece)
                kept += len(piece)
                while kept - len(self._pieces[0]) >= TAIL_BYTES:
                    kept -= len(self._pieces.popleft())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started; also where it has ended and left something behind."""
    for asked in (signal.SIGTERM, signal.SIGKILL):
        kind = asked if process.poll() is None else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        if kind is signal.SIGKILL:
            return

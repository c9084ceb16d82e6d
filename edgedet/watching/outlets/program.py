"""``--exec``: a program of the user's for every event."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading

from edgedet.errors import UsageError
from edgedet.watching.alert import AlertEvent
from edgedet.watching.outlets.courier import Failed

TIMEOUT = 10.0
"""Seconds that the program may take, before it is ended: the next event waits for it."""


class Program:
    """Runs a program for every event, one after another: the event is JSON on its standard input.

    There is no shell: nothing that an event holds (names of classes or sources) is ever read as a command. The
    environment has ``EDGEDET_EVENT``, ``EDGEDET_ALERT``, ``EDGEDET_RULE``, ``EDGEDET_SOURCE``, ``EDGEDET_CLASS``,
    ``EDGEDET_TRACK`` and ``EDGEDET_SCORE``. What it prints goes to standard error.

    Args:
        command: the program and its arguments, with quotes as a shell has them.
        timeout: seconds that it may take.

    Raises:
        UsageError: no such program.
    """

    def __init__(self, command: str, timeout: float = TIMEOUT) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"the command {command!r} is not understood: {error}") from None
        if not self._command:
            raise UsageError("the command is empty; expected a program and its arguments")
        program = shutil.which(self._command[0])
        if program is None:
            raise UsageError(
                f"there is no program {self._command[0]!r} that can be run; for pipes and the like, name a script "
                "or sh -c '…'"
            )
        self._command[0] = program
        self.name = f"program {self._command[0]}"
        self._timeout = timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def deliver(self, event: AlertEvent) -> None:
        """Run it to its end."""
        with self._lock:
            if self._stopped:
                raise Failed("stopped")
            try:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=_error_output(),
                    env=os.environ | _environment(event),
                    # Of its own, so that it can be ended with all that it has started.
                    start_new_session=True,
                )
            except OSError as error:
                raise Failed(f"cannot be run: {error.strerror}") from error
            self._process = process
        try:
            process.communicate(event.to_json().encode() + b"\n", self._timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            raise Failed(f"took more than {self._timeout:g} s and was ended") from None
        finally:
            with self._lock:
                self._process = None
        if process.returncode:
            how = f"exit code {process.returncode}"
            if process.returncode < 0:
                how = f"signal {-process.returncode}"
            raise Failed(f"ended with {how}")

    def stop(self) -> None:
        """End the one that runs."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process, and what it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)


def _error_output() -> int:
    """Standard output is for events alone."""
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # a stream of Python's own
        return subprocess.DEVNULL


def _environment(event: AlertEvent) -> dict[str, str]:
    values = {
        "EDGEDET_EVENT": event.event,
        "EDGEDET_ALERT": str(event.alert),
        "EDGEDET_RULE": event.rule,
        "EDGEDET_SOURCE": event.source,
        "EDGEDET_CLASS": event.name,
        "EDGEDET_TRACK": str(event.track),
        "EDGEDET_SCORE": f"{event.score:.5f}",
    }
    return {name: value.replace("\0", "") for name, value in values.items()}

"""Watching an engine being built: progress for the user, and Ctrl-C that really stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..options import Progress

T = TypeVar("T")

PATIENCE = 3
"""Ctrl-C after which nobody waits for the build any more."""


def make_monitor(trt: Any, progress: Progress) -> Any:
    """A ``trt.IProgressMonitor`` that reports to ``progress`` and stops the build once ``.cancelled`` is set."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.cancelled = threading.Event()
            self._steps: dict[str, int] = {}

        # Called from C++, where a Python exception would end the process: none may leave these three.

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            try:
                self._steps[phase_name] = num_steps
                progress(phase_name, 0, num_steps)
            except BaseException:
                self.cancelled.set()

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                progress(phase_name, step + 1, self._steps.get(phase_name, 0))
            except BaseException:
                self.cancelled.set()
            return not self.cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def run_cancellable(work: Callable[[], T], cancelled: threading.Event) -> T:
    """Do ``work`` in a thread while this one waits: signals reach Python only between its own instructions, and a
    build is one call into C++ that takes minutes.

    Raises:
        KeyboardInterrupt: after the work has noticed ``cancelled`` and come back, or at the third Ctrl-C.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []
    # Not Thread.join: interrupted at the wrong moment, it takes a running thread for a dead one (CPython 3.11).
    done = threading.Event()

    def target() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    threading.Thread(target=target, name="edgedet-build", daemon=True).start()
    interrupted: BaseException | None = None
    patience = PATIENCE
    while not done.is_set():
        try:
            done.wait(0.2)
        except (KeyboardInterrupt, SystemExit) as signal:
            interrupted = signal
            cancelled.set()
            patience -= 1
            if not patience:
                raise  # a kernel that hangs never comes back, and the thread is no reason to stay
    if interrupted is not None:
        raise interrupted
    if failure:
        raise failure[0]
    return outcome[0]

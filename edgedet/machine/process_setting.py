"""A setting of the whole process that is another one for as long as somebody needs it, in any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ProcessSetting(Generic[Value]):
    """A context manager that may be entered again, from any thread: whoever is the last to leave puts back what the
    first one found.

    Args:
        get: gives the setting.
        put: changes it.
        wanted: what it is to be inside, given what it was.

    >>> import sys
    >>> with ProcessSetting(sys.getswitchinterval, sys.setswitchinterval, lambda before: before / 2):
    ...     sys.getswitchinterval()
    0.0025
    >>> sys.getswitchinterval()
    0.005
    """

    def __init__(
        self, get: Callable[[], Value], put: Callable[[Value], object], wanted: Callable[[Value], Value]
    ) -> None:
        self._get, self._put, self._wanted = get, put, wanted
        self._lock = threading.Lock()
        self._inside = 0
        self._before: Value | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._get()
                self._put(self._wanted(self._before))
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._before is not None:
                self._put(self._before)

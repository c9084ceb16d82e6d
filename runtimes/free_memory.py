"""What loading a network took and freed goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes


def return_free_memory() -> None:
    """Give back what loading a graph took and freed: glibc keeps 10 to 40 MB of it otherwise."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)

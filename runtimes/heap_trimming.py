"""Memory that was freed: back to the system, or kept for the next picture (glibc; others do as they do)."""

from __future__ import annotations

import contextlib
import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``, as malloc.h has them."""
MEGABYTE = 2**20


def return_free_memory() -> None:
    """Give back what loading a graph took and freed: glibc keeps 10 to 40 MB of it otherwise."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)


def release_unused() -> None:
    """Collect what only refers to itself, and give it back: after an export from a checkpoint hundreds of MiB."""
    gc.collect()
    return_free_memory()


def keep_free_memory() -> None:
    """Use the memory of one picture for the next, for the rest of the process.

    Otherwise glibc's threads give most of it back and ask for it again, which takes a twentieth of the time from a
    JPEG to its boxes: the system hands it out in pages of 4 kB, each filled with zeros.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        # 32 MB is the most it takes there; pictures above go back to the system all the same.
        library.mallopt(M_MMAP_THRESHOLD, 32 * MEGABYTE)
        library.mallopt(M_TRIM_THRESHOLD, 128 * MEGABYTE)

"""Fixtures every room's tests may use."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.edgedet.report.browser import Chromium

try:
    from hypothesis import settings
except ImportError:  # a board that runs tests/gpu alone has pytest and nothing else
    settings = None  # type: ignore[assignment,misc]

# Tests that open graphs without edgedet report to nobody either.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Networks of many megabytes come and go. Memory that glibc gives back at once is handed out as pages that the
# system must clear again, which takes a sixth of the time of an export.
MEMORY_KEPT = 1 << 28
"""Bytes."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of <malloc.h>."""


def keep_memory() -> None:
    """This process keeps what it frees, up to ``MEMORY_KEPT``; those it starts do not, whose memory is measured."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc
    mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT)
    mallopt(M_MMAP_THRESHOLD, MEMORY_KEPT)


# Where every core has a test run of its own (make test), more threads than one only get in each other's way.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("EDGEDET_SPINNING", "0")
    keep_memory()

# The same examples every time: a merge must not fail on luck. HYPOTHESIS_PROFILE=default looks for new ones.
if settings is not None:
    settings.register_profile("repeatable", derandomize=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_finish() -> None:
    """Objects of imported modules and of collected tests stay until the end: looking through them for garbage takes
    half a second each time, and whatever builds an engine does it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and trained detectors, which is not part of the repository."""
    folder = Path(os.environ.get("EDGEDET_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "models").is_dir() or not (folder / "data").is_dir():
        pytest.skip(
            f"needs real images and trained detectors: no data/ and models/ in {folder} (set EDGEDET_SHARED)"
        )
    return folder


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C works in the tests and in what they start, also where the test run itself is a background job of a
    shell, which makes such jobs deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """Chromium without a window."""
    from tests.edgedet.report.browser import Chromium, find_chromium

    program = find_chromium()
    if program is None:
        pytest.skip("needs Chromium (apt install chromium)")
    with Chromium(program) as started:
        yield started


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module ``tiny_detector`` beside this file: a detector small enough to quantise in seconds."""
    path = Path(__file__).with_name("tiny_detector.py")
    spec = importlib.util.spec_from_file_location("tiny_detector", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_detector"] = module
    spec.loader.exec_module(module)
    return module

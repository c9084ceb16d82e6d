"""The kernels built for the CPU with g++, launched with the same arguments as on the GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.once import once

SOURCES = Path(__file__).parents[3] / "runtimes" / "cuda"


def build(factory: pytest.TempPathFactory) -> HostLauncher:
    """A launcher of its own for each test file; skips the test where there is no compiler."""
    return HostLauncher(ctypes.CDLL(str(compiled(factory))))


def compiled(factory: pytest.TempPathFactory) -> Path:
    """The shared library of both sources, compiled once in a test run."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++ to build the CUDA kernels for the CPU")
    return once(factory, "kernels", _compile) / "kernels.so"


def _compile(folder: Path) -> None:
    # Without -ffp-contract=off the compiler may fuse multiply and add, which NumPy does not.
    options = ("-O2", "-std=c++17", "-shared", "-fPIC", "-ffp-contract=off", "-DEDGEDET_HOST", "-Wall", "-Werror",
               "-Wno-unused-function", "-I", str(SOURCES), "-x", "c++")  # fmt: skip
    sources = [str(SOURCES / name) for name in ("resize.cu", "nms.cu")]
    combined = folder / "all.cpp"
    combined.write_text("".join(f'#include "{source}"\n' for source in sources))
    subprocess.run(["g++", *options, str(combined), "-o", str(folder / "kernels.so")], check=True)


class HostLauncher:
    """:class:`edgedet.runtimes.cuda.kernels.Launcher` without a GPU. Threads run one after another."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._memory: dict[int, Any] = {}
        self._alone = threading.Lock()

    def launch(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        # The one kernel whose threads wait for one another is right for any number of them, so also for one.
        threads = 1 if name == "keep_best" else threads
        values = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        # What a GPU shares within a block is static here.
        with self._alone:
            getattr(self._library, f"launch_{name}")(grid[0], grid[1], threads, values)

    def allocate(self, size: int) -> int:
        # Rubbish, as on the GPU: nothing may rely on zeros.
        array = np.full(max(size, 1), 0xAB, np.uint8)
        self._memory[array.ctypes.data] = array
        return array.ctypes.data

    def clear(self, address: int, size: int) -> None:
        self._memory[address][:size] = 0

    def read(self, address: int, dtype: Any, count: int) -> np.ndarray:
        """What lies at an address."""
        return self._memory[address].view(dtype)[:count].copy()

"""The kernels' CPU build in the order of the CUDA double's streams."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from edgedet.errors import RuntimeUnavailableError
from tests.runtimes.cuda.host_build import HostLauncher
from tests.tensorrt_api.cuda_double import FakeCuda


class QueuedLauncher:
    """The kernels' CPU build behind the double's streams: nothing happens before the stream is waited for."""

    host: HostLauncher
    double: FakeCuda
    refuses = False

    def __init__(self, cuda: Any, stream: int) -> None:
        self._stream = stream
        self._memory: list[int] = []

    def prepare(self) -> None:
        if self.refuses:
            raise RuntimeUnavailableError("NVRTC is too old")

    def launch(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        # The driver copies the arguments when a kernel is queued.
        kept = [type(value).from_buffer_copy(value) for value in arguments]
        self.double.enqueue(self._stream, lambda: self.host.launch(name, grid, threads, kept))

    def allocate(self, size: int) -> int:
        self._memory.append(self.double.cudaMalloc(size)[1])
        return self._memory[-1]

    def clear(self, address: int, size: int) -> None:
        self.double.enqueue(self._stream, lambda: ctypes.memset(address, 0, size) and None)

    def close(self) -> None:
        for address in self._memory:
            self.double.cudaFree(address)
        self._memory = []

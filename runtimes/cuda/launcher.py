"""Runs our kernels on the GPU: :class:`edgedet.runtimes.cuda.kernels.Launcher` through the CUDA driver."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from edgedet.errors import RuntimeUnavailableError

from .compiler import cached_kernels
from .device import INSTALL, Cuda, CudaError, checked_call
from .kernels import KERNELS

SOURCES = {name: "resize.cu" if name == "resize_frame" else "nms.cu" for name in KERNELS}


@contextmanager
def prepared_launcher(cuda: Cuda) -> Iterator[tuple[GpuLauncher, int]]:
    """A launcher with every kernel loaded, and its stream; both are released again.

    Raises:
        RuntimeUnavailableError: NVRTC or the driver is missing or too old.
    """
    with ExitStack() as stack:
        stream = cuda.stream()
        stack.callback(cuda.destroy_stream, stream)
        launcher = GpuLauncher(cuda, stream)
        stack.callback(launcher.close)
        stack.callback(cuda.synchronise, stream)
        launcher.prepare()
        yield launcher, stream


class GpuLauncher:
    """Kernels and memory on one stream of one device; released by :meth:`close`."""

    def __init__(self, cuda: Cuda, stream: int) -> None:
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise RuntimeUnavailableError(f"CUDA cannot be used from Python ({error}): {INSTALL}") from error
        self._cuda = cuda
        self._driver: Any = driver
        self._stream = stream
        self._memory: list[int] = []
        self._modules: dict[str, Any] = {}
        self._functions: dict[str, Any] = {}

    def launch(self, name: str, grid: tuple[int, int], threads: int, arguments: Sequence[Any]) -> None:
        """Queue a kernel; nothing is waited for."""
        function = self._functions.get(name) or self._load(name)
        values = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        # The driver copies the arguments before it returns.
        self._call(
            "cuLaunchKernel", function, *grid, 1, threads, 1, 1, 0, self._stream, ctypes.addressof(values), 0
        )

    def prepare(self) -> None:
        """Compile and load every kernel now: not in the middle of a recording, and to know that it works.

        Raises:
            RuntimeUnavailableError: NVRTC or the driver is missing or too old.
        """
        # Before the compiler: a machine without a driver is told at once.
        self._call("cuInit", 0)
        for name in KERNELS:
            if name not in self._functions:
                self._load(name)

    def allocate(self, size: int) -> int:
        """Device memory that lives as long as the launcher."""
        address = self._cuda.allocate(size)
        self._memory.append(address)
        return address

    def clear(self, address: int, size: int) -> None:
        """Zeros, in order with the kernels."""
        self._call("cuMemsetD8Async", address, 0, size, self._stream)

    def close(self) -> None:
        """Release memory and code; calling twice is harmless."""
        for address in self._memory:
            self._cuda.free(address)
        for module in self._modules.values():
            self._call("cuModuleUnload", module)
        self._memory, self._modules, self._functions = [], {}, {}

    def _load(self, name: str) -> Any:
        source = SOURCES[name]
        if source not in self._modules:
            code = cached_kernels(source, self._cuda.compute_capability)
            self._modules[source] = self._call("cuModuleLoadData", code)
        self._functions[name] = self._call("cuModuleGetFunction", self._modules[source], name.encode())
        return self._functions[name]

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = checked_call(self._driver, name, *arguments)
        if int(status) != 0:
            raise CudaError(
                f"CUDA {name} failed: {getattr(status, 'name', status)} ({int(status)}); see edgedet doctor"
            )
        return values[0] if values else None

"""A CUDA runtime API on host memory: streams do nothing until they are waited for, captured work until launched.

What is forgotten shows: without a synchronisation results are not there, a copy from memory CUDA never gave fails,
and what is not released is counted.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
import threading
import time
import types
from collections.abc import Callable
from typing import Any


class Status(enum.Enum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureUnsupported = 900

    def __int__(self) -> int:
        return int(self.value)


class FakeCuda:
    """``module`` is what to install as ``cuda.bindings.runtime``."""

    def __init__(self, capability: tuple[int, int] = (8, 7), *, integrated: bool = False, devices: int = 1) -> None:
        self.memory: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.captured: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, float | None] = {}
        self.elsewhere: dict[int, int] = {}
        """Blocks that are another device's."""
        self._numbers = itertools.count(1000)
        self._thread = threading.local()
        self.launches = 0
        self.total = 8 * 2**30
        self.refuse_capture = False
        self.pageable = False
        """The GPU reads all of the host's memory, through its page tables."""
        self.module = types.SimpleNamespace(
            cudaHostAllocMapped=2,
            cudaStreamNonBlocking=1,
            cudaMemcpyKind=enum.Enum(
                "cudaMemcpyKind",
                {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2, "cudaMemcpyDefault": 4},
            ),
            cudaMemoryType=enum.Enum(
                "cudaMemoryType",
                {"cudaMemoryTypeUnregistered": 0, "cudaMemoryTypeHost": 1, "cudaMemoryTypeDevice": 2},
            ),
            cudaStreamCaptureMode=enum.Enum("cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1}),
            cudaDeviceAttr=enum.Enum(
                "cudaDeviceAttr",
                {
                    "cudaDevAttrComputeCapabilityMajor": capability[0],
                    "cudaDevAttrComputeCapabilityMinor": 100 + capability[1],
                    "cudaDevAttrIntegrated": 200 + integrated,
                    "cudaDevAttrPageableMemoryAccess": 300,
                },
            ),
            cudaGetDeviceCount=lambda: (Status.cudaSuccess, devices),
            cudaDeviceGetAttribute=lambda attribute, device: (
                Status.cudaSuccess,
                int(self.pageable) if attribute.value == 300 else attribute.value % 100,
            ),
            cudaGetDeviceProperties=lambda device: (Status.cudaSuccess, types.SimpleNamespace(name=b"Double\0")),
            cudaRuntimeGetVersion=lambda: (Status.cudaSuccess, 12060),
            cudaDriverGetVersion=lambda: (Status.cudaSuccess, 12060),
        )
        for name in dir(self):
            if name.startswith("cuda"):
                setattr(self.module, name, getattr(self, name))

    @property
    def held(self) -> int:
        """Everything that was made and not released."""
        return sum(map(len, (self.memory, self.pinned, self.streams, self.graphs, self.events)))

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        """Later, in order."""
        (self.captured[stream] if stream in self.captured else self.streams[stream]).append(work)

    @property
    def is_current(self) -> bool:
        """The calling thread has said which device it works on."""
        return hasattr(self._thread, "device")

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        self._thread.device = device
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return (Status.cudaSuccess, self._keep(self.memory, size))

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        used = sum(len(block) for block in list(self.memory.values()))
        return (Status.cudaSuccess, self.total - used, self.total)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return (Status.cudaSuccess, self._keep(self.pinned, size))

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.memory[address]
        return (Status.cudaSuccess,)

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        del self.pinned[address]
        return (Status.cudaSuccess,)

    def cudaHostGetDevicePointer(self, address: int, flags: int) -> tuple[Any, ...]:
        return (Status.cudaSuccess, address) if address in self.pinned else (Status.cudaErrorInvalidValue, 0)

    def cudaPointerGetAttributes(self, address: int) -> tuple[Any, ...]:
        kind, device = "Unregistered", -2
        for store, name in ((self.memory, "Device"), (self.pinned, "Host")):
            for start, block in list(store.items()):
                if start <= address < start + max(len(block), 1):
                    kind, device = name, self.elsewhere.get(start, 0)
        kinds = self.module.cudaMemoryType
        return (
            Status.cudaSuccess,
            types.SimpleNamespace(type=kinds[f"cudaMemoryType{kind}"], device=device),
        )

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        number = next(self._numbers)
        self.streams[number] = []
        return (Status.cudaSuccess, number)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        del self.streams[stream]
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        if stream in self.captured:
            return (Status.cudaErrorStreamCaptureUnsupported,)
        for work in self.streams.get(stream, []):
            work()
        if stream in self.streams:
            self.streams[stream] = []
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Any, stream: int) -> tuple[Any, ...]:
        on_device = {"cudaMemcpyHostToDevice": (target,), "cudaMemcpyDeviceToHost": (source,)}
        needed = on_device.get(kind.name, (target, source))
        if any(address not in self.memory and address not in self.pinned for address in needed):
            return (Status.cudaErrorInvalidValue,)
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size) and None)
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:
        self.captured[stream] = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        work = self.captured.pop(stream)
        if self.refuse_capture:
            return (Status.cudaErrorStreamCaptureUnsupported, None)
        number = next(self._numbers)
        self.graphs[number] = work
        return (Status.cudaSuccess, number)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        number = next(self._numbers)
        self.graphs[number] = self.graphs[graph]
        return (Status.cudaSuccess, number)

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        del self.graphs[graph]
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph: int) -> tuple[Any, ...]:
        del self.graphs[graph]
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[Any, ...]:
        self.launches += 1
        for work in self.graphs[graph]:
            self.enqueue(stream, work)
        return (Status.cudaSuccess,)

    def cudaEventCreate(self) -> tuple[Any, ...]:
        number = next(self._numbers)
        self.events[number] = None
        return (Status.cudaSuccess, number)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:
        self.enqueue(stream, lambda: self.events.update({event: time.perf_counter()}))
        return (Status.cudaSuccess,)

    def cudaEventSynchronize(self, event: int) -> tuple[Any, ...]:
        for stream in list(self.streams):
            self.cudaStreamSynchronize(stream)
        return (Status.cudaSuccess,)

    def cudaEventElapsedTime(self, begin: int, end: int) -> tuple[Any, ...]:
        first, last = self.events[begin], self.events[end]
        if first is None or last is None:
            return (Status.cudaErrorInvalidValue, 0.0)
        return (Status.cudaSuccess, (last - first) * 1e3)

    def cudaEventDestroy(self, event: int) -> tuple[Any, ...]:
        del self.events[event]
        return (Status.cudaSuccess,)

    def _keep(self, store: dict[int, Any], size: int) -> int:
        block = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(block)
        store[address] = block
        return address

"""The part of the CUDA driver API that launches kernels, on the memory and streams of :class:`FakeCuda`.

Counts and types of arguments are refused as ``cuda.bindings.driver`` refuses them; what the driver would not do is
answered with the driver's errors. The arguments of a kernel are read from their addresses, as its CUDA source
declares them, when it is queued, and handed to ``run`` when the stream is waited for.
"""

from __future__ import annotations

import ctypes
import enum
import inspect
import re
import types
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from edgedet.runtimes.cuda.kernels import Channels, Placement
from tests.tensorrt_api.cuda_double import FakeCuda

SOURCES = Path(__file__).parents[2] / "runtimes" / "cuda"
ELF = b"\x7fELF"
MAX_THREADS, MAX_ROWS = 1024, 65535
KINDS = {"int": ctypes.c_int, "float": ctypes.c_float, "Placement": Placement, "Channels": Channels}
GIVING = ("cuModuleLoadData", "cuModuleGetFunction", "cuPointerGetAttribute", "cuCtxGetCurrent")
"""Calls that answer with a handle as well, which is None where they fail."""


class Result(enum.Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_INVALID_IMAGE = 200
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_FOUND = 500

    def __int__(self) -> int:
        return int(self.value)


class PointerAttribute(enum.Enum):
    CU_POINTER_ATTRIBUTE_CONTEXT = 1


OK = Result.CUDA_SUCCESS
PRIMARY = 0x500
"""The device's primary context."""
Answer = Result | int


@cache
def parameters(source: str) -> dict[str, tuple[Any, ...]]:
    """Kernel to the ctypes of its parameters, as a CUDA source declares them."""
    declared = re.findall(r"^KERNEL void (\w+)\(([^)]*)\)", (SOURCES / source).read_text("utf-8"), re.MULTILINE)
    return {
        name: tuple(ctypes.c_void_p if "*" in item else KINDS[item.split()[0]] for item in inside.split(","))
        for name, inside in declared
    }


def cubin(source: str, capability: str) -> bytes:
    """What stands for the machine code of a CUDA source, in place of ``cached_kernels``."""
    return ELF + source.encode()


class FakeDriver:
    """``module`` is what to install as ``cuda.bindings.driver``.

    ``run`` executes a kernel: name, grid, threads in a block, ctypes values.
    """

    def __init__(self, cuda: FakeCuda, run: Callable[[str, tuple[int, int], int, Sequence[Any]], None]) -> None:
        self._cuda, self._run = cuda, run
        self._started = False
        self._modules: dict[int, str] = {}
        self._functions: dict[int, tuple[int, str]] = {}
        self._last_handle = 0x7000
        self.fails: dict[str, Result] = {}
        """Call to what it answers from now on."""
        self.contexts: dict[int, int] = {}
        """Blocks of memory that another context than the primary one has made, and which; 0: none."""
        names = [name for name in dir(self) if name.startswith("cu")]
        self.module = types.SimpleNamespace(
            CUresult=Result,
            CUpointer_attribute=PointerAttribute,
            **{name: self._checked(name) for name in names},
        )

    @property
    def held(self) -> int:
        """Modules that are loaded."""
        return len(self._modules)

    def cuInit(self, Flags: int) -> Answer:
        self._started = True
        return Result.CUDA_ERROR_INVALID_VALUE if Flags else OK

    def cuCtxGetCurrent(self) -> Answer:
        return PRIMARY

    def cuPointerGetAttribute(self, attribute: PointerAttribute, ptr: int) -> Answer:
        if not self._is_memory(ptr):
            return Result.CUDA_ERROR_INVALID_VALUE
        return self.contexts.get(ptr, PRIMARY)

    def cuModuleLoadData(self, image: bytes) -> Answer:
        if not image.startswith(ELF):
            return Result.CUDA_ERROR_INVALID_IMAGE
        self._modules[handle := self._handle()] = image.removeprefix(ELF).decode()
        return handle

    def cuModuleGetFunction(self, hmod: int, name: bytes) -> Answer:
        if hmod not in self._modules:
            return Result.CUDA_ERROR_INVALID_HANDLE
        if name.decode() not in parameters(self._modules[hmod]):
            return Result.CUDA_ERROR_NOT_FOUND
        self._functions[handle := self._handle()] = (hmod, name.decode())
        return handle

    def cuModuleUnload(self, hmod: int) -> Answer:
        return Result.CUDA_ERROR_INVALID_HANDLE if self._modules.pop(hmod, None) is None else OK

    def cuMemsetD8Async(self, dstDevice: int, uc: int, N: int, hStream: int) -> Answer:
        if not self._is_memory(dstDevice, N) or hStream not in self._cuda.streams or uc > 255:
            return Result.CUDA_ERROR_INVALID_VALUE
        self._cuda.enqueue(hStream, lambda: ctypes.memset(dstDevice, uc, N) and None)
        return OK

    def cuLaunchKernel(  # noqa: PLR0917
        self,
        f: int,
        gridDimX: int,
        gridDimY: int,
        gridDimZ: int,
        blockDimX: int,
        blockDimY: int,
        blockDimZ: int,
        sharedMemBytes: int,
        hStream: int,
        kernelParams: int,
        extra: int,
    ) -> Answer:
        module, name = self._functions.get(f, (0, ""))
        if module not in self._modules or hStream not in self._cuda.streams:
            return Result.CUDA_ERROR_INVALID_HANDLE
        if not (gridDimX and 0 < gridDimY <= MAX_ROWS and 0 < blockDimX <= MAX_THREADS):
            return Result.CUDA_ERROR_INVALID_VALUE
        # The driver would take more; none of our kernels knows what to do with it.
        assert (gridDimZ, blockDimY, blockDimZ, sharedMemBytes, extra) == (1, 1, 1, 0, 0)
        kinds = parameters(self._modules[module])[name]
        places = (ctypes.c_void_p * len(kinds)).from_address(kernelParams)
        # The driver copies the arguments before it returns.
        values = [
            kind.from_buffer_copy(ctypes.string_at(place, ctypes.sizeof(kind)))
            for kind, place in zip(kinds, places, strict=True)
        ]
        for value in values:
            assert not isinstance(value, ctypes.c_void_p) or self._is_memory(value.value or 0), f"{name}: {values}"
        self._cuda.enqueue(hStream, lambda: self._run(name, (gridDimX, gridDimY), blockDimX, values))
        return OK

    def _checked(self, name: str) -> Callable[..., tuple[Any, ...]]:
        call = getattr(self, name)
        kinds = [parameter.annotation for parameter in inspect.signature(call).parameters.values()]

        def checked(*arguments: Any) -> tuple[Any, ...]:
            if len(arguments) != len(kinds):
                raise TypeError(f"{name}() takes exactly {len(kinds)} arguments ({len(arguments)} given)")
            for value, kind in zip(arguments, kinds, strict=True):
                _require_kind(value, kind)
            answer = self.fails.get(name, OK)
            if name != "cuInit" and not self._started:
                answer = Result.CUDA_ERROR_NOT_INITIALIZED
            # Which device a thread works on is the thread's own affair: none until it says so.
            elif name != "cuInit" and not self._cuda.is_current:
                answer = Result.CUDA_ERROR_INVALID_CONTEXT
            if answer is OK:
                answer = call(*arguments)
            if isinstance(answer, Result):
                return (answer, None) if name in GIVING else (answer,)
            return (OK, answer)

        return checked

    def _is_memory(self, address: int, size: int = 1) -> bool:
        blocks = (*self._cuda.memory.copy().items(), *self._cuda.pinned.copy().items())
        return any(start <= address and address + size <= start + len(block) for start, block in blocks)

    def _handle(self) -> int:
        self._last_handle += 16
        return self._last_handle


def _require_kind(value: Any, kind: str) -> None:
    if kind == "bytes" and not isinstance(value, bytes):
        raise TypeError(f"expected bytes, {type(value).__name__} found")
    if kind == "int" and not isinstance(value, int):
        raise TypeError("an integer is required")
    if kind == "PointerAttribute" and not isinstance(value, PointerAttribute):
        raise TypeError(f"expected CUpointer_attribute, {type(value).__name__} found")
    if kind == "int" and value < 0:
        raise OverflowError("can't convert negative value to size_t")

"""The CUDA runtime API, checked: memory, streams, graphs. Imports ``cuda.bindings`` when first used.

The runtime API works in the device's primary context, which PyTorch, CuPy and JAX use too, so memory and streams
can be shared with them.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgedet.errors import RuntimeUnavailableError

INSTALL = "pip install 'edgedet[tensorrt]' (on JetPack 6: pip install 'cuda-bindings<13')"


STICKY = 700
"""First error code (an illegal address, a failed launch) that stays until the process ends."""


def driver_is_there() -> bool:
    """Whether NVIDIA's driver can be loaded: quicker to ask than CUDA's bindings, which take 0.2 s and 11 MiB."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


class CudaError(RuntimeUnavailableError):
    """A CUDA call that failed: no device, no memory, or an earlier kernel that crashed."""


class Cuda:
    """Checked calls on one device. Every method raises :class:`CudaError` on failure.

    Raises:
        RuntimeUnavailableError: ``cuda.bindings`` is not installed, or there is no usable device.
    """

    def __init__(self, device: int = 0) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise RuntimeUnavailableError(f"CUDA cannot be used from Python ({error}): {INSTALL}") from error
        self.api: Any = runtime
        count = self._call("cudaGetDeviceCount")
        if not 0 <= device < count:
            raise CudaError(f"CUDA device {device} does not exist; this machine has {count}")
        self.device = device
        self._call("cudaSetDevice", device)
        attribute = runtime.cudaDeviceAttr
        self.compute_capability = "{}.{}".format(
            self._call("cudaDeviceGetAttribute", attribute.cudaDevAttrComputeCapabilityMajor, device),
            self._call("cudaDeviceGetAttribute", attribute.cudaDevAttrComputeCapabilityMinor, device),
        )
        self.integrated = bool(self._call("cudaDeviceGetAttribute", attribute.cudaDevAttrIntegrated, device))
        """The GPU shares the machine's memory, as on every Jetson: mapped memory needs no copies."""
        name = self._call("cudaGetDeviceProperties", device).name
        self.name = name.decode().strip("\0") if isinstance(name, bytes) else str(name)

    def use(self) -> None:
        """Make the device current in the calling thread."""
        self._call("cudaSetDevice", self.device)

    def allocate(self, size: int) -> int:
        """Device memory of ``size`` bytes: its address."""
        return int(self._call("cudaMalloc", max(size, 1)))

    def free(self, address: int) -> None:
        """Release what :meth:`allocate` gave."""
        self._call("cudaFree", address)

    def free_memory(self) -> int:
        """Bytes of the device's memory that nobody uses."""
        return int(self._call("cudaMemGetInfo"))

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Page-locked host memory as a zeroed array; release with :meth:`unpin`.

        It is mapped into the device's address space too: see :meth:`mapped_address`.
        """
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        address = int(self._call("cudaHostAlloc", max(count * kind.itemsize, 1), self.api.cudaHostAllocMapped))
        raw = (ctypes.c_uint8 * max(count * kind.itemsize, 1)).from_address(address)
        array: NDArray[Any] = np.ctypeslib.as_array(raw)[: count * kind.itemsize].view(kind).reshape(shape)
        array.fill(0)
        return array

    def unpin(self, array: NDArray[Any]) -> None:
        """Release what :meth:`pinned` gave; the array must not be touched afterwards."""
        self._call("cudaFreeHost", array.ctypes.data)

    def mapped_address(self, array: NDArray[Any]) -> int:
        """Address at which the device sees an array of :meth:`pinned`."""
        return int(self._call("cudaHostGetDevicePointer", array.ctypes.data, 0))

    def stream(self) -> int:
        """A stream of its own, which does not wait for the default stream."""
        return int(self._call("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        """Release a stream."""
        self._call("cudaStreamDestroy", stream)

    def synchronise(self, stream: int) -> None:
        """Wait for everything in ``stream``."""
        self._call("cudaStreamSynchronize", stream)

    def upload(self, address: int, array: NDArray[Any], stream: int) -> None:
        """Copy a host array to the device, asynchronously if it is pinned."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: NDArray[Any], address: int, stream: int) -> None:
        """Copy device memory into a host array, asynchronously if it is pinned."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, stream)

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy within the device; either side may be mapped host memory."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyDefault
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def home(self, address: int) -> int | None:
        """The device whose memory is at ``address``: -1 where every device reads it (mapped and managed memory, and
        any of the host's where the GPU shares its page tables), None where CUDA knows of no memory."""
        kinds = self.api.cudaMemoryType
        found = self._call("cudaPointerGetAttributes", address)
        if found.type == kinds.cudaMemoryTypeUnregistered:
            pageable = self.api.cudaDeviceAttr.cudaDevAttrPageableMemoryAccess
            return -1 if self._call("cudaDeviceGetAttribute", pageable, self.device) else None
        return int(found.device) if found.type == kinds.cudaMemoryTypeDevice else -1

    def is_in_another_context(self, address: int) -> bool:
        """Whether the memory at ``address`` belongs to another CUDA context of this process than the primary one,
        whose kernels cannot read it. Memory of no context (pools) is readable."""
        try:
            from cuda.bindings import driver
        except ImportError:
            return False
        attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_CONTEXT
        status, owner = checked_call(driver, "cuPointerGetAttribute", attribute, address)
        if int(status) != 0 or not int(owner or 0):
            return False
        status, current = checked_call(driver, "cuCtxGetCurrent")
        return int(status) == 0 and int(owner) != int(current)

    def begin_capture(self, stream: int) -> None:
        """Record what follows in ``stream`` instead of doing it."""
        self._call(
            "cudaStreamBeginCapture", stream, self.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )

    def end_capture(self, stream: int) -> Any:
        """The recorded work as an executable graph."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: int) -> None:
        """Replay a recorded graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Release an executable graph."""
        self._call("cudaGraphExecDestroy", graph)

    def versions(self) -> dict[str, str]:
        """CUDA runtime, and the newest CUDA the driver takes, as ``major.minor``."""
        return versions(self.api)

    def _call(self, name: str, *arguments: Any) -> Any:
        return _call(self.api, name, *arguments)


def versions(api: Any) -> dict[str, str]:
    """:meth:`Cuda.versions` without a device. ``api``: ``cuda.bindings.runtime``. Empty where there is no driver.

    Raises:
        CudaError: CUDA's runtime cannot be loaded.
    """
    return {
        "cuda": _version(_call(api, "cudaRuntimeGetVersion")),
        "driver": _version(_call(api, "cudaDriverGetVersion")),
    }


def _call(api: Any, name: str, *arguments: Any) -> Any:
    status, *values = checked_call(api, name, *arguments)
    if int(status) != 0:
        reason = f"CUDA {name} failed: {getattr(status, 'name', status)} ({int(status)})"
        if name == "cudaGetDeviceCount":
            raise CudaError(f"{reason}: no NVIDIA GPU, or no driver that fits cuda-bindings; see edgedet doctor")
        if int(status) >= STICKY:
            raise CudaError(f"{reason}: a kernel crashed, and the process must be started again")
        raise CudaError(f"{reason}; see edgedet doctor")
    return values[0] if values else None


def checked_call(api: Any, name: str, *arguments: Any) -> Any:
    """Call into the bindings, which raise errors of their own where a library cannot be loaded.

    Raises:
        CudaError: the driver, or a library of the toolkit, is not there.
    """
    try:
        return getattr(api, name)(*arguments)
    except Exception as error:
        raise CudaError(
            f"CUDA {name} cannot be called ({' '.join(str(error).split())}); see edgedet doctor"
        ) from error


def _version(number: int) -> str:
    """CUDA's own notation: 12060 is 12.6, 0 none.

    >>> _version(12060), _version(0)
    ('12.6', '')
    """
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""

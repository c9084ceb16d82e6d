"""Arrays that other libraries hold on the GPU, taken where they are: DLPack, and the CUDA array interface.

DLPack comes first where a library offers both: the owner makes our stream wait for the work that fills the array,
which the array interface leaves open (PyTorch's does not name a stream).
https://dmlc.github.io/dlpack/latest/ , https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedet.errors import FrameError
from edgedet.pictures.frames import CUDA_MANAGED

from .device import Cuda

LEGACY_DEFAULT_STREAM = 0
NEWEST_DLPACK = (1, 0)
KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}
"""DLDataTypeCode to NumPy's letters, those that a frame or an input may have."""


@dataclass(frozen=True)
class GpuArray:
    """``strides`` in bytes. ``release`` gives the memory back to its owner: call it once nothing reads it."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    release: Callable[[], None]

    @property
    def is_contiguous(self) -> bool:
        """Whether elements lie side by side, the last axis fastest."""
        return self.strides == dense_strides(self.shape, self.dtype.itemsize)


def take(value: Any, cuda: Cuda, stream: int) -> GpuArray:
    """Place of ``value``. What ``stream`` does from now on comes after whatever its owner has queued to fill it.

    Raises:
        FrameError: on another device, of a type no frame has, or its owner refuses.
    """
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        return _take_dlpack(value, cuda, stream)
    return _take_interface(value, cuda)


def dense_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Bytes from element to element of a contiguous array.

    >>> dense_strides((4, 5, 3), 2)
    (30, 6, 2)
    """
    strides = [itemsize]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return tuple(strides[-len(shape) :]) if shape else ()


def _take_interface(value: Any, cuda: Cuda) -> GpuArray:
    interface = value.__cuda_array_interface__
    address = int(interface["data"][0])
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    if 0 not in shape:
        _require_readable(value, address, cuda)
    strides = interface.get("strides")
    # Version 3 names the stream to wait for, or None for none. Before it nobody could say: the default stream is
    # where PyTorch and PyCUDA work unless told otherwise, and ours does not wait for it by itself.
    older = int(interface.get("version", 0)) < 3
    producer = interface.get("stream", LEGACY_DEFAULT_STREAM if older else None)
    if producer is not None:
        cuda.synchronise(int(producer))
    return GpuArray(
        address,
        shape,
        dtype,
        tuple(strides) if strides is not None else dense_strides(shape, dtype.itemsize),
        lambda: None,
    )


def _require_readable(value: Any, address: int, cuda: Cuda) -> None:
    """The array interface names no device, and kernels that read what they cannot end the process's use of CUDA."""
    home = cuda.home(address)
    if home is None:
        raise FrameError(f"{_named(value)} lies at {address:#x}, where CUDA has no memory; was it freed?")
    if home >= 0:
        _require_device(value, home, cuda)
        if cuda.is_in_another_context(address):
            raise FrameError(
                f"{_named(value)} is in another CUDA context than the device's primary one, in which edgedet works "
                "and PyTorch and CuPy do; with PyCUDA: import pycuda.autoprimaryctx in place of pycuda.autoinit"
            )


def _named(value: Any) -> str:
    return f"the {type(value).__name__} on the GPU"


def _require_device(value: Any, device: int, cuda: Cuda) -> None:
    if device != cuda.device:
        raise FrameError(
            f"{_named(value)} is on CUDA device {device}, the engine on device {cuda.device}; move it there, or "
            f"open the engine with runtime='tensorrt:{device}'"
        )


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    """DLTensor. Strides count elements, and are missing from some contiguous arrays."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    """DLManagedTensor, before DLPack 1.0."""

    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned, since DLPack 1.0."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


# Prototypes of our own: argument types set on ctypes.pythonapi would be everybody's.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", ctypes.pythonapi)
)
# With the interpreter's lock held: owners written in Python give their memory back in Python.
_DELETER = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)

LAYOUTS: tuple[tuple[bytes, bytes, type[ctypes.Structure]], ...] = (
    (b"dltensor_versioned", b"used_dltensor_versioned", _Versioned),
    (b"dltensor", b"used_dltensor", _Managed),
)
"""A capsule's name, its name once taken (it keeps a pointer to these very bytes), and what it holds."""


def _take_dlpack(value: Any, cuda: Cuda, stream: int) -> GpuArray:
    what = _named(value)
    kind, device = (int(number) for number in value.__dlpack_device__())
    if kind != CUDA_MANAGED:
        _require_device(value, device, cuda)
    try:
        try:
            capsule = value.__dlpack__(stream=stream, max_version=NEWEST_DLPACK)
        except TypeError:  # before DLPack 1.0
            capsule = value.__dlpack__(stream=stream)
    except Exception as error:  # every library has kinds of its own
        reason = " ".join(str(error).split())
        raise FrameError(f"{what} cannot be passed by DLPack ({reason}); pass a plain copy of it") from error
    layout = next((found for found in LAYOUTS if _is_valid(capsule, found[0])), None)
    if layout is None:
        raise FrameError(f"{what} gives no DLPack capsule; pass a NumPy array")
    name, used, struct = layout
    address = _pointer(capsule, name)
    managed = struct.from_address(address)
    # From here on the memory is ours to give back, and the capsule's own destructor leaves it alone.
    _rename(capsule, used)

    def release() -> None:
        if managed.deleter:
            _DELETER(managed.deleter)(address)

    try:
        if struct is _Versioned and managed.major > NEWEST_DLPACK[0]:
            raise FrameError(f"{what} comes by DLPack {managed.major}, edgedet knows {NEWEST_DLPACK[0]}")
        return _described(managed.tensor, what, release)
    except BaseException:
        release()
        raise


def _described(tensor: _Tensor, what: str, release: Callable[[], None]) -> GpuArray:
    code, bits, lanes = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
    if code not in KINDS or bits % 8 or lanes != 1:
        raise FrameError(
            f"{what} has elements of DLPack type {code}, {bits} bits, {lanes} lanes; expected uint8 pixels"
        )
    dtype = np.dtype(f"{KINDS[code]}{bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = dense_strides(shape, dtype.itemsize)
    if tensor.strides:
        steps = tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
        # Along an axis of one element, owners may say anything.
        strides = tuple(own if size == 1 else step for own, step, size in zip(strides, steps, shape, strict=True))
    return GpuArray((tensor.data or 0) + tensor.byte_offset, shape, dtype, strides, release)

"""What a library with arrays on the GPU does when it is asked for one by DLPack, written down with ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.tensorrt_api.cuda_double import FakeCuda

_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_capsule_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
CODES = {"u": 1, "f": 2, "i": 0, "b": 6}
NAMES = {"old": b"dltensor", "new": b"dltensor_versioned"}


class Tensor(ctypes.Structure):
    """``DLTensor`` of dlpack.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class OldManaged(ctypes.Structure):
    """``DLManagedTensor``."""

    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class NewManaged(ctypes.Structure):
    """``DLManagedTensorVersioned``."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


class DlpackFrame:
    """A frame in the double's device memory, whose pixels arrive only in the stream that asked for them.

    ``offset``: bytes before the first pixel. ``returned``: how often the memory was given back.
    """

    def __init__(
        self,
        double: FakeCuda,
        frame: np.ndarray,
        *,
        protocol: str = "new",
        device: tuple[int, int] = (2, 0),
        offset: int = 0,
        strides: str = "given",
        major: int = 1,
    ) -> None:
        self.returned = 0
        self.asked: list[int | None] = []
        self._double, self._frame, self._protocol, self._device = double, frame, protocol, device
        base = frame if frame.base is None else frame.base
        self._bytes = np.ascontiguousarray(base)
        self._address = double.cudaMalloc(offset + self._bytes.nbytes)[1] + offset
        kind = NewManaged if protocol == "new" else OldManaged
        self._managed: Any = kind()
        self._deleter = DELETER(self._delete)
        self._shape = (ctypes.c_int64 * frame.ndim)(*frame.shape)
        self._steps = (ctypes.c_int64 * frame.ndim)(*(step // frame.itemsize for step in frame.strides))
        self._managed.deleter = ctypes.cast(self._deleter, ctypes.c_void_p).value
        if protocol == "new":
            self._managed.major = major
        self._managed.tensor = Tensor(
            data=self._address - offset,
            device_type=device[0],
            device_id=device[1],
            ndim=frame.ndim,
            code=CODES[frame.dtype.kind],
            bits=8 * frame.itemsize,
            lanes=1,
            shape=ctypes.addressof(self._shape),
            strides=ctypes.addressof(self._steps) if strides == "given" else None,
            byte_offset=offset,
        )

    def _delete(self, address: int) -> None:
        assert address == ctypes.addressof(self._managed)
        self.returned += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    @property
    def __dlpack__(self) -> Callable[..., Any]:
        return self._new if self._protocol == "new" else self._old

    def _old(self, *, stream: int | None = None) -> Any:
        """As before DLPack 1.0: there is no ``max_version``."""
        self.asked.append(stream)
        assert stream is not None
        pixels, address = self._bytes, self._address
        # The work that fills the frame is still going on; the stream that asks has to wait for it.
        self._double.enqueue(stream, lambda: ctypes.memmove(address, pixels.ctypes.data, pixels.nbytes) and None)
        self.capsule = _new_capsule(ctypes.addressof(self._managed), NAMES[self._protocol], None)
        return self.capsule

    def _new(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> Any:
        assert max_version is not None and max_version >= (1, 0)
        return self._old(stream=stream)

    @property
    def capsule_name(self) -> str:
        """``used_...`` once somebody has taken it."""
        return str(_capsule_name(self.capsule).decode())

"""What a library with arrays on the GPU shows of them by the CUDA array interface."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tests.tensorrt_api.cuda_double import FakeCuda


class OnGpu:
    """A frame in the double's device memory, as PyTorch or CuPy would hand it over."""

    def __init__(self, double: FakeCuda, frame: np.ndarray, **changes: Any) -> None:
        address = double.cudaMalloc(frame.nbytes)[1]
        ctypes.memmove(address, frame.ctypes.data, frame.nbytes)
        facts = {"shape": frame.shape, "typestr": "|u1", "data": (address, True), "version": 3, "strides": None}
        self.__cuda_array_interface__ = facts | changes

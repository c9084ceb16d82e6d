"""Arrays that are on the GPU already, frames and whole inputs, into an engine without the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.errors import FrameError, UsageError
from edgedet.geometry import ResizeGeometry, plan_resize

from ..base import Array, TensorSpec
from .device import Cuda
from .gpu_arrays import GpuArray, take
from .kernels import FrameKernel, Launcher


class GpuFrames:
    """Resizes frames into the input at ``address``, on ``stream``."""

    def __init__(self, cuda: Cuda, launcher: Launcher, card: ModelCard, address: int, stream: int) -> None:
        if card.resize.rule == "none":
            raise UsageError("this artifact takes frames as they are; pass them from the host")
        if card.resize.antialias:
            raise UsageError(
                "this artifact's frames are resized with antialiasing, which the kernel here does not do; pass "
                "them from the host"
            )
        if card.resize.coordinates == "align_corners":
            raise UsageError(
                "this artifact's frames are resized as Darknet does it (align_corners), which the kernel here does "
                "not do; pass them from the host"
            )
        self._cuda = cuda
        self._card = card
        self._address = address
        self._stream = stream
        self._taken: list[GpuArray] = []
        self._kernel = FrameKernel(launcher, card.input, card.resize)
        spec = card.input
        self._image_bytes = 3 * spec.height * spec.width * np.dtype(spec.dtype).itemsize

    def place(self, frame: Any, slot: int) -> ResizeGeometry:
        """Queue the resize of ``frame`` into place ``slot`` of the batch; returns where it lands.

        ``frame``: uint8 [H, W, 3] BGR with ``__dlpack__`` or ``__cuda_array_interface__``; rows may be apart,
        pixels may not. It must stay as it is until the run is over; :meth:`release` gives it back to its owner.

        Raises:
            FrameError: another shape, dtype or layout, or on another device.
        """
        array = take(frame, self._cuda, self._stream)
        self._taken.append(array)
        shape, strides = array.shape, array.strides
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or array.dtype != np.uint8:
            raise FrameError(
                f"the frame on the GPU is {array.dtype} {list(shape)}, expected uint8 [height, width, 3] BGR"
            )
        if strides[1:] != (3, 1) or strides[0] < 3 * shape[1]:
            raise FrameError(
                f"the frame on the GPU has strides {list(strides)}, expected pixels side by side (rows may be "
                "apart); make a contiguous copy"
            )
        spec = self._card.input
        geometry = plan_resize(self._card.resize, shape[0], shape[1], spec.height, spec.width)
        target = self._address + slot * self._image_bytes
        self._kernel(array.address, strides[0], geometry, target)
        return geometry

    def release(self) -> None:
        """Give all frames back, after the stream was waited for."""
        while self._taken:
            self._taken.pop().release()


def require_same(what: str, array: GpuArray | Array, tensor: TensorSpec) -> None:
    """Insist on the input's shape and dtype; ``what`` names the array.

    Raises:
        UsageError: another shape or dtype.
    """
    if array.shape != tensor.shape or array.dtype != tensor.dtype:
        raise UsageError(
            f"{what} is {array.dtype} {list(array.shape)}, {tensor.name} takes {tensor.dtype} {list(tensor.shape)}"
        )


def require_fit(array: GpuArray, tensor: TensorSpec) -> None:
    """Insist on what the input takes.

    Raises:
        UsageError: another shape or dtype, or strides that leave gaps.
    """
    require_same("the GPU array", array, tensor)
    if not array.is_contiguous:
        raise UsageError(
            f"the GPU array has strides {list(array.strides)}, expected a contiguous one: make a copy first"
        )

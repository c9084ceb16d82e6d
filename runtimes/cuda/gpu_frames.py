"""Arrays that are on the GPU already, frames and whole inputs, into an engine without the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgedet.card import ModelCard
from edgedet.errors import FrameError, UsageError
from edgedet.geometry import ResizeGeometry, plan_resize
from edgedet.runtimes.base import TensorSpec
from edgedet.runtimes.cuda.device import Cuda
from edgedet.runtimes.cuda.kernels import FrameKernel, Launcher


class GpuFrames:
    """Resizes frames into the input at ``address``, on ``stream``."""

    def __init__(self, cuda: Cuda, launcher: Launcher, card: ModelCard, address: int) -> None:
        if card.resize.rule == "none":
            raise UsageError("this artifact takes frames as they are; pass them from the host")
        self._cuda = cuda
        self._card = card
        self._address = address
        self._kernel = FrameKernel(launcher, card.input, card.resize)
        spec = card.input
        self._image_bytes = 3 * spec.height * spec.width * np.dtype(spec.dtype).itemsize

    def place(self, frame: Any, slot: int) -> ResizeGeometry:
        """Queue the resize of ``frame`` into place ``slot`` of the batch; returns where it lands.

        ``frame``: uint8 [H, W, 3] BGR with ``__cuda_array_interface__``; rows may be apart, pixels may not. It must
        stay as it is until the run is over.

        Raises:
            FrameError: another shape, dtype or layout.
        """
        interface = frame.__cuda_array_interface__
        shape, kind = tuple(interface["shape"]), np.dtype(interface["typestr"])
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
            raise FrameError(f"the frame on the GPU is {kind} {list(shape)}, expected uint8 [height, width, 3] BGR")
        strides = interface.get("strides") or (3 * shape[1], 3, 1)
        if tuple(strides[1:]) != (3, 1) or strides[0] < 3 * shape[1]:
            raise FrameError(
                f"the frame on the GPU has strides {list(strides)}, expected pixels side by side (rows may be "
                "apart); make a contiguous copy"
            )
        producer = interface.get("stream")
        if producer is not None:
            self._cuda.synchronise(int(producer))
        spec = self._card.input
        geometry = plan_resize(self._card.resize, shape[0], shape[1], spec.height, spec.width)
        target = self._address + slot * self._image_bytes
        self._kernel(int(interface["data"][0]), int(strides[0]), geometry, target)
        return geometry


def device_address(interface: dict[str, Any], tensor: TensorSpec) -> int:
    """Where an array on the GPU begins, after checking that it is what the input takes.

    ``interface``: its ``__cuda_array_interface__`` (version 2 or 3).

    Raises:
        UsageError: another shape or dtype, or strides that leave gaps.
    """
    shape, kind = tuple(interface["shape"]), np.dtype(interface["typestr"])
    if shape != tensor.shape or kind != tensor.dtype:
        raise UsageError(
            f"the GPU array is {kind} {list(shape)}, {tensor.name} takes {tensor.dtype} {list(tensor.shape)}"
        )
    strides = interface.get("strides")
    dense = tuple(int(np.prod(shape[axis + 1 :])) * kind.itemsize for axis in range(len(shape)))
    if strides is not None and tuple(strides) != dense:
        raise UsageError(f"the GPU array has strides {list(strides)}, expected a contiguous one: make a copy first")
    return int(interface["data"][0])

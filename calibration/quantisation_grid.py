"""Quantisation grids: the 256 values an INT8 tensor can take, and rounding onto them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgedet.onnx_graph.network import Array

GridKind = Literal["s8", "u8"]
"""``s8``: symmetric, zero point 0, -128..127 (TensorRT). ``u8``: 0..255 with a zero point (ONNX Runtime, x86)."""

SMALLEST_SCALE = np.float32(2.0**-40)
"""Keeps constant tensors from a scale of zero."""


@dataclass(frozen=True)
class Grid:
    """One scale and zero point for a whole tensor: real value = (integer - zero_point) * scale."""

    kind: GridKind
    scale: float
    zero_point: int = 0

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        return (-128, 127) if self.kind == "s8" else (0, 255)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest real value."""
        low, high = self.limits
        return (low - self.zero_point) * self.scale, (high - self.zero_point) * self.scale

    def round(self, values: Array) -> Array:
        """What is left of float ``values`` after quantising and dequantising them (half to even, as ONNX)."""
        low, high = self.limits
        scale = np.float32(self.scale)
        rounded = values / scale
        np.rint(rounded, out=rounded)
        np.clip(rounded, low - self.zero_point, high - self.zero_point, out=rounded)
        rounded *= scale
        return rounded


def grid_for(kind: GridKind, low: float, high: float) -> Grid:
    """The grid that covers ``low`` .. ``high`` and zero, which padding and ReLU need exactly.

    >>> grid_for("s8", -1.0, 63.5)
    Grid(kind='s8', scale=0.5, zero_point=0)
    >>> grid_for("u8", -1.0, 4.1).zero_point
    50
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if kind == "s8":
        # -128 is used too: TensorRT and ONNX clamp activations to [-128, 127].
        scale = max(high / 127, -low / 128, float(SMALLEST_SCALE))
        return Grid("s8", float(np.float32(scale)))
    scale = max((high - low) / 255, float(SMALLEST_SCALE))
    return Grid("u8", float(np.float32(scale)), int(np.clip(round(-low / scale), 0, 255)))


def weight_scales(weight: Array, axis: int, bits: int = 8) -> Array:
    """Symmetric scale of every output channel: float32 [channels]."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(weight).max(axis=others)
    # A dead channel's scale is anything: one that fp16 can hold, too.
    return np.where(largest > 0, np.maximum(largest / limit, SMALLEST_SCALE), 2.0**-10).astype(np.float32)


def along(axis: int, values: Array, ndim: int) -> Array:
    """``values`` [channels] shaped so that they broadcast along ``axis`` of an array of ``ndim`` axes."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])

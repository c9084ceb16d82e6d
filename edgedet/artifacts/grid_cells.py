"""The feature maps that one-stage detectors look at: how many cells a canvas has on them."""

from __future__ import annotations

from collections.abc import Sequence

STRIDES = (8, 16, 32)
"""Strides of most one-stage detectors' feature maps."""


def cell_count(height: int, width: int, strides: Sequence[int] = STRIDES) -> int:
    """Cells of the feature maps of a ``height`` x ``width`` canvas."""
    return sum((height // stride) * (width // stride) for stride in strides)

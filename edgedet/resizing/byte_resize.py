"""Bilinear resizing from bytes to bytes, with the same bytes on every processor.

For arm64, OpenCV brings code of its own, for pictures of up to four channels at some scales. It rounds otherwise:
where 640 x 480 become 416 x 312 in three channels, a quarter of the bytes differ, by up to 2, and scores of boxes
by more than 0.001 (opencv-python-headless 5.0.0.93 for aarch64). Detectors are trained where OpenCV's general code
runs, and so does whoever gives it five channels.
"""

from __future__ import annotations

import platform
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

GENERAL = 5
"""Channels, from which on OpenCV has its general code alone."""
OWN_CODE = platform.machine().lower() in ("aarch64", "arm64")
"""Whether OpenCV has code of its own for this processor."""

Array = NDArray[Any]


class ByteResize:
    """Brings frames of one size to another, uint8 to uint8, as ``cv2.resize`` does on x86-64.

    Whether OpenCV's own code gives those bytes is seen once for the two sizes, on noise. Where it does, it is used.

    Args:
        source: height and width of frames.
        target: height and width they are brought to.

    Attributes:
        general: whether the general code is used.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        self.source, self.target = source, target
        # Halves are means of four there, which OpenCV otherwise gives for areas alone, with another rounding for
        # five channels.
        self._halves = source == (2 * target[0], 2 * target[1])
        self._wide: Array | None = None
        noise = np.random.default_rng(0).integers(0, 256, (*source, 3), np.uint8)
        general, own = np.zeros((2, *target, 3), np.uint8)
        self.general = True
        self(noise, general)
        cv2.resize(noise, target[::-1], dst=own)
        if np.array_equal(own, general):
            self.general, self._wide = False, None

    def __call__(self, pixels: Array, content: Array) -> None:
        """Resize ``pixels``, uint8 [H, W, 3], into ``content``, uint8 [h, w, 3]."""
        size = self.target[::-1]
        if not self.general:
            cv2.resize(pixels, size, dst=content)
        elif self._halves:
            cv2.resize(pixels, size, dst=content, interpolation=cv2.INTER_AREA)
        else:
            if self._wide is None:
                self._wide = np.zeros((*self.source, GENERAL), np.uint8)
            self._wide[:, :, :3] = pixels
            np.copyto(content, cv2.resize(self._wide, size)[:, :, :3])

"""Bilinear interpolation with the corners aligned, as Darknet resizes: the outermost pixels stay where they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedet.resizing.four_pixels import FourPixelResize


class AlignedResize(FourPixelResize):
    """Output pixel ``i`` of ``n`` lies at ``i * (m - 1) / (n - 1)`` of ``m``: ONNX calls it ``align_corners``. For
    one pair of sizes.

    ``source``, ``target``: (height, width). Places are float32, as Darknet's ``resize_image`` computes them; its
    last row, which that makes black for some sizes (480 rows to 120), is black here too. Rounded where the target
    is uint8.

    >>> import numpy as np
    >>> result = np.zeros((1, 3, 3), np.float32)
    >>> AlignedResize((1, 4), (1, 3))(np.repeat(np.uint8([[[0], [80], [160], [240]]]), 3, axis=2), result)
    >>> result[0, :, 0].tolist()
    [0.0, 120.0, 240.0]
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        rows, down = _places(source[0], target[0])
        columns, across = _places(source[1], target[1])
        # The last column is the frame's last, whatever float32 makes of its place; the last row is not, and has
        # nothing below: where its place falls short of the frame's last row, Darknet gives it a share near 0.
        columns[-1], across[-1] = source[1] - 1, 0
        below = np.where(np.arange(target[0]) < target[0] - 1, down, np.float32(0))
        super().__init__(
            source,
            target,
            ((rows, 1 - down), (np.minimum(rows + 1, source[0] - 1), below)),
            ((columns, 1 - across), (np.minimum(columns + 1, source[1] - 1), across)),
        )


def _places(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Input pixel before every output pixel, and the distance from it."""
    step = np.float32(source - 1) / np.float32(max(target - 1, 1))
    places = np.arange(target, dtype=np.float32) * step
    first = np.minimum(places.astype(np.intp), source - 1)
    return first, places - first.astype(np.float32)

"""The class of every pixel of a canvas, from scores in a coarser grid: exact, and without stretching them all.

Between four places of the grid a bilinear score never leaves the range of the four. So a class that is below
another at all of them is below it everywhere between, and only classes that could win somewhere are stretched: in
most pictures a few of them.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.errors import ArtifactError

Array = NDArray[Any]


def label_type(classes: int) -> type[np.uint8] | type[np.uint16]:
    """The smallest type of labels for so many classes.

    >>> label_type(21).__name__, label_type(257).__name__
    ('uint8', 'uint16')
    """
    return np.uint8 if classes <= 256 else np.uint16


def upsampled_argmax(
    logits: Array, canvas: tuple[int, int], *, rows: slice, columns: slice, shares: bool = False
) -> tuple[Array, Array | None]:
    """Labels [h, w] of a part of the canvas: of the classes with the largest score, the first.

    Scores are what ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` makes of the grid.

    Args:
        logits: float32 [C, h, w].
        canvas: (height, width) in pixels.
        rows, columns: the part of it.
        shares: whether the label's share is wanted, too.

    Returns:
        The labels, uint8 up to 256 classes, else uint16; and softmax's share of each pixel's label, float32 [h, w],
        or None.

    Raises:
        ArtifactError: scores that are no numbers.
    """
    stretched = _Stretched(logits, canvas, rows, columns)
    classes = range(len(logits)) if stretched.is_whole or shares else _contenders(logits)
    labels: Array | None = None
    best: Array = np.empty(0, np.float32)
    for label in classes:
        scores = stretched(label)
        if labels is None:
            labels = np.full(scores.shape, label, label_type(len(logits)))
            best = scores.copy()
            continue
        higher = scores > best
        np.putmask(labels, higher, labels.dtype.type(label))
        np.maximum(best, scores, out=best)
    assert labels is not None, "a network has classes"
    if not np.isfinite(best).all():
        raise ArtifactError(
            "the network gave scores that are no finite numbers: it is damaged, or its training diverged; export "
            "it again"
        )
    if not shares:
        return labels, None
    total = np.zeros_like(best)
    for label in classes:
        total += np.exp(stretched(label) - best)
    return labels, 1 / total


def _contenders(logits: Array) -> Array:
    """The classes that may win somewhere, in order.

    Between four places, a class whose largest score is below another's smallest cannot.
    """
    lowest, highest = logits, logits
    for axis in (1, 2):
        if logits.shape[axis] > 1:
            front = tuple(slice(None, -1) if each == axis else slice(None) for each in range(3))
            back = tuple(slice(1, None) if each == axis else slice(None) for each in range(3))
            lowest = np.minimum(lowest[front], lowest[back])
            highest = np.maximum(highest[front], highest[back])
    # What is no number is below nothing.
    return np.flatnonzero(~(highest < lowest.max(axis=0)).all(axis=(1, 2)))


class _Stretched:
    """Scores of one class on a part of the canvas."""

    def __init__(self, logits: Array, canvas: tuple[int, int], rows: slice, columns: slice) -> None:
        self._logits = logits
        self._size = (canvas[1], canvas[0])
        self._rows, self._columns = rows, columns
        self.is_whole = logits.shape[1:] == canvas
        self._buffer: Array = np.empty((0, 0) if self.is_whole else canvas, np.float32)

    def __call__(self, label: int) -> Array:
        """Valid until the next call."""
        plane = self._logits[label]
        if not self.is_whole:
            plane = cv2.resize(plane, self._size, dst=self._buffer, interpolation=cv2.INTER_LINEAR)
        return plane[self._rows, self._columns]

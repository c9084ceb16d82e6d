"""From a network's scores to the class of every pixel of the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.errors import ArtifactError, UsageError
from edgedet.geometry import ResizeGeometry
from edgedet.masks.class_map import ClassMap
from edgedet.masks.upsampled_argmax import upsampled_argmax

LOGITS = "logits"
"""Name of the output."""

Array = NDArray[Any]


class ClassMapReader:
    """Turns the output of the format ``class_logits`` into :class:`ClassMap`.

    The class of a canvas pixel is that of the largest score, stretched as PyTorch does. A frame's pixel has the
    class of the canvas pixel that its centre lies in: classes are not mixed.

    ``outputs``: names of the artifact's. ``scores``: whether each pixel's share is wanted.

    Raises:
        ArtifactError: no output of that name.
    """

    def __init__(self, card: ModelCard, outputs: Sequence[str], *, scores: bool = False) -> None:
        if LOGITS not in outputs:
            raise ArtifactError(
                f"the artifact gives {', '.join(outputs)}, expected {LOGITS}: it is not this network's card; "
                "export it again"
            )
        self._names = card.names
        self._canvas = (card.input.height, card.input.width)
        self._scores = scores

    def __call__(self, outputs: Mapping[str, Array], place: ResizeGeometry, slot: int = 0) -> ClassMap:
        """The map of the frame that lies at ``place`` in batch place ``slot``.

        Raises:
            ArtifactError: outputs that are not what the card says.
        """
        logits = outputs[LOGITS][slot]
        if logits.ndim != 3 or len(logits) != len(self._names):
            raise ArtifactError(
                f"the network gives scores {list(logits.shape)}, the card names {len(self._names)} classes: it is "
                "not this network's card; export it again"
            )
        rows = slice(place.top, place.top + place.height)
        columns = slice(place.left, place.left + place.width)
        logits = np.ascontiguousarray(logits, np.float32)
        canvas = self._canvas
        if not canvas[0]:
            # The framework resizes frames itself: its scores are of the whole frame.
            canvas = (logits.shape[1], logits.shape[2])
            rows, columns = slice(0, canvas[0]), slice(0, canvas[1])
        labels, shares = upsampled_argmax(logits, canvas, rows=rows, columns=columns, shares=self._scores)
        size = (place.frame_height, place.frame_width)
        found = to_frame(labels, size)
        return ClassMap(found, self._names, None if shares is None else to_frame(shares, size))

    def nothing(self, frame_size: tuple[int, int]) -> ClassMap:
        """Every frame is segmented whole; nobody asks.

        Raises:
            UsageError: somebody did.
        """
        raise UsageError("a segmenter takes no proposals; leave them out")


def to_frame(values: Array, size: tuple[int, int]) -> Array:
    """``values`` [h, w] at another ``size`` (height, width): each pixel takes what its centre lies in.

    >>> to_frame(np.uint8([[1, 2]]), (2, 4)).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    if values.shape == size:
        return values
    # In whole numbers: OpenCV and PyTorch round, and differ where a centre lies on a border.
    rows, columns = (
        (2 * np.arange(target) + 1) * source // (2 * target)
        for source, target in zip(values.shape, size, strict=True)
    )
    return values[:, columns][rows]

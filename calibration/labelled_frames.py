"""Labelled pictures as graphs take them: prepared as on the device, and kept as long as there is room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from edgedet.artifacts.card import ModelCard
from edgedet.geometry import ResizeGeometry
from edgedet.onnx_graph.network import Array
from edgedet.preprocess import Preprocessor

from .calibration_frames import KEPT_BYTES
from .executor import in_lanes


class LabelledPictures:
    """Pictures of a data set for one graph after another.

    Args:
        card: model card of the graphs.
        read: the frame of the picture with a number, uint8 [H, W, 3] BGR.
        count: of pictures.
    """

    def __init__(self, card: ModelCard, read: Callable[[int], Any], count: int) -> None:
        self._prepare = Preprocessor(card.input, card.resize)
        # Unused places of a batch hold zeros, not whatever was in memory.
        self._prepare.tensor[1:] = 0
        self._read = read
        self._count = count
        self._kept: dict[int, tuple[Array, ResizeGeometry]] = {}

    def through(
        self, run: Callable[[Array], dict[str, Array]]
    ) -> Iterator[tuple[dict[str, Array], ResizeGeometry]]:
        """Outputs of a graph for every picture, and where the picture lay on the canvas, in order."""
        places: deque[ResizeGeometry] = deque()

        def tensors() -> Iterator[Array]:
            for number in range(self._count):
                tensor, place = self._prepared(number)
                places.append(place)
                yield tensor

        for outputs in in_lanes(run, tensors()):
            yield outputs, places.popleft()

    def _prepared(self, number: int) -> tuple[Array, ResizeGeometry]:
        if number in self._kept:
            return self._kept[number]
        place = self._prepare.prepare(self._read(number))
        prepared = self._prepare.tensor.copy(), place
        if (len(self._kept) + 1) * prepared[0].nbytes <= KEPT_BYTES:
            self._kept[number] = prepared
        return prepared

"""What a float detector makes of a picture: what it finds, and how strongly every layer answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from edgedet.artifacts.card import ModelCard
from edgedet.onnx_graph.network import Array, Layer, Network
from edgedet.onnx_graph.rewriting import place_behind

from .executor import GraphRunner, in_lanes
from .judge import Reader
from .taps import channel_axis, reduction

BEST = 10
"""Detections of a picture that count for its response."""


@dataclass(frozen=True)
class Answer:
    """To one picture.

    Attributes:
        scores: of what is found, the highest first: float32 [n].
        means, squares: of every layer's output over all positions, channels of one layer after the other: float32.
    """

    scores: Array
    means: Array
    squares: Array

    @property
    def response(self) -> float:
        """Sum of the best scores."""
        return float(self.scores[:BEST].sum())


class Questions:
    """A detector with additions that tell how strongly every layer answers.

    ``layers``: those asked, in order; ``channels``: where their channels lie in :class:`Answer`.
    """

    def __init__(
        self, network: Network, card: ModelCard, layers: Sequence[Layer], *, threads: int | None = None
    ) -> None:
        shapes = network.shapes()
        self.layers = [layer for layer in layers if shapes.get(layer.output) and all(shapes[layer.output])]
        self.channels: list[slice] = []
        self._card = card
        self._reader = Reader(card, network.outputs)
        model = onnx.ModelProto()
        model.CopyFrom(network.model)
        graph, begin = model.graph, 0
        added: dict[str, list[NodeProto]] = {}
        for layer in self.layers:
            shape = shapes[layer.output]
            channel = channel_axis(network, layer.output, len(shape))
            axes = [axis for axis in range(len(shape)) if axis != channel]
            for what, kind in (("mean", "ReduceMean"), ("squares", "ReduceSumSquare")):
                output = f"{layer.output}/{what}"
                node, constants = reduction(kind, layer.output, output, axes, opset=network.opset)
                added.setdefault(layer.output, []).append(node)
                graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
                graph.output.append(helper.make_empty_tensor_value_info(output))
            self.channels.append(slice(begin, begin + shape[channel]))
            begin += shape[channel]
        place_behind(graph, added)
        self._positions = [
            np.prod(shapes[layer.output]) / (piece.stop - piece.start)
            for layer, piece in zip(self.layers, self.channels, strict=True)
        ]
        self._runner = GraphRunner(model, threads=threads, as_written=True)

    def ask(self, tensors: Iterable[Array]) -> Iterator[Answer]:
        """Answers to every place of every prepared input, in order; places of one batch share their strengths."""
        for outputs in in_lanes(self._runner, tensors):
            means = [outputs[f"{layer.output}/mean"].ravel() for layer in self.layers]
            squares = [
                outputs[f"{layer.output}/squares"].ravel() / positions
                for layer, positions in zip(self.layers, self._positions, strict=True)
            ]
            for found in self._reader.read(outputs):
                yield Answer(
                    np.sort(found.scores)[::-1],
                    np.concatenate([*means, np.zeros(0)]).astype(np.float32),
                    np.concatenate([*squares, np.zeros(0)]).astype(np.float32),
                )

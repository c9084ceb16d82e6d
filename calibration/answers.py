"""What a float detector makes of a picture: what it finds, and how strongly every layer answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.artifacts.card import ModelCard
from edgedet.onnx_graph.network import Array, Layer, Network

from .executor import GraphRunner, in_lanes
from .judge import Reader

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
        for layer in self.layers:
            shape = shapes[layer.output]
            channel = 1 if len(shape) == 4 else len(shape) - 1
            axes = [axis for axis in range(len(shape)) if axis != channel]
            for what, kind in (("mean", "ReduceMean"), ("squares", "ReduceSumSquare")):
                output = f"{layer.output}/{what}"
                node = helper.make_node(kind, [layer.output], [output], output, keepdims=0)
                if network.opset >= 18:
                    graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), f"{output}/axes"))
                    node.input.append(f"{output}/axes")
                else:
                    node.attribute.append(helper.make_attribute("axes", axes))
                graph.node.append(node)
                graph.output.append(helper.make_empty_tensor_value_info(output))
            self.channels.append(slice(begin, begin + shape[channel]))
            begin += shape[channel]
        self._positions = [
            np.prod(shapes[layer.output]) / (piece.stop - piece.start)
            for layer, piece in zip(self.layers, self.channels, strict=True)
        ]
        self._runner = GraphRunner(model, threads=threads)

    def ask(self, tensors: Iterable[Array]) -> Iterator[Answer]:
        """Answers to every place of every prepared input, in order; places of one batch share their strengths."""
        shape: tuple[int, ...] = ()

        def noted() -> Iterator[Array]:
            nonlocal shape
            for tensor in tensors:
                shape = tensor.shape
                yield tensor

        for outputs in in_lanes(self._runner, noted(), self._runner.lanes):
            means = [outputs[f"{layer.output}/mean"].ravel() for layer in self.layers]
            squares = [
                outputs[f"{layer.output}/squares"].ravel() / positions
                for layer, positions in zip(self.layers, self._positions, strict=True)
            ]
            for found in self._reader.read(outputs, shape):
                yield Answer(
                    np.sort(found.scores)[::-1],
                    np.concatenate([*means, np.zeros(0)]).astype(np.float32),
                    np.concatenate([*squares, np.zeros(0)]).astype(np.float32),
                )

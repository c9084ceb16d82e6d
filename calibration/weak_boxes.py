"""What a detector answers below its threshold: the strongest boxes of a frame, however weak they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.onnx_graph.network import Array
from edgedet.postprocess import Postprocessor, Thresholds

from .judge import Reader

STRONGEST = 100
"""Answers read of every frame, before suppression."""
LOWEST = 1e-3
"""Score threshold of opened graphs: without any, suppression takes several times as long as the network."""
SAME_THRESHOLD = 1e-6


def lowered(card: ModelCard, least: float) -> ModelCard:
    """The card with a score threshold of ``least``, or its own where that is lower."""
    return replace(card, output=replace(card.output, score_threshold=min(card.output.score_threshold, least)))


def opened(model: onnx.ModelProto, threshold: float, least: float = LOWEST) -> onnx.ModelProto:
    """A copy of a graph that suppresses duplicates itself, its score threshold lowered to ``least``.

    Graphs that leave that to the host come back as they are; so does the threshold of another tool's graph, which
    cannot be told from other constants.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {constant.name: constant for constant in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type == "ThresholdedRelu":
            for attribute in node.attribute:
                if attribute.name == "alpha" and abs(attribute.f - threshold) < SAME_THRESHOLD:
                    attribute.f = min(threshold, least)
        elif node.op_type == "NonMaxSuppression" and len(node.input) > 4 and node.input[4] in constants:
            own = f"{node.name}/opened"
            value = np.minimum(numpy_helper.to_array(constants[node.input[4]]), np.float32(least))
            copy.graph.initializer.append(numpy_helper.from_array(value, own))
            node.input[4] = own
    return copy


class WeakReader(Reader):
    """Reads the ``STRONGEST`` answers of every frame, in canvas pixels; of graphs :func:`opened`."""

    def __init__(self, card: ModelCard, outputs: Sequence[str]) -> None:
        super().__init__(card, outputs)
        self._card = lowered(card, 0.0)
        self._outputs = tuple(outputs)

    def detections(self, outputs: dict[str, Array], slot: int) -> Detections:
        """Detections in one place of the batch."""
        scores = self._scores(outputs, slot)
        scores = scores[np.isfinite(scores)]
        least = float(np.partition(scores, -STRONGEST - 1)[-STRONGEST - 1]) if len(scores) > STRONGEST else 0.0
        output = self._card.output
        settled = Thresholds(max(least, 0.0), output.iou_threshold, min(output.max_detections, STRONGEST))
        return Postprocessor(self._card, settled, self._outputs)(outputs, self._canvas, slot)

    def _scores(self, outputs: dict[str, Array], slot: int) -> Array:
        """Every score there is to choose from, flat."""
        output = self._card.output
        if output.format in ("detections", "candidates"):
            scores = outputs["scores"][slot]
            return scores.max(axis=1) if output.label_mode == "best" and scores.ndim == 2 else scores.reshape(-1)
        values = outputs[self._outputs[0]][slot]
        if output.format == "yolo_xywh":
            return np.asarray(values[4:].max(axis=0))
        if output.format == "yolo_objectness":
            return np.asarray((values[:, 5:] * values[:, 4:5]).max(axis=1))
        return np.asarray(values[:, 4])

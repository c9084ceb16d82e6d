"""Thresholds of ONNX's NonMaxSuppression, and of what exporters put around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import numpy_helper

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.network import Network

from .nms_paths import named, origin

UNLIMITED = 1 << 30
MAX_DETECTIONS = 1000
"""Maximum number of detections where every class had a limit of its own."""


class Limits:
    """Thresholds that a NonMaxSuppression and what stands around it apply, with the operator's own defaults."""

    def __init__(
        self,
        network: Network,
        node: onnx.NodeProto,
        before: set[str],
        behind: set[str],
        shapes: dict[str, tuple[int, ...]],
    ) -> None:
        def given(index: int) -> float | None:
            name = node.input[index] if len(node.input) > index else ""
            return float(network.constant(name).reshape(-1)[0]) if name in network.constants else None

        iou = given(3)
        self.iou = 0.0 if iou is None else plain(iou)
        score = given(4)
        if score is None or score <= 0:
            masks = self._constants(network, ("Greater", "GreaterOrEqual"), lambda node: node.input[0] in before)
            score = max((value for value in masks if 0 < value < 1), default=score)
        # Where the operator has none, every score above 0 passes.
        self.score = 0.0 if score is None else plain(score)
        # What the operator limits is the number for each class.
        classes = shapes.get(node.input[1], (1, 1))[1]
        most = given(2)
        self.per_class = None if most is None or most >= UNLIMITED or most <= 0 else int(most)
        counts = [] if self.per_class is None else [min(self.per_class * classes, MAX_DETECTIONS)]
        for other in network.graph.node:
            if other.op_type == "Slice" and other.input[0] in behind and len(other.input) > 2:
                if _is_of_sizes(network, other.input[0]):
                    continue
                ends = network.constants.get(other.input[2])
                starts = network.constants.get(other.input[1])
                first = len(other.input) < 4 or other.input[3] not in network.constants
                axis = 0 if first else int(network.constant(other.input[3]).reshape(-1)[0])
                if ends is not None and starts is not None and axis == 0:
                    start, end = (int(numpy_helper.to_array(t).reshape(-1)[0]) for t in (starts, ends))
                    if start == 0 and 1 < end < UNLIMITED:
                        counts.append(end)
            if other.op_type == "TopK" and other.input[0] in behind:
                counts.extend(_at_most(network, other.input[1]))
        for output in network.outputs:
            shape = shapes.get(output, ())
            if len(shape) == 3 and output in behind and shape[2] in (4, 5, 6):
                counts.append(shape[1])
        self.most = min(counts, default=None)

    @staticmethod
    def _constants(
        network: Network, kinds: tuple[str, ...], where: Callable[[onnx.NodeProto], bool]
    ) -> list[float]:
        found = []
        for node in network.graph.node:
            if node.op_type in kinds and node.input[1] in network.constants and where(node):
                value = network.constant(node.input[1])
                if value.size == 1:
                    found.append(float(value.item()))
        return found


def candidates_before(
    network: Network, node: onnx.NodeProto, between: set[str], shapes: dict[str, tuple[int, ...]], path: Path
) -> int | None:
    """How many of the best boxes an NMS gets, where a TopK on the way chooses; None where all.

    ``between``: tensors from the head to ``node``.

    Raises:
        ArtifactError: boxes are chosen by something else than their scores.
    """
    found = None
    for other in network.graph.node:
        if other.op_type != "TopK" or not between.intersection(other.output):
            continue
        counts = _at_most(network, other.input[1])
        shape = shapes.get(other.input[0], ())
        axis = next((entry.i for entry in other.attribute if entry.name == "axis"), -1)
        if not counts or (shape and min(counts) >= shape[axis]):
            continue
        if min(counts) == 1 and shape and shape[axis] > 1:
            continue  # the best class of a box
        if origin(network, other.input[0]) != origin(network, node.input[1]):
            raise ArtifactError(
                f"{path}: {named(other)} chooses boxes for its {named(node)} by something else than their scores, "
                "which edgedet does not know to do; export it again without NMS"
            )
        found = min(counts) if found is None else min(found, *counts)
    return found


def _at_most(network: Network, count: str) -> list[int]:
    """What a number of the best is at most: a constant, or the smaller of one and what there is.

    MMDeploy writes that as ``Where`` or ``Min``, paddle2onnx as ``ReduceMin`` of both in one tensor.
    """
    names = [count]
    while names and network.producer.get(names[0], onnx.NodeProto()).op_type in ("Reshape", "Unsqueeze", "Cast"):
        names = [network.producer[names[0]].input[0]]
    maker = network.producer.get(names[0])
    if maker is not None and maker.op_type in ("Where", "Min"):
        names = list(maker.input[-2:])
    elif maker is not None and maker.op_type == "ReduceMin":
        joined = network.producer.get(maker.input[0])
        names = list(joined.input) if joined is not None and joined.op_type == "Concat" else []
    return [int(network.constant(name).item()) for name in names if name in network.constants]


def _is_of_sizes(network: Network, tensor: str) -> bool:
    """Whether ``tensor`` is the sizes of another, of which a part is no limit."""
    maker = network.producer.get(tensor)
    while maker is not None and maker.op_type in ("Cast", "Identity"):
        maker = network.producer.get(maker.input[0])
    return maker is not None and maker.op_type == "Shape"


def plain(value: float) -> float:
    """What was written as a float32, as people write it."""
    return float(f"{value:.6g}")

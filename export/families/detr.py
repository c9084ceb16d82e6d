"""Detectors that need no NMS: DETR (arXiv:2005.12872) and its kin, RT-DETR, D-FINE, RF-DETR.

Every query answers with one box and one logit per class; what is left to do is to rank them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import onnx

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.errors import UsageError
from edgedet.onnx_graph.builder import GraphBuilder

from .base import Exported, GraphOptions
from .head_layout import centred_corners
from .network_input import add_network
from .nms import add_choice

SCORE_THRESHOLD = 0.5
"""What transformers' ``post_process_object_detection`` uses when nothing is said."""


@dataclass(frozen=True)
class Head:
    """How a network's answer is read.

    ``queries``: boxes it gives. ``columns``: numbers per query it gives about classes; ``classes``: which of them
    are objects, in the order of the names (None: all), so neither a background column nor "no object" is a label.
    ``activation``: ``sigmoid`` scores every class for itself, and one query may be several detections;
    ``softmax`` lets a query be its best class only; ``none`` is sigmoid where the network has done it.
    """

    queries: int
    columns: int
    classes: tuple[int, ...] | None = None
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"

    @property
    def labels(self) -> int:
        """Number of classes that may come out."""
        return self.columns if self.classes is None else len(self.classes)


def export(
    network: onnx.ModelProto,
    head: Head,
    spec: InputSpec,
    resize: ResizeRule,
    options: GraphOptions,
    *,
    conf: float = SCORE_THRESHOLD,
) -> Exported:
    """Put pixels in front of a DETR's network, and its ranking behind it.

    ``network``: one normalised image [N, 3, H, W] in ``spec.trained_colour`` order in; two outputs, what it says of
    classes [N, Q, C] and boxes [N, Q, 4] as cx, cy, w, h in shares of the canvas. ``spec`` and ``resize``: what it
    was trained on. ``conf``: the framework's own threshold. Nothing is left to a runtime, so ``options.nms`` is
    idle.

    Raises:
        UsageError: an IoU threshold, or more detections than there are queries.
    """
    output = _head_spec(head, options, conf)
    count = output.max_detections
    if head.activation == "softmax":
        output = replace(output, label_mode="best")
    graph = GraphBuilder("detr")
    answers, shares = add_network(graph, network, spec)
    centre, size = graph.ops("Split", shares, graph.ints(2, 2), name="decode/centre_size", outputs=2, axis=-1)
    canvas = graph.constant([spec.width, spec.height] * 2)
    boxes = graph.op("Mul", centred_corners(graph, centre, size), canvas, name="decode/pixels")
    rank = _rank_queries if head.activation == "softmax" else _rank_answers
    scores, query, label = rank(graph, answers, head, batch=spec.batch, count=count)
    add_choice(graph, boxes, scores, query, label, batch=spec.batch, count=count, conf=output.score_threshold)
    return Exported(graph.model(), spec, resize, output)


def require_options(head: Head, options: GraphOptions) -> None:
    """Check that the options have a meaning for such a network.

    Raises:
        UsageError: an IoU threshold, or more detections than there are queries.
    """
    _head_spec(head, options, SCORE_THRESHOLD)


def _head_spec(head: Head, options: GraphOptions, conf: float) -> OutputSpec:
    return choice_spec(options, head.queries, answers=head.queries * head.labels, conf=conf)


def choice_spec(
    options: GraphOptions, queries: int, *, answers: int | None = None, conf: float = SCORE_THRESHOLD
) -> OutputSpec:
    """What comes out of a network that chooses among its ``answers`` (None: one for each query) itself.

    Raises:
        UsageError: an IoU threshold, or more detections than there are queries.
    """
    if options.iou is not None:
        raise UsageError(
            f"this detector works without NMS, --iou {options.iou:g} would change nothing; leave it out"
        )
    if (options.max_detections or 0) > queries:
        raise UsageError(
            f"--max-detections is {options.max_detections}, but the network has {queries} queries and gives "
            "no more detections than that"
        )
    return OutputSpec(
        format="detections",
        score_threshold=conf if options.conf is None else options.conf,
        iou_threshold=1.0,
        max_detections=min(options.max_detections or queries, queries if answers is None else answers),
    )


def _objects(graph: GraphBuilder, answers: str, classes: Sequence[int] | None) -> str:
    """The columns that are classes."""
    if classes is None:
        return answers
    return graph.op("Gather", answers, graph.ints(*classes), name="scores/objects", axis=-1)


def _rank_answers(graph: GraphBuilder, answers: str, head: Head, *, batch: int, count: int) -> tuple[str, str, str]:
    """Scores, queries and labels [N, K] of the best answers of all queries together."""
    flat = graph.op(
        "Reshape",
        _objects(graph, answers, head.classes),
        graph.ints(batch, head.queries * head.labels),
        name="scores/flat",
    )
    # The sigmoid keeps the order: only the best need it.
    best, index = graph.ops("TopK", flat, graph.ints(count), name="scores/rank", outputs=2, axis=-1)
    if head.activation == "sigmoid":
        best = graph.op("Sigmoid", best, name="scores/sigmoid")
    query = graph.op("Div", index, graph.ints(head.labels), name="scores/query")
    label = graph.op("Mod", index, graph.ints(head.labels), name="scores/label")
    return best, query, label


def _rank_queries(graph: GraphBuilder, answers: str, head: Head, *, batch: int, count: int) -> tuple[str, str, str]:
    """Scores, queries and labels [N, K] of the best queries, each with its best class."""
    shares = graph.op("Softmax", answers, name="scores/softmax", axis=-1)
    best, label = graph.ops(
        "TopK", _objects(graph, shares, head.classes), graph.ints(1), name="scores/best", outputs=2, axis=-1
    )
    flat = graph.ints(batch, head.queries)
    best = graph.op("Reshape", best, flat, name="scores/flat")
    label = graph.op("Reshape", label, flat, name="scores/label_flat")
    top, query = graph.ops("TopK", best, graph.ints(count), name="scores/rank", outputs=2, axis=-1)
    return top, query, graph.op("GatherElements", label, query, name="scores/label", axis=1)

"""The last choice of a two-stage detector: boxes of every class of every proposal to detections."""

from __future__ import annotations

import numpy as np

from edgedet.artifacts.card import OutputSpec
from edgedet.onnx_graph.builder import GraphBuilder

from . import boxes as box_ops
from .nms import Chosen, add_labelled_choice, add_per_class_nms, add_stepwise_nms, keep_above, suppress


def possible_classes(threshold: float, classes: int) -> int:
    """How many of ``classes`` in one softmax can score above ``threshold``: they sum to 1.

    >>> possible_classes(0.25, 90), possible_classes(0.001, 300), possible_classes(0.0, 90)
    (4, 300, 90)
    """
    return min(int(1 / threshold), classes) if threshold > 0 else classes


def add_likely_classes(graph: GraphBuilder, scores: str, deltas: str, most: int) -> tuple[str, str, str]:
    """The ``most`` = K likely classes of each proposal: scores and int64 labels [N, P, K], deltas [N, P, K, 4].

    With 91 classes and a threshold of 0.25 a twentieth of the boxes is left to decode, and none is lost.
    """
    scores, labels = graph.ops("TopK", scores, graph.ints(most), name="scores/likely", outputs=2, axis=-1)
    column = graph.op("Unsqueeze", labels, graph.ints(-1), name="decode/likely_column")
    return scores, labels, graph.op("GatherND", deltas, column, name="decode/likely", batch_dims=2)


def _add_candidates(
    graph: GraphBuilder, boxes: str, scores: str, output: OutputSpec, shape: tuple[int, ...]
) -> str:
    """Scores ``shape`` of boxes [*shape, 4] that are large enough and above the threshold, 0 for others."""
    side = box_ops.shortest_box_side(graph, boxes, name="nms/side")
    large = graph.op("GreaterOrEqual", side, graph.constant(output.min_box_side), name="nms/large")
    large = graph.op("Reshape", large, graph.ints(*shape), name="nms/large_row")
    scores = graph.op("Where", large, scores, graph.constant(0.0), name="nms/large_scores")
    return keep_above(graph, scores, output.score_threshold, name="nms/threshold")


def add_nms(
    graph: GraphBuilder, boxes: str, scores: str, output: OutputSpec, *, batch: int, count: int, classes: int
) -> Chosen:
    scores = _add_candidates(graph, boxes, scores, output, (batch, count, classes))
    scores = graph.op("Transpose", scores, name="nms/scores_transposed", perm=[0, 2, 1])
    boxes = graph.op("Transpose", boxes, name="nms/boxes_transposed", perm=[0, 2, 1, 3])
    return add_per_class_nms(
        graph,
        graph.op("Reshape", boxes, graph.ints(batch * classes, count, 4), name="nms/boxes_by_class"),
        graph.op("Reshape", scores, graph.ints(batch * classes, 1, count), name="nms/scores_by_class"),
        batch=batch,
        classes=classes,
        candidates=count,
        iou=output.iou_threshold,
        max_detections=output.max_detections,
    )


def add_labelled_nms(
    graph: GraphBuilder,
    candidates: tuple[str, str, str],
    output: OutputSpec,
    *,
    batch: int,
    count: int,
    classes: int,
) -> Chosen:
    """``candidates``: boxes [N, P, K, 4], scores [N, P, K] and labels of ``count`` = P * K boxes."""
    boxes, scores, labels = candidates
    boxes = graph.op("Reshape", boxes, graph.ints(batch, count, 4), name="nms/candidates")
    scores = graph.op("Reshape", scores, graph.ints(batch, 1, count), name="nms/candidate_scores")
    labels = graph.op("Reshape", labels, graph.ints(batch, 1, count), name="nms/candidate_labels")
    flat = graph.op("Reshape", boxes, graph.ints(batch, 1, count, 4), name="nms/candidate_row")
    scores = _add_candidates(graph, flat, scores, output, (batch, 1, count))
    nothing = graph.op("ConstantOfShape", graph.ints(batch, classes, count), name="nms/nothing")
    by_class = graph.op("ScatterElements", nothing, labels, scores, name="nms/scores_by_class", axis=1)
    most = min(output.max_detections, count)
    selected = suppress(graph, boxes, by_class, most, iou=output.iou_threshold)
    return add_labelled_choice(
        graph,
        boxes,
        scores,
        graph.op("Reshape", labels, graph.ints(batch, count), name="nms/label_row"),
        selected,
        batch=batch,
        anchors=count,
        max_detections=output.max_detections,
    )


def add_steps(
    graph: GraphBuilder,
    candidates: tuple[str, str, str | None],
    output: OutputSpec,
    *,
    batch: int,
    count: int,
    per_proposal: int,
) -> Chosen:
    """The same without the operator NonMaxSuppression, which engines cannot run.

    ``candidates``: boxes [N, P, K, 4], scores [N, P, K] and labels [N, P, K], or None where K are all classes in
    their order; ``count`` is P, ``per_proposal`` K.
    """
    boxes, scores, labels = candidates
    rows = count * per_proposal
    boxes = graph.op("Reshape", boxes, graph.ints(batch, rows, 4), name="nms/row_boxes")
    flat = graph.op("Reshape", boxes, graph.ints(batch, 1, rows, 4), name="nms/candidate_row")
    scores = graph.op("Reshape", scores, graph.ints(batch, 1, rows), name="nms/row_scores")
    scores = _add_candidates(graph, flat, scores, output, (batch, 1, rows))
    if labels is None:
        every = np.tile(np.arange(per_proposal), (batch, count))
        labels = graph.constant(every, np.int64)
    else:
        labels = graph.op("Reshape", labels, graph.ints(batch, rows), name="nms/row_labels")
    return add_stepwise_nms(
        graph,
        boxes,
        graph.op("Reshape", scores, graph.ints(batch, rows), name="nms/scores_flat"),
        labels,
        batch=batch,
        rows=rows,
        iou=output.iou_threshold,
        max_detections=output.max_detections,
    )

"""Final non-maximum suppression inside a graph, and the contract's four static outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedet.artifacts.card import OutputSpec
from edgedet.onnx_graph.builder import GraphBuilder

from .region_proposals import add_static_nms

MAX_CANDIDATES = 2048
"""Maximum number of candidates that enter the NMS of fixed matrix steps: every step costs their square."""


@dataclass(frozen=True)
class Chosen:
    """Tensors of the graph with the final detections, best first: ``boxes`` float32 [N, K, 4] in canvas pixels,
    int32 ``labels`` [N, K]; bool ``found`` [N, K] is false, and the others are zero, past the last one. ``count``:
    K. ``index``: int64 [N, K], which of the boxes that were chosen from each is."""

    boxes: str
    labels: str
    found: str
    count: int
    index: str


def keep_above(graph: GraphBuilder, scores: str, threshold: float, *, name: str) -> str:
    """Scores of at most ``threshold`` become 0.

    Besides being exact (a strict comparison, as torchvision's), zeros are what makes the TopK after it cheap:
    0.3 ms instead of 9 ms over 90 classes x 3,234 boxes on two CPU cores.
    """
    if threshold <= 0:
        return scores
    return graph.op("ThresholdedRelu", scores, name=name, alpha=float(threshold))


def keep_best(graph: GraphBuilder, scores: str, count: int) -> str:
    """``scores`` [N, C, A] of the ``count`` boxes whose best scores are the highest; those of others become 0."""
    best = graph.op("ReduceMax", scores, name="nms/of_box", axes=[1], keepdims=1)
    top, _ = graph.ops("TopK", best, graph.ints(count), name="nms/candidates", outputs=2, axis=-1)
    least = graph.op("ReduceMin", top, name="nms/least", axes=[-1], keepdims=1)
    worse = graph.op("Less", best, least, name="nms/worse")
    return graph.op("Where", worse, graph.constant(0.0), scores, name="nms/of_candidates")


def suppress(graph: GraphBuilder, boxes: str, scores: str, each: int, *, iou: float, conf: float = 0.0) -> str:
    """Which boxes stay, int64 [M, 3] (image, class, box): of each class ``each`` at most that score above ``conf``.

    ``boxes`` [N, A, 4] corners, ``scores`` [N, C, A]. The one operator whose output has no static shape.
    """
    return graph.op(
        "NonMaxSuppression",
        boxes,
        scores,
        graph.ints(each),
        graph.constant([iou]),
        graph.constant([conf]),
        name="nms/suppress",
    )


def add_class_nms(
    graph: GraphBuilder, boxes: str, scores: str, output: OutputSpec, *, batch: int, classes: int
) -> None:
    """NMS as SSD's: of ``boxes`` [N, A, 4] and ``scores`` [N, A, C] the best ``output.candidates_per_class`` of
    every class suppress each other."""
    assert output.candidates_per_class is not None
    best = output.candidates_per_class
    # Threshold first, in the layout softmax leaves: what is left to transpose and rank is nearly all zeros.
    scores = keep_above(graph, scores, output.score_threshold, name="scores/threshold")
    by_class = graph.op("Transpose", scores, name="scores/by_class", perm=[0, 2, 1])
    top, index = graph.ops("TopK", by_class, graph.ints(best), name="scores/candidates", outputs=2, axis=-1)
    index = graph.op("Reshape", index, graph.ints(batch, classes * best, 1), name="scores/candidate_index")
    boxes = graph.op("GatherND", boxes, index, name="scores/candidate_boxes", batch_dims=1)
    add_per_class_nms(
        graph,
        graph.op("Reshape", boxes, graph.ints(batch * classes, best, 4), name="nms/boxes_by_class"),
        graph.op("Reshape", top, graph.ints(batch * classes, 1, best), name="nms/scores_by_class"),
        batch=batch,
        classes=classes,
        candidates=best,
        iou=output.iou_threshold,
        max_detections=output.max_detections,
    )


def add_per_class_nms(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    *,
    batch: int,
    classes: int,
    candidates: int,
    iou: float,
    max_detections: int,
) -> Chosen:
    """Every class suppresses its own boxes; the best ``max_detections`` of all classes come out.

    ``boxes`` [N * C, k, 4] corners, ``scores`` [N * C, 1, k], 0 where there is no candidate. What
    :func:`suppress` gives has no static shape, and is followed at once by a scatter that restores one.
    """
    slots = classes * candidates
    selected = suppress(graph, boxes, scores, candidates, iou=iou)
    flat = graph.op("Reshape", scores, graph.ints(-1), name="nms/flat_scores")
    # (row, 0, index) of [N * C, 1, k] to a place in [N * C * k].
    places = graph.op("MatMul", _float(graph, selected, "nms/places"), graph.constant([[candidates], [0], [1]]),
                      name="nms/place")  # fmt: skip
    places = graph.op("Cast", places, name="nms/place_index", to=7)
    kept = graph.op("GatherND", flat, places, name="nms/kept_scores")
    nothing = graph.constant(np.zeros(batch * slots, np.float32))
    scattered = graph.op("ScatterND", nothing, places, kept, name="nms/scatter")
    ranked = graph.op("Reshape", scattered, graph.ints(batch, slots), name="nms/per_image")
    boxes = graph.op("Reshape", boxes, graph.ints(batch, slots, 4), name="nms/flat_boxes")
    top, index = _rank(graph, ranked, min(max_detections, slots))
    labels = graph.op("Div", index, graph.ints(candidates), name="nms/label")
    return _outputs(graph, boxes, top, index, labels, batch=batch, count=min(max_detections, slots))


def add_best_label_nms(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    *,
    batch: int,
    anchors: int,
    class_step: float,
    conf: float,
    iou: float,
    max_detections: int,
) -> Chosen:
    """Every box carries only its best class, and suppresses boxes of that class (YOLO's rule).

    ``boxes`` [N, A, 4] corners, ``scores`` [N, C, A]. Boxes are moved apart by ``class_step`` pixels per class, so
    that one pass serves all of them.
    """
    count = min(max_detections, anchors)
    best = graph.op("ReduceMax", scores, name="nms/best", axes=[1], keepdims=1)
    best = keep_above(graph, best, conf, name="nms/threshold")
    label = graph.op("ArgMax", scores, name="nms/best_label", axis=1, keepdims=0)
    step = graph.op("Mul", _float(graph, label, "nms/label_float"), graph.constant(class_step), name="nms/step")
    step = graph.op("Unsqueeze", step, graph.ints(-1), name="nms/step_column")
    apart = graph.op("Add", boxes, step, name="nms/apart")
    selected = suppress(graph, apart, best, count, iou=iou)
    return add_labelled_choice(
        graph, boxes, best, label, selected, batch=batch, anchors=anchors, max_detections=max_detections
    )


def add_labelled_choice(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    labels: str,
    selected: str,
    *,
    batch: int,
    anchors: int,
    max_detections: int,
) -> Chosen:
    """The best of what was ``selected`` (:func:`suppress`), where a box has one class only.

    ``boxes`` [N, A, 4] corners, ``scores`` [N, 1, A], int64 ``labels`` [N, A].
    """
    count = min(max_detections, anchors)
    # (image, class, anchor) to [image, anchor]
    places = graph.op("Gather", selected, graph.ints(0, 2), name="nms/place", axis=1)
    flat = graph.op("Reshape", scores, graph.ints(batch, anchors), name="nms/flat_scores")
    kept = graph.op("GatherND", flat, places, name="nms/kept_scores")
    nothing = graph.constant(np.zeros((batch, anchors), np.float32))
    scattered = graph.op("ScatterND", nothing, places, kept, name="nms/scatter")
    top, index = _rank(graph, scattered, count)
    labels = graph.op("GatherElements", labels, index, name="nms/label", axis=1)
    return _outputs(graph, boxes, top, index, labels, batch=batch, count=count)


def add_all_labels_nms(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    *,
    batch: int,
    classes: int,
    anchors: int,
    conf: float,
    iou: float,
    max_detections: int,
    per_class: int | None = None,
) -> Chosen:
    """Every class suppresses among the same boxes, and a box may be found under several classes.

    ``boxes`` [N, A, 4] corners, ``scores`` [N, C, A]. ``per_class``: how many of each class at most.
    """
    count = min(max_detections, classes * anchors)
    selected = suppress(graph, boxes, scores, min(per_class or count, count), iou=iou, conf=conf)
    kept = graph.op("GatherND", scores, selected, name="nms/kept_scores")
    nothing = graph.op("ConstantOfShape", graph.ints(batch, classes, anchors), name="nms/nothing")
    scattered = graph.op("ScatterND", nothing, selected, kept, name="nms/scatter")
    ranked = graph.op("Reshape", scattered, graph.ints(batch, classes * anchors), name="nms/per_image")
    top, index = _rank(graph, ranked, count)
    anchor = graph.op("Mod", index, graph.ints(anchors), name="nms/anchor")
    labels = graph.op("Div", index, graph.ints(anchors), name="nms/label")
    return _outputs(graph, boxes, top, anchor, labels, batch=batch, count=count)


def add_stepwise_nms(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    labels: str,
    *,
    batch: int,
    rows: int,
    iou: float,
    max_detections: int,
) -> Chosen:
    """Every class suppresses its own boxes in fixed matrix steps, without the operator that engines cannot run.

    ``boxes`` [N, S, 4] corners, ``scores`` [N, S], 0 where there is no candidate, int64 ``labels`` [N, S]; S is
    ``rows``. As :func:`add_all_labels_nms` where at most :data:`MAX_CANDIDATES` boxes are candidates and no chain
    of suppressions is longer than :data:`~edgedet.export.families.region_proposals.NMS_STEPS`.
    """
    size = min(rows, MAX_CANDIDATES)
    top, index = graph.ops("TopK", scores, graph.ints(size), name="nms/candidates", outputs=2, axis=-1)
    column = graph.op("Unsqueeze", index, graph.ints(-1), name="nms/candidate_column")
    best = graph.op("GatherND", boxes, column, name="nms/candidate_boxes", batch_dims=1)
    labels = graph.op("GatherElements", labels, index, name="nms/candidate_labels", axis=1)
    valid = graph.op("Greater", top, graph.constant(0.0), name="nms/valid")
    kept = add_static_nms(
        graph,
        best,
        graph.op("Unsqueeze", _float(graph, valid, "nms/valid_float"), graph.ints(1), name="nms/valid_row"),
        size=size,
        iou=iou,
        name="nms/steps",
        groups=graph.op("Unsqueeze", _float(graph, labels, "nms/label_float"), graph.ints(1), name="nms/label_row"),
    )
    kept = graph.op("Reshape", kept, graph.ints(batch, size), name="nms/kept")
    scores = graph.op("Mul", top, kept, name="nms/kept_scores")
    count = min(max_detections, size)
    top, index = _rank(graph, scores, count)
    labels = graph.op("GatherElements", labels, index, name="nms/label", axis=1)
    return _outputs(graph, best, top, index, labels, batch=batch, count=count)


def add_ranked(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    labels: str,
    *,
    batch: int,
    rows: int,
    conf: float,
    max_detections: int,
) -> Chosen:
    """No suppression: of boxes that a network chose itself, the best above the threshold.

    ``boxes`` [N, K, 4] corners, ``scores`` [N, K], int64 ``labels`` [N, K], in any order.
    """
    count = min(max_detections, rows)
    scores = keep_above(graph, scores, conf, name="nms/threshold")
    top, index = _rank(graph, scores, count)
    labels = graph.op("GatherElements", labels, index, name="nms/label", axis=1)
    return _outputs(graph, boxes, top, index, labels, batch=batch, count=count)


def add_choice(
    graph: GraphBuilder, boxes: str, scores: str, index: str, labels: str, *, batch: int, count: int, conf: float
) -> None:
    """No suppression: of the best ``count`` answers of a network that repeats none, those above the threshold.

    ``scores``, int64 ``labels`` [N, K], ranked; ``index`` [N, K] says which of ``boxes`` [N, S, 4] each is about.
    """
    scores = keep_above(graph, scores, conf, name="nms/threshold")
    _outputs(graph, boxes, scores, index, labels, batch=batch, count=count)


def _float(graph: GraphBuilder, tensor: str, name: str) -> str:
    return graph.op("Cast", tensor, name=name, to=1)


def _rank(graph: GraphBuilder, scores: str, count: int) -> tuple[str, ...]:
    return graph.ops("TopK", scores, graph.ints(count), name="nms/rank", outputs=2, axis=-1)


def _outputs(
    graph: GraphBuilder, boxes: str, scores: str, index: str, labels: str, *, batch: int, count: int
) -> Chosen:
    """``boxes`` [N, S, 4]; ``scores``, ``index``, int64 ``labels`` [N, K], ranked. Rows past count become zero."""
    found = graph.op("Greater", scores, graph.constant(0.0), name="nms/found")
    column = graph.op("Unsqueeze", index, graph.ints(-1), name="nms/index_column")
    ranked = graph.op("GatherND", boxes, column, name="nms/ranked_boxes", batch_dims=1)
    found_column = graph.op("Unsqueeze", found, graph.ints(-1), name="nms/found_column")
    ranked = graph.op("Where", found_column, ranked, graph.constant(0.0), name="nms/boxes")
    labels = graph.op("Cast", labels, name="nms/label_int", to=6)
    labels = graph.op("Where", found, labels, graph.constant(0, np.int32), name="nms/labels")
    counted = graph.op("Cast", found, name="nms/found_int", to=6)
    counted = graph.op("ReduceSum", counted, graph.ints(-1), name="nms/count", keepdims=0)
    graph.output(ranked, "boxes", "float32", (batch, count, 4))
    graph.output(scores, "scores", "float32", (batch, count))
    graph.output(labels, "labels", "int32", (batch, count))
    graph.output(counted, "count", "int32", (batch,))
    return Chosen(ranked, labels, found, count, index)

"""From candidates of a reading to the contract's outputs: suppressed by class or by box, or ranked as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgedet.artifacts.card import InputSpec, OutputSpec
from edgedet.errors import UsageError
from edgedet.onnx_graph.builder import GraphBuilder

from .base import GraphOptions, output_spec
from .nms import add_choice, add_class_nms, add_ranked
from .output_reading import Reading
from .yolo import add_candidates_or_nms


@dataclass(frozen=True)
class Thresholds:
    """Limits of the final choice, where the options leave them; ``per_class``: how many of each class enter NMS."""

    conf: float = 0.25
    iou: float = 0.5
    detections: int = 300
    per_class: int | None = None


@dataclass(frozen=True)
class Candidates:
    """Tensors ``boxes`` [N, A, 4] corners, ``scores`` [N, A, C], or [N, A, 1] beside ``labels`` [N, A]."""

    boxes: str
    scores: str
    labels: str | None
    anchors: int
    classes: int


def add_choice_of(
    graph: GraphBuilder,
    found: Candidates,
    reading: Reading,
    options: GraphOptions,
    thresholds: Thresholds,
    *,
    spec: InputSpec,
) -> OutputSpec:
    """Finish a graph of ``found`` as ``reading`` says, and say what comes out.

    Raises:
        UsageError: options that a detector without NMS has no use for.
    """
    if reading.nms == "done":
        return _add_chosen(graph, found, reading, options, thresholds, batch=spec.batch)
    scores = found.scores
    if found.labels is not None:
        # Every class has its own score: what a box's label is not, it is with 0.
        column = graph.op("Unsqueeze", found.labels, graph.ints(-1), name="labels/column")
        numbers = graph.constant(np.arange(found.classes).reshape(1, 1, -1), np.int64)
        own = graph.op("Equal", column, numbers, name="labels/own")
        scores = graph.op("Where", own, scores, graph.constant(0.0), name="scores/of_label")
    rules: dict[str, Any] = {"label_mode": "best" if reading.nms == "best" else "all"}
    if reading.nms == "all" and thresholds.per_class is not None:
        rules["candidates_per_class"] = min(thresholds.per_class, found.anchors)
    output = output_spec(options, thresholds.conf, thresholds.iou, thresholds.detections, **rules)
    if output.candidates_per_class is not None and options.nms == "graph":
        add_class_nms(graph, found.boxes, scores, output, batch=spec.batch, classes=found.classes)
        return output
    by_class = graph.op("Transpose", scores, name="scores/by_class", perm=[0, 2, 1])
    add_candidates_or_nms(
        graph,
        found.boxes,
        by_class,
        output,
        spec=spec,
        anchors=found.anchors,
        classes=found.classes,
        nms=options.nms,
    )
    return output


def _add_chosen(
    graph: GraphBuilder,
    found: Candidates,
    reading: Reading,
    options: GraphOptions,
    thresholds: Thresholds,
    *,
    batch: int,
) -> OutputSpec:
    """Nothing is left to suppress: rank what the network chose."""
    if options.iou is not None:
        raise UsageError("--iou is for NMS, which this detector does without; leave it out")
    one_each = found.labels is not None or reading.activation == "softmax"
    anchors, classes, scores = found.anchors, found.classes, found.scores
    most = min(options.max_detections or thresholds.detections, anchors if one_each else anchors * classes)
    output = output_spec(
        replace(options, max_detections=most),
        thresholds.conf,
        thresholds.iou,
        most,
        format="detections",
        label_mode="best" if one_each else "all",
    )
    conf = output.score_threshold
    if one_each:
        labels = found.labels
        if labels is None:
            labels = graph.op("ArgMax", scores, name="scores/label", axis=-1, keepdims=0)
            scores = graph.op("ReduceMax", scores, name="scores/best", axes=[-1], keepdims=1)
        flat = graph.op("Reshape", scores, graph.ints(batch, anchors), name="scores/flat")
        add_ranked(graph, found.boxes, flat, labels, batch=batch, rows=anchors, conf=conf, max_detections=most)
        return output
    flat = graph.op("Reshape", scores, graph.ints(batch, anchors * classes), name="scores/flat")
    best, index = graph.ops("TopK", flat, graph.ints(most), name="scores/rank", outputs=2, axis=-1)
    query = graph.op("Div", index, graph.ints(classes), name="scores/query")
    label = graph.op("Mod", index, graph.ints(classes), name="scores/label")
    add_choice(graph, found.boxes, best, query, label, batch=batch, count=most, conf=conf)
    return output

"""How the numbers of a foreign one-stage head become boxes and scores, as data and as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgedet.artifacts.foreign_outputs import MAX_ROWS
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.plausible import BoxForm, Unit

from .nms import add_ranked


@dataclass(frozen=True)
class Layout:
    """``order``: of the output's axes.

    ``columns``: [N, 4 + C, A], an anchor's numbers along the second axis (Ultralytics).
    ``rows``: [N, A, 4 + C], or [N, A, 5 + C] with ``objectness`` (YOLOv5, YOLOv7, YOLOX).
    ``ranked``: [N, K, 6], box, score and label of the few boxes the head chose (no NMS).
    ``background``: which of the 1 + C scores of ``rows`` is that of nothing.
    ``alone``: objectness is the score, and not multiplied by that of the one class.
    """

    order: Literal["columns", "rows", "ranked"]
    classes: int
    objectness: bool = False
    form: BoxForm = "centre"
    unit: Unit = "pixels"
    scores: Literal["probabilities", "logits"] = "probabilities"
    background: Literal["first", "last"] | None = None
    alone: bool = False

    def anchors(self, shape: Sequence[int]) -> int:
        """Number of anchors of an output of ``shape`` [N, ., .]."""
        return int(shape[2 if self.order == "columns" else 1])


def layouts_of(shape: Sequence[int], classes: int) -> tuple[Layout, ...]:
    """What an output [N, ., .] can be where there are ``classes`` classes, the likeliest first."""
    if len(shape) != 3:
        return ()
    _, first, second = shape
    found = []
    if first == 4 + classes:
        found.append(Layout("columns", classes))
    if second == 5 + classes and first > MAX_ROWS:
        found.append(Layout("rows", classes, objectness=True))
    if second == 6 and first <= MAX_ROWS:
        found.append(Layout("ranked", classes, form="corners"))
    if second == 5 + classes and first <= MAX_ROWS:
        found.append(Layout("rows", classes, objectness=True))
    if second == 4 + classes:
        found.append(Layout("rows", classes))
    return tuple(found)


def add_boxes_and_scores(
    graph: GraphBuilder, raw: str, layout: Layout, *, height: int, width: int
) -> tuple[str, str]:
    """Decode ``raw`` into boxes [N, A, 4], corners in canvas pixels, and scores [N, C, A]."""
    if layout.order == "columns":
        parts = graph.ints(4, layout.classes)
        shape, classes = graph.ops("Split", raw, parts, name="decode/parts", outputs=2, axis=1)
        shape = graph.op("Transpose", shape, name="decode/rows", perm=[0, 2, 1])
        scores = _probabilities(graph, classes, layout, "classes")
    elif layout.objectness:
        parts = graph.ints(4, 1, layout.classes)
        shape, sure, classes = graph.ops("Split", raw, parts, name="decode/parts", outputs=3, axis=-1)
        if layout.alone:
            sure = _probabilities(graph, sure, layout, "objectness")
            scores = graph.op("Transpose", sure, name="scores/by_class", perm=[0, 2, 1])
        else:
            scores = add_product(graph, sure, classes, layout)
    elif layout.background is not None:
        shape, scores = _without_background(graph, raw, layout)
    else:
        parts = graph.ints(4, layout.classes)
        shape, classes = graph.ops("Split", raw, parts, name="decode/parts", outputs=2, axis=-1)
        classes = _probabilities(graph, classes, layout, "classes")
        scores = graph.op("Transpose", classes, name="scores/by_class", perm=[0, 2, 1])
    return add_corners(graph, shape, layout, height=height, width=width), scores


def _without_background(graph: GraphBuilder, raw: str, layout: Layout) -> tuple[str, str]:
    """Boxes [N, A, 4] as they are, and scores [N, C, A]."""
    first = layout.background == "first"
    parts = graph.ints(4, *((1, layout.classes) if first else (layout.classes, 1)))
    shape, left, right = graph.ops("Split", raw, parts, name="decode/parts", outputs=3, axis=-1)
    scores = graph.op("Transpose", right if first else left, name="scores/by_class", perm=[0, 2, 1])
    return shape, scores


def add_product(graph: GraphBuilder, objectness: str, classes: str, layout: Layout) -> str:
    """Objectness [N, A, 1] times class scores [N, A, C], as [N, C, A]."""
    classes = _probabilities(graph, classes, layout, "classes")
    objectness = _probabilities(graph, objectness, layout, "objectness")
    scores = graph.op("Mul", classes, objectness, name="scores/product")
    return graph.op("Transpose", scores, name="scores/by_class", perm=[0, 2, 1])


def add_chosen(
    graph: GraphBuilder,
    raw: str,
    layout: Layout,
    *,
    shape: Sequence[int],
    height: int,
    width: int,
    conf: float,
    max_detections: int,
) -> None:
    """Finish a graph whose network chose its boxes itself: ``raw`` [N, K, 6] of ``shape``."""
    batch, rows = int(shape[0]), int(shape[1])
    boxes, scores, labels = graph.ops("Split", raw, graph.ints(4, 1, 1), name="decode/parts", outputs=3, axis=-1)
    boxes = add_corners(graph, boxes, layout, height=height, width=width)
    scores = graph.op("Reshape", scores, graph.ints(batch, rows), name="decode/scores")
    labels = graph.op("Reshape", labels, graph.ints(batch, rows), name="decode/labels")
    labels = graph.op("Cast", labels, name="decode/label_int", to=7)
    add_ranked(graph, boxes, scores, labels, batch=batch, rows=rows, conf=conf, max_detections=max_detections)


def add_corners(graph: GraphBuilder, boxes: str, layout: Layout, *, height: int, width: int) -> str:
    """Boxes [..., 4] as ``layout`` has them to corners in canvas pixels."""
    if layout.unit == "shares":
        canvas = graph.constant(np.array([width, height, width, height], np.float32))
        boxes = graph.op("Mul", boxes, canvas, name="decode/pixels")
    if layout.form == "corners":
        return boxes
    place, size = graph.ops("Split", boxes, graph.ints(2, 2), name="decode/centre_size", outputs=2, axis=-1)
    if layout.form == "top_left":
        far = graph.op("Add", place, size, name="decode/far")
        return graph.op("Concat", place, far, name="decode/corners", axis=-1)
    return centred_corners(graph, place, size)


def centred_corners(graph: GraphBuilder, centre: str, size: str) -> str:
    """Centres and sizes [..., 2] to corner boxes [..., 4]."""
    half = graph.op("Mul", size, graph.constant(0.5), name="decode/half")
    low = graph.op("Sub", centre, half, name="decode/low")
    high = graph.op("Add", centre, half, name="decode/high")
    return graph.op("Concat", low, high, name="decode/corners", axis=-1)


def _probabilities(graph: GraphBuilder, scores: str, layout: Layout, what: str) -> str:
    return graph.op("Sigmoid", scores, name=f"scores/{what}") if layout.scores == "logits" else scores

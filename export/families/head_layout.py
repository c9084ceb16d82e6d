"""How the numbers of a foreign one-stage head become boxes and scores, as data and as ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.foreign_outputs import MAX_ROWS
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.outputs.plausible_values import BoxForm, Unit

from .nms import Chosen, add_ranked
from .per_anchor_outputs import Further


@dataclass(frozen=True)
class Layout:
    """``order``: of the output's axes.

    ``columns``: [N, 4 + C, A], an anchor's numbers along the second axis (Ultralytics).
    ``rows``: [N, A, 4 + C], or [N, A, 5 + C] with ``objectness`` (YOLOv5, YOLOv7, YOLOX).
    ``ranked``: [N, K, 6], box, score and label of the few boxes the head chose (no NMS).
    ``background``: which of the 1 + C scores of ``rows`` is that of nothing.
    ``alone``: objectness is the score, and not multiplied by that of the one class.
    ``further``: how many numbers follow those of ``columns`` and ``ranked``, which are about neither.
    """

    order: Literal["columns", "rows", "ranked"]
    classes: int
    objectness: bool = False
    form: BoxForm = "centre"
    unit: Unit = "pixels"
    scores: Literal["probabilities", "logits"] = "probabilities"
    background: Literal["first", "last"] | None = None
    alone: bool = False
    further: int = 0

    def anchors(self, shape: Sequence[int]) -> int:
        """Number of anchors of an output of ``shape`` [N, ., .]."""
        return int(shape[2 if self.order == "columns" else 1])

    def without_further(self, seen: NDArray[Any]) -> NDArray[Any]:
        """An output ``seen`` [..., ., .] as far as it is about boxes, scores and labels."""
        if not self.further:
            return seen
        return seen[..., : -self.further, :] if self.order == "columns" else seen[..., : -self.further]


def layouts_of(shape: Sequence[int], classes: int, further: int = 0) -> tuple[Layout, ...]:
    """What an output [N, ., .] can be where there are ``classes`` classes, the likeliest first.

    ``further``: how many numbers follow what is about boxes and classes.
    """
    if len(shape) != 3:
        return ()
    if further:
        _, first, second = shape
        if second == 6 + further and first <= MAX_ROWS:
            return (Layout("ranked", classes, form="corners", further=further),)
        return (Layout("columns", classes, further=further),) if first == 4 + classes + further else ()
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
    boxes, scores, _ = decode_head(graph, raw, layout, height=height, width=width)
    return boxes, scores


def decode_head(
    graph: GraphBuilder, raw: str, layout: Layout, *, height: int, width: int
) -> tuple[str, str, Further | None]:
    """The same, with the further numbers of every anchor."""
    further = None
    if layout.order == "columns":
        sizes = (4, layout.classes, *((layout.further,) if layout.further else ()))
        parts = graph.ints(*sizes)
        shape, classes, *more = graph.ops("Split", raw, parts, name="decode/parts", outputs=len(sizes), axis=1)
        further = Further(more[0], layout.further, columns=True) if more else None
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
    return add_corners(graph, shape, layout, height=height, width=width), scores, further


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
) -> tuple[Chosen, Further | None]:
    """Finish a graph whose network chose its boxes itself: ``raw`` [N, K, 6] of ``shape``, or longer rows.

    Returns what was chosen, and the further numbers of every row.
    """
    batch, rows = int(shape[0]), int(shape[1])
    sizes = (4, 1, 1, *((layout.further,) if layout.further else ()))
    parts = graph.ints(*sizes)
    boxes, scores, labels, *more = graph.ops("Split", raw, parts, name="decode/parts", outputs=len(sizes), axis=-1)
    boxes = add_corners(graph, boxes, layout, height=height, width=width)
    scores = graph.op("Reshape", scores, graph.ints(batch, rows), name="decode/scores")
    labels = graph.op("Reshape", labels, graph.ints(batch, rows), name="decode/labels")
    labels = graph.op("Cast", labels, name="decode/label_int", to=7)
    chosen = add_ranked(
        graph, boxes, scores, labels, batch=batch, rows=rows, conf=conf, max_detections=max_detections
    )
    return chosen, Further(more[0], layout.further, columns=False) if more else None


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

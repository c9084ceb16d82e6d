"""Outputs of a foreign network as rows, one for every anchor: boxes, probabilities and class numbers as nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import GraphBuilder

from ..foreign import ForeignGraph
from .boxes import decode_boxes
from .default_boxes import SETS, VARIANCES
from .head_layout import Layout, add_corners
from .output_reading import Part, Reading

FORMS: dict[str, Any] = {"xyxy": "corners", "yxyx": "corners", "cxcywh": "centre", "xywh": "top_left"}


@dataclass(frozen=True)
class Rows:
    """A tensor [N, A, width] of the graph that is made."""

    name: str
    width: int


class RowReader:
    """Outputs of the network as rows, one for every anchor.

    ``given``: name of an output to its tensor in ``graph``, and its shape.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        foreign: ForeignGraph,
        reading: Reading,
        given: Mapping[str, tuple[str, Sequence[int]]],
    ) -> None:
        self.graph, self.foreign, self.reading, self.given = graph, foreign, reading, given
        self.anchors = self._count_anchors()

    def numbers(self) -> str:
        """Four numbers a box [N, A, 4], as the network gives them; of offsets, the corners that they lead to."""
        graph, reading = self.graph, self.reading
        rows = self._rows(reading.boxes, "boxes")
        if rows.width != 4:
            self._refuse(reading.boxes, f"has {rows.width} numbers for every box, expected 4: say which, as [0:4]")
        if not reading.box_words.startswith("offsets"):
            return rows.name
        offsets = self._x_first(rows.name) if reading.box_words == "offsets_yx" else rows.name
        centres, sizes = self._priors()
        weights: Any = tuple(1 / variance for variance in VARIANCES)
        return decode_boxes(graph, offsets, centres, sizes, weights=weights, name="decode")

    def _x_first(self, boxes: str) -> str:
        return self.graph.op("Gather", boxes, self.graph.ints(1, 0, 3, 2), name="decode/x_first", axis=-1)

    def boxes(self) -> str:
        """Corners in canvas pixels [N, A, 4]."""
        graph, reading, foreign = self.graph, self.reading, self.foreign
        boxes, words = self.numbers(), reading.box_words
        if words == "yxyx":
            boxes = self._x_first(boxes)
        form, unit = FORMS.get(words, "corners"), "shares" if reading.unit == "unit" else "pixels"
        layout = Layout("rows", 0, form=form, unit=unit)  # type: ignore[arg-type]
        return add_corners(graph, boxes, layout, height=foreign.height, width=foreign.width)

    def scores(self) -> Rows:
        """Probabilities of classes [N, A, C]."""
        graph, reading = self.graph, self.reading
        rows = self._rows(reading.scores, "scores")
        scores, width = rows.name, rows.width
        if reading.labels is not None and width != 1:
            self._refuse(reading.scores, f"has {width} numbers for every box, expected one beside labels=")
        if reading.activation == "softmax":
            scores = graph.op("Softmax", scores, name="scores/softmax", axis=-1)
        if reading.activation == "sigmoid":
            scores = graph.op("Sigmoid", scores, name="scores/sigmoid")
        if reading.background is not None:
            if width < 2:
                self._refuse(reading.scores, "has one number for every box, which cannot be class and background")
            first = reading.background == "first"
            ends = graph.ints(1 if first else 0), graph.ints(width if first else width - 1)
            scores = graph.op("Slice", scores, *ends, graph.ints(-1), name="scores/objects")
            width -= 1
        if reading.objectness is not None:
            sure = self._rows(reading.objectness, "objectness")
            if sure.width != 1:
                self._refuse(reading.objectness, f"has {sure.width} numbers for every box, expected 1: say which")
            factor = sure.name
            if reading.objectness_activation == "sigmoid":
                factor = graph.op("Sigmoid", factor, name="scores/objectness")
            scores = graph.op("Mul", scores, factor, name="scores/product")
        return Rows(self._only_found(scores), width)

    def labels(self) -> str | None:
        """Class numbers from 0, int64 [N, A]."""
        graph, part = self.graph, self.reading.labels
        if part is None:
            return None
        rows = self._rows(part, "labels")
        if rows.width != 1:
            self._refuse(part, f"has {rows.width} numbers for every box, expected one class number")
        flat = graph.op("Reshape", rows.name, graph.ints(self.foreign.batch, self.anchors), name="labels/flat")
        labels = graph.op("Cast", flat, name="labels/int", to=7)
        if self.reading.first_label:
            labels = graph.op("Sub", labels, graph.ints(1), name="labels/from_0")
        return labels

    def _only_found(self, scores: str) -> str:
        """Rows from ``count`` on, and rows of class numbers below the first, score 0."""
        graph, part = self.graph, self.reading.count
        labels = self.reading.labels
        if labels is not None:
            number = self._rows(labels, "found").name
            floor = graph.constant(self.reading.first_label)
            number = graph.op("Cast", number, name="found/number", to=1)
            below = graph.op("Less", number, floor, name="found/padding")
            scores = graph.op("Where", below, graph.constant(0.0), scores, name="found/classes")
        if part is None:
            return scores
        tensor, shape = self.given[part.tensor]
        if int(np.prod(shape)) != self.foreign.batch:
            self._refuse(part, f"is {list(shape)}, expected one number of boxes for every picture")
        count = graph.op("Reshape", tensor, graph.ints(self.foreign.batch, 1, 1), name="found/count")
        count = graph.op("Cast", count, name="found/count_float", to=1)
        places = graph.constant(np.arange(self.anchors, dtype=np.float32).reshape(1, -1, 1))
        there = graph.op("Less", places, count, name="found/there")
        return graph.op("Where", there, scores, graph.constant(0.0), name="found/scores")

    def _priors(self) -> tuple[str, str]:
        """Centres and sizes [A, 2], as shares."""
        graph, name = self.graph, self.reading.priors
        assert name is not None
        if name in SETS:
            boxes = SETS[name].boxes()
            if len(boxes) != self.anchors:
                self._refuse(self.reading.boxes, f"has {self.anchors} boxes, and the set {name} has {len(boxes)}")
            return graph.constant(boxes[:, :2]), graph.constant(boxes[:, 2:])
        rows = self._rows(Part(name), "priors")
        if rows.width != 4:
            self._refuse(Part(name), f"has {rows.width} numbers for every default box, expected cx, cy, w, h")
        centres, sizes = graph.ops("Split", rows.name, graph.ints(2, 2), name="priors/parts", outputs=2, axis=-1)
        return centres, sizes

    def _count_anchors(self) -> int:
        part = self.reading.boxes
        shape = self._plain(part)
        axis = _axis_of_numbers(shape, part)
        anchors = shape[1 if axis == 2 else 2]
        if anchors == 0:
            self._refuse(part, "has room for no box at all")
        return anchors

    def _rows(self, part: Part, what: str) -> Rows:
        """``part`` as [N, A, width]."""
        graph, (tensor, original) = self.graph, self.given[part.tensor]
        shape = self._plain(part)
        if list(shape) != list(original):
            tensor = graph.op("Reshape", tensor, graph.ints(*shape), name=f"{what}/plain")
        if shape[1] == self.anchors and (part == self.reading.boxes or shape[2] != self.anchors):
            columns = False
        elif shape[2] == self.anchors:
            columns = shape[1] != self.anchors
        else:
            self._refuse(part, f"is {list(original)}, which does not go with {self.anchors} boxes")
        if columns:
            tensor = graph.op("Transpose", tensor, name=f"{what}/rows", perm=[0, 2, 1])
            shape = (shape[0], shape[2], shape[1])
        if part.start or part.stop is not None:
            stop = shape[2] if part.stop is None else part.stop
            if stop > shape[2] or part.start >= stop:
                self._refuse(part, f"is more than there is: {shape[2]} numbers for every box")
            ends = graph.ints(part.start), graph.ints(stop)
            tensor = graph.op("Slice", tensor, *ends, graph.ints(-1), name=f"{what}/part")
            return Rows(tensor, stop - part.start)
        return Rows(tensor, shape[2])

    def _plain(self, part: Part) -> tuple[int, ...]:
        """The shape of ``part`` as three axes: batch first, without those of length 1."""
        original = tuple(self.given[part.tensor][1])
        batch = self.foreign.batch
        shape = original
        if not shape or (shape[0] != batch and batch == 1):
            shape = (1, *shape)
        inner = [size for size in shape[1:] if size != 1]
        if shape[0] == batch and len(inner) <= 2:
            # One box, or one number a box, are axes of length 1 that have to stay.
            if len(shape) == 3:
                return shape
            if len(inner) == 2:
                return (batch, *inner)
            if len(inner) == 1 and part != self.reading.boxes:
                return (batch, inner[0], 1)
            if inner == [4]:
                return (batch, 1, 4)
            if not inner:
                return (batch, 1, 1)
        self._refuse(part, f"is {list(original)}, expected [N, boxes, numbers] or [N, numbers, boxes]")

    def _refuse(self, part: Part, why: str) -> NoReturn:
        raise ArtifactError(f"{self.foreign.path}: {part.text()} {why}")


def _axis_of_numbers(shape: Sequence[int], part: Part) -> int:
    """Along which axis of [N, ., .] the numbers of a box stand: four of them, or, of a part, the shorter."""
    if part.start == 0 and part.stop is None:
        return 1 if shape[1] == 4 != shape[2] else 2
    return 1 if shape[1] < shape[2] else 2

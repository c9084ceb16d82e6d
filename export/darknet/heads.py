"""The three heads of Darknet as ONNX nodes: boxes as corners in canvas pixels, and scores of every class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedet.onnx_graph.builder import GraphBuilder

from ..families.head_layout import centred_corners
from .layer_records import Detection, Layer, Region, Yolo


@dataclass(frozen=True)
class Canvas:
    """Size of the network's input, and of the batch."""

    batch: int
    height: int
    width: int


class Decoded(NamedTuple):
    """``boxes`` [N, A, 4], ``scores`` [N, C, A], and A. Anchors by mask, then cells row by row; of v1 by cell."""

    boxes: str
    scores: str
    anchors: int


class HeadWriter:
    """Adds the decoding of one head to ``graph``."""

    def __init__(self, graph: GraphBuilder, layer: Layer, canvas: Canvas) -> None:
        self.graph = graph
        self.layer = layer
        self.canvas = canvas
        self.name = f"layer{layer.section.index}"
        _, self.rows, self.columns = layer.takes[0]
        # Pixels of a cell, [1, 1, 2, 1]: across and down.
        self.strides = np.array([canvas.width / self.columns, canvas.height / self.rows]).reshape(1, 1, 2, 1)

    def decode(self, tensor: str) -> Decoded:
        """Nodes that turn what the head reads into boxes and scores."""
        if isinstance(self.layer.kind, Yolo):
            return self._yolo(tensor, self.layer.kind)
        if isinstance(self.layer.kind, Region):
            return self._region(tensor, self.layer.kind)
        assert isinstance(self.layer.kind, Detection)
        return self._detection(tensor, self.layer.kind)

    def _op(self, op_type: str, *inputs: str, name: str, **attributes: object) -> str:
        return self.graph.op(op_type, *inputs, name=f"{self.name}/{name}", **attributes)

    def _scaled(self, tensor: str, factor: NDArray[np.float64] | float, name: str) -> str:
        return self._op("Mul", tensor, self.graph.constant(factor), name=name)

    def _parts(self, tensor: str, anchors: int, classes: int) -> tuple[str, ...]:
        """Places, sizes [N, B, 2, cells], objectness [N, B, 1, cells], classes [N, B, C, cells] of B anchors."""
        shape = self.graph.ints(self.canvas.batch, anchors, 5 + classes, self.rows * self.columns)
        split = self._op("Reshape", tensor, shape, name="by_anchor")
        parts = self.graph.ints(2, 2, 1, classes)
        return self.graph.ops("Split", split, parts, name=f"{self.name}/parts", outputs=4, axis=2)

    def _centres(self, place: str, factor: float) -> str:
        """Places in cells, 0 to 1, stretched by ``factor`` about their middle, to pixels."""
        cells = _cells(self.rows, self.columns) - (factor - 1) / 2
        place = self._scaled(place, factor * self.strides, "offset")
        return self._op("Add", place, self.graph.constant(cells * self.strides), name="centre")

    def _finish(self, parts: tuple[str, str, str], anchors: int, classes: int) -> Decoded:
        """Centres and sizes [N, B, 2, cells] in pixels, and scores [N, B, C, cells]."""
        centre, size, scores = parts
        count = anchors * self.rows * self.columns
        flat = []
        for part, name in ((centre, "centres"), (size, "sizes")):
            turned = self._op("Transpose", part, name=f"{name}_last", perm=[0, 1, 3, 2])
            flat.append(self._op("Reshape", turned, self.graph.ints(self.canvas.batch, count, 2), name=name))
        scores = self._op("Transpose", scores, name="by_class", perm=[0, 2, 1, 3])
        scores = self._op("Reshape", scores, self.graph.ints(self.canvas.batch, classes, count), name="scores")
        return Decoded(centred_corners(self.graph, *flat), scores, count)

    def _yolo(self, tensor: str, kind: Yolo) -> Decoded:
        anchors = len(kind.mask)
        place, size, sure, likely = self._parts(tensor, anchors, kind.classes)
        priors = np.array(kind.anchors).reshape(1, anchors, 2, 1)
        if kind.squared_sizes:
            # The convolution before has activation=logistic, so that all of it is from 0 to 1.
            size = self._scaled(self._op("Mul", size, size, name="square"), 4 * priors, "size")
        else:
            place = self._op("Sigmoid", place, name="place")
            sure = self._op("Sigmoid", sure, name="objectness")
            likely = self._op("Sigmoid", likely, name="likely")
            size = self._scaled(self._op("Exp", size, name="growth"), priors, "size")
        scores = self._op("Mul", likely, sure, name="product")
        return self._finish((self._centres(place, kind.scale_xy), size, scores), anchors, kind.classes)

    def _region(self, tensor: str, kind: Region) -> Decoded:
        anchors = len(kind.anchors)
        place, size, sure, likely = self._parts(tensor, anchors, kind.classes)
        priors = np.array(kind.anchors).reshape(1, anchors, 2, 1) * self.strides
        place = self._op("Sigmoid", place, name="place")
        size = self._scaled(self._op("Exp", size, name="growth"), priors, "size")
        sure = self._op("Sigmoid", sure, name="objectness")
        if kind.softmax:
            likely = self._op("Softmax", likely, name="likely", axis=2)
        else:
            likely = self._op("Sigmoid", likely, name="likely")
        scores = self._op("Mul", likely, sure, name="product")
        return self._finish((self._centres(place, 1.0), size, scores), anchors, kind.classes)

    def _detection(self, tensor: str, kind: Detection) -> Decoded:
        """Class probabilities of all cells, then confidences, then boxes, cell by cell."""
        graph, batch, cells = self.graph, self.canvas.batch, kind.side**2
        count = cells * kind.boxes
        parts = graph.ints(cells * kind.classes, count, 4 * count)
        flat = self._op("Reshape", tensor, graph.ints(batch, cells * kind.classes + 5 * count), name="flat")
        likely, sure, boxes = graph.ops("Split", flat, parts, name=f"{self.name}/parts", outputs=3, axis=1)
        likely = self._op("Reshape", likely, graph.ints(batch, cells, 1, kind.classes), name="likely")
        if kind.softmax:
            likely = self._op("Softmax", likely, name="softmax", axis=3)
        sure = self._op("Reshape", sure, graph.ints(batch, cells, kind.boxes, 1), name="confidence")
        scores = self._op("Mul", likely, sure, name="product")
        # Both are numbers of a layer without activation, which may come out above 1.
        scores = self._op("Clip", scores, graph.constant(0.0), graph.constant(1.0), name="share")
        scores = self._op("Reshape", scores, graph.ints(batch, count, kind.classes), name="rows")
        scores = self._op("Transpose", scores, name="scores", perm=[0, 2, 1])
        boxes = self._op("Reshape", boxes, graph.ints(batch, count, 4), name="boxes")
        place, size = graph.ops("Split", boxes, graph.ints(2, 2), name=f"{self.name}/place", outputs=2, axis=-1)
        canvas = np.array([self.canvas.width, self.canvas.height])
        stride = canvas / kind.side
        corners = np.repeat(_cells(kind.side, kind.side)[0, 0].T, kind.boxes, axis=0)[None] * stride
        place = self._op("Add", self._scaled(place, stride, "offset"), graph.constant(corners), name="centre")
        if kind.square:
            size = self._op("Mul", size, size, name="square")
        return Decoded(centred_corners(graph, place, self._scaled(size, canvas, "size")), scores, count)


def _cells(rows: int, columns: int) -> NDArray[np.float64]:
    """Columns and rows of cells, [1, 1, 2, cells]."""
    y, x = np.mgrid[:rows, :columns]
    return np.stack([x.ravel(), y.ravel()])[None, None].astype(np.float64)

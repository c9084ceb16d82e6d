"""A detector small enough to understand: it finds the one bright rectangle of a frame.

The label is the brightest channel inside it (0 blue, 1 green, 2 red), the score 0.875. Being a real graph, it shows
every mistake of resizing, colour order and mapping back that a trained network would show, and shows it in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import METADATA_KEY, InputSpec, ModelCard, OutputSpec, ResizeRule

NAMES = ("blue", "green", "red")
SCORE = 0.875
LETTERBOX = ResizeRule("letterbox", pad=(0.0, 0.0, 0.0), place="center", rounding="round")


def frame_with_rectangle(
    height: int, width: int, box: tuple[int, int, int, int], *, channel: int = 1
) -> NDArray[np.uint8]:
    """A black BGR frame with one rectangle (x1, y1, x2, y2) of a colour of its own."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[box[1] : box[3], box[0] : box[2]] = 180
    frame[box[1] : box[3], box[0] : box[2], channel] = 250
    return frame


def save_rectangle_graph(
    path: Path,
    *,
    height: int = 64,
    width: int = 64,
    batch: int = 1,
    dtype: Literal["uint8", "float32"] = "uint8",
    resize: ResizeRule = LETTERBOX,
    conf: float = 0.25,
) -> ModelCard:
    """Write a graph as edgedet exports it, NMS inside; returns its card."""
    card = ModelCard(
        family="ssd",
        architecture="rectangle",
        names=NAMES,
        input=InputSpec(height, width, batch, dtype=dtype),
        resize=resize,
        output=OutputSpec("detections", score_threshold=conf, iou_threshold=0.5, max_detections=1),
    )
    graph = _Graph()
    pixels = graph.op("Cast", "images", to=TensorProto.FLOAT)
    box, score, label = graph.rectangle(pixels, height, width, bright=100)
    found = graph.op("Greater", score, graph.constant(conf))
    graph.op("Unsqueeze", box, graph.constant([1], np.int64), out="boxes")
    graph.op("Unsqueeze", score, graph.constant([1], np.int64), out="scores")
    graph.op(
        "Cast", graph.op("Unsqueeze", label, graph.constant([1], np.int64)), out="labels", to=TensorProto.INT32
    )
    graph.op("Cast", found, out="count", to=TensorProto.INT32)
    kind = TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT
    graph.save(
        path,
        helper.make_tensor_value_info("images", kind, [batch, height, width, 3]),
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [batch, 1, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 1]),
            helper.make_tensor_value_info("labels", TensorProto.INT32, [batch, 1]),
            helper.make_tensor_value_info("count", TensorProto.INT32, [batch]),
        ],
        {METADATA_KEY: card.to_json()},
    )
    return card


def save_foreign_graph(path: Path, metadata: Mapping[str, str] | None = None, *, size: int = 64) -> None:
    """Write the same detector as Ultralytics writes its own: RGB planes of 0..1 in, [1, 4 + C, A] out."""
    graph = _Graph()
    bgr = graph.op("Transpose", "images", perm=[0, 2, 3, 1])
    bgr = graph.op("Gather", bgr, graph.constant([2, 1, 0], np.int64), axis=3)
    box, score, label = graph.rectangle(bgr, size, size, bright=0.5)
    low, high = graph.op("Slice", box, *_range(graph, 0, 2)), graph.op("Slice", box, *_range(graph, 2, 4))
    half = graph.constant(0.5)
    centre = graph.op("Mul", graph.op("Add", low, high), half)
    classes = graph.op("OneHot", label, graph.constant([3], np.int64), graph.constant([0, 1]), axis=1)
    scores = graph.op("Mul", classes, graph.op("Unsqueeze", score, graph.constant([1], np.int64)))
    column = graph.op("Concat", centre, graph.op("Sub", high, low), scores, axis=1)
    graph.op("Unsqueeze", column, graph.constant([2], np.int64), out="output0")
    graph.save(
        path,
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size]),
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 7, 1])],
        ultralytics_metadata(size) if metadata is None else dict(metadata),
    )


def save_split_graph(path: Path) -> None:
    """The same with its outputs apart: ``locations`` [1, 4, A] and ``confidences`` [1, C, A]."""
    save_foreign_graph(path, {})
    model = onnx.load(str(path))
    model.graph.initializer.append(numpy_helper.from_array(np.array([4, 3], np.int64), "parts"))
    model.graph.node.append(helper.make_node("Split", ["output0", "parts"], ["locations", "confidences"], axis=1))
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, rows, 1])
        for name, rows in (("locations", 4), ("confidences", 3))
    )
    onnx.save(model, str(path))


def ultralytics_metadata(size: int = 64, **changes: str) -> dict[str, str]:
    """The keys Ultralytics' exporter writes."""
    return {
        "description": "Ultralytics YOLO11n model",
        "version": "8.4.0",
        "license": "AGPL-3.0",
        "stride": "32",
        "task": "detect",
        "batch": "1",
        "imgsz": f"[{size}, {size}]",
        "names": "{0: 'blue', 1: 'green', 2: 'red'}",
        "args": "{'nms': None}",
        "end2end": "False",
    } | changes


def _range(graph: _Graph, start: int, end: int) -> tuple[str, str, str]:
    return tuple(graph.constant([value], np.int64) for value in (start, end, 1))  # type: ignore[return-value]


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def rectangle(self, bgr: str, height: int, width: int, *, bright: float) -> tuple[str, str, str]:
        """From float [N, H, W, 3]: box [N, 4], score [N], label int64 [N]."""
        mask = self.op("Greater", self.op("ReduceMax", bgr, axes=[3], keepdims=0), self.constant(bright))
        floats = self.op("Cast", mask, to=TensorProto.FLOAT)
        edges: dict[str, str] = {}
        for axis, size, name in ((1, width, "x"), (2, height, "y")):
            hit = self.op("Cast", self.op("ReduceMax", floats, axes=[axis], keepdims=0), to=TensorProto.BOOL)
            places = self.constant(np.arange(size))
            first = self.op("Where", hit, places, self.constant(size))
            last = self.op("Where", hit, self.op("Add", places, self.constant(1)), self.constant(0))
            edges[f"{name}1"] = self.op("ReduceMin", first, axes=[1], keepdims=1)
            edges[f"{name}2"] = self.op("ReduceMax", last, axes=[1], keepdims=1)
        box = self.op("Concat", edges["x1"], edges["y1"], edges["x2"], edges["y2"], axis=1)
        score = self.op("Mul", self.op("ReduceMax", floats, axes=[1, 2], keepdims=0), self.constant(SCORE))
        inside = self.op("Mul", bgr, self.op("Unsqueeze", floats, self.constant([3], np.int64)))
        sums = self.op("ReduceSum", inside, self.constant([1, 2], np.int64), keepdims=0)
        return box, score, self.op("ArgMax", sums, axis=1, keepdims=0)

    def save(self, path: Path, image: Any, outputs: list[Any], metadata: Mapping[str, str]) -> None:
        body = helper.make_graph(self.nodes, "rectangle", [image], outputs, initializer=self.constants)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))

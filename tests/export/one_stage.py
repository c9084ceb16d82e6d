"""Small one-stage detectors with random weights, as YOLOX's and Ultralytics' own exporters write them.

Everything their graphs hold is there: space to depth by slices, SiLU, spatial pyramid pooling, nearest upsampling,
concatenation, attention (YOLO11), boxes as distributions, decoding inside (Ultralytics) or left out (YOLOX).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.rectangle_detector import ultralytics_metadata

SIDE, CLASSES, BINS = 64, 3, 16


class _Network:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"{kind}_{len(self.nodes)}", **attributes))
        return names[0]

    def convolution(self, source: str, shape: tuple[int, int], *, side: int = 3, step: int = 1) -> str:
        weight = self.random.normal(0, 0.1, (*shape, side, side)).astype(np.float32)
        bias = self.constant(np.zeros(shape[0], np.float32))
        return self.op(
            "Conv", source, self.constant(weight), bias, strides=[step, step], pads=[side // 2] * 4,
            kernel_shape=[side, side],
        )  # fmt: skip

    def block(self, source: str, shape: tuple[int, int], **named: int) -> str:
        made = self.convolution(source, shape, **named)
        return self.op("Mul", made, self.op("Sigmoid", made))

    def part(self, source: str, start: int, end: int, axis: int, step: int = 1) -> str:
        return self.op("Slice", source, *(self.ints(value) for value in (start, end, axis, step)))


def save_one_stage(path: Path, family: Literal["yolo", "yolox"]) -> None:
    """Write the detector: float32 [1, 3, 64, 64] in, [1, 7, 84] (``yolo``) or [1, 84, 8] (``yolox``) out."""
    net = _Network(seed=0)
    if family == "yolox":
        corners = [
            net.part(net.part("images", row, SIDE, 2, 2), column, SIDE, 3, 2) for row in (0, 1) for column in (0, 1)
        ]
        stem = net.block(net.op("Concat", *corners, axis=1), (16, 12))
    else:
        stem = net.block("images", (16, 3), step=2)
    p2 = net.block(stem, (16, 16), step=2)
    p2 = net.op("Add", p2, net.block(net.block(p2, (16, 16)), (16, 16)))
    p3 = net.block(p2, (32, 16), step=2)
    p4 = net.block(p3, (32, 32), step=2)
    p5 = net.block(p4, (32, 32), step=2)
    pooled = [p5]
    for _ in range(3):
        pooled.append(net.op("MaxPool", pooled[-1], kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1]))
    p5 = net.block(net.op("Concat", *pooled, axis=1), (32, 128), side=1)
    if family == "yolo":
        p5 = net.op("Add", p5, _attention(net, p5))
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    up = net.op("Resize", p5, "", scales, mode="nearest", nearest_mode="floor",
                coordinate_transformation_mode="asymmetric")  # fmt: skip
    p4 = net.block(net.op("Concat", up, p4, axis=1), (32, 64))
    heads = [(_yolo_head if family == "yolo" else _yolox_head)(net, level) for level in (p3, p4, p5)]
    (_finish_yolo if family == "yolo" else _finish_yolox)(net, net.op("Concat", *heads, axis=2))
    places = sum((SIDE // stride) ** 2 for stride in (8, 16, 32))
    shape = [1, 4 + CLASSES, places] if family == "yolo" else [1, places, 5 + CLASSES]
    graph = helper.make_graph(
        net.nodes,
        family,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        net.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if family == "yolo":
        helper.set_model_props(model, ultralytics_metadata(SIDE))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _attention(net: _Network, source: str) -> str:
    """Every place looks at every other: products of two activations."""
    rows = [net.op("Reshape", net.convolution(source, (32, 32), side=1), net.ints(1, 32, 4)) for _ in range(3)]
    weights = net.op("MatMul", net.op("Transpose", rows[0], perm=[0, 2, 1]), rows[1])
    weights = net.op("Softmax", net.op("Mul", weights, net.constant(np.array(0.2, np.float32))), axis=-1)
    mixed = net.op("MatMul", rows[2], net.op("Transpose", weights, perm=[0, 2, 1]))
    return net.convolution(net.op("Reshape", mixed, net.ints(1, 32, 2, 2)), (32, 32), side=1)


def _yolo_head(net: _Network, level: str) -> str:
    sides = net.convolution(net.block(level, (32, 32)), (4 * BINS, 32), side=1)
    scores = net.convolution(net.block(level, (32, 32)), (CLASSES, 32), side=1)
    both = net.op("Concat", sides, scores, axis=1)
    return net.op("Reshape", both, net.ints(1, 4 * BINS + CLASSES, -1))


def _finish_yolo(net: _Network, raw: str) -> None:
    sides = net.op("Reshape", net.part(raw, 0, 4 * BINS, 1), net.ints(1, 4, BINS, -1))
    sides = net.op("Softmax", net.op("Transpose", sides, perm=[0, 2, 1, 3]), axis=1)
    expected = net.constant(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    sides = net.op("Reshape", net.op("Conv", sides, expected, kernel_shape=[1, 1]), net.ints(1, 4, -1))
    near, far = net.part(sides, 0, 2, 1), net.part(sides, 2, 4, 1)
    places = net.constant(np.full((1, 2, 84), 8, np.float32))
    low, high = net.op("Sub", places, near), net.op("Add", places, far)
    centre = net.op("Div", net.op("Add", low, high), net.constant(np.array(2, np.float32)))
    boxes = net.op("Concat", centre, net.op("Sub", high, low), axis=1)
    boxes = net.op("Mul", boxes, net.constant(np.full((1, 84), 8, np.float32)))
    scores = net.op("Sigmoid", net.part(raw, 4 * BINS, 4 * BINS + CLASSES, 1))
    net.nodes.append(helper.make_node("Concat", [boxes, scores], ["output0"], "out", axis=1))


def _yolox_head(net: _Network, level: str) -> str:
    shape = net.convolution(level, (4, 32), side=1)
    sure = net.op("Sigmoid", net.convolution(level, (1, 32), side=1))
    scores = net.op("Sigmoid", net.convolution(net.block(level, (32, 32)), (CLASSES, 32), side=1))
    return net.op("Reshape", net.op("Concat", shape, sure, scores, axis=1), net.ints(1, 5 + CLASSES, -1))


def _finish_yolox(net: _Network, raw: str) -> None:
    net.nodes.append(helper.make_node("Transpose", [raw], ["output0"], "out", perm=[0, 2, 1]))

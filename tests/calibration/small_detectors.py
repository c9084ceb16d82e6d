"""One-class detectors of eight activations, trained on rendered squares and discs, and their pictures.

Four convolutions that halve the picture or look around, a fifth, and a head (1x1): box and score on an 8 x 8 grid.
Batch normalisation is folded, so the graph holds convolutions, activations and decoding alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.calibration.executor import GraphRunner
from edgedet.calibration.judge import Reader
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.evaluate.coco import coco_metrics

SIDE, CELL = 64, 8
CELLS = SIDE // CELL
LAYERS = ((3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 48, 2), (48, 48, 1))
"""Input and output channels and stride of the 3x3 convolutions."""
ACTIVATIONS = ("ReLU", "LeakyReLU", "ReLU6", "HardSwish", "SiLU", "GELU", "ELU", "Mish")
WEIGHTS = Path(__file__).with_name("small_detectors.npz")
"""Trained weights, float16, ``ReLU/layer0.w`` and so on: python tests/calibration/train_small_detectors.py"""


@dataclass(frozen=True)
class Scenes:
    """``pictures`` uint8 [n, SIDE, SIDE, 3]; ``boxes`` of each: float64 [k, 4] corners."""

    pictures: np.ndarray
    boxes: list[np.ndarray]

    @property
    def frames(self) -> list[np.ndarray]:
        """Prepared inputs uint8 [1, SIDE, SIDE, 3]."""
        return list(self.pictures[:, None])


def scenes(count: int, *, seed: int, objects: int = 2) -> Scenes:
    """Walls lit from one side, with grain; on them up to ``objects`` bright squares and discs each (0: empty)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    pictures, boxes = [], []
    for _ in range(count):
        slope = rng.uniform(-0.4, 0.4, 2)
        light = rng.uniform(50, 110) + slope[0] * (x - SIDE / 2) + slope[1] * (y - SIDE / 2)
        picture = light[..., None] * rng.uniform(0.9, 1.1, 3) + rng.normal(0, 6, (SIDE, SIDE, 3))
        found: list[list[float]] = []
        for _ in range(rng.integers(1, objects + 1) if objects else 0):
            size = rng.uniform(9, 24)
            cx, cy = rng.uniform(size / 2, SIDE - size / 2, 2)
            if any(abs(cx - (b[0] + b[2]) / 2) + abs(cy - (b[1] + b[3]) / 2) < 24 for b in found):
                continue
            square = rng.random() < 0.5
            inside = np.maximum(abs(x - cx), abs(y - cy)) if square else np.hypot(x - cx, y - cy)
            picture[inside < size / 2] = rng.uniform(110, 250, 3) + rng.normal(0, 6, 3)
            found.append([cx - size / 2, cy - size / 2, cx + size / 2, cy + size / 2])
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
        boxes.append(np.array(found, np.float64).reshape(-1, 4))
    return Scenes(np.stack(pictures), boxes)


def card() -> ModelCard:
    """The model card of every one of them."""
    return ModelCard(
        family="yolox",
        architecture="small",
        names=("thing",),
        input=InputSpec(SIDE, SIDE),
        resize=ResizeRule("stretch"),
        output=OutputSpec("candidates", score_threshold=0.01, iou_threshold=0.5, max_detections=50),
    )


@cache
def trained(activation: str) -> onnx.ModelProto:
    """The detector with ``activation`` (of ACTIVATIONS), from its trained weights."""
    with np.load(WEIGHTS) as kept:
        layers = (*(f"layer{number}" for number in range(len(LAYERS))), "head")
        names = [f"{layer}.{part}" for layer in layers for part in "wb"]
        weights = {name: kept[f"{activation}/{name}"].astype(np.float32) for name in names}
    return _graph(weights, activation)


def _graph(weights: dict[str, np.ndarray], activation: str) -> onnx.ModelProto:
    """The network of ``weights`` (``layer0.w``, …, ``head.b``) with its pixels' scaling and its decoding."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(kind: str, *inputs: str, name: str, **settings: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name, **settings))
        return f"{name}_out"

    def activate(x: str, name: str) -> str:
        number = {value: constant(f"{name}_{value}", np.array(value, np.float32)) for value in (0.0, 0.5, 1.0, 6.0)}
        if activation == "LeakyReLU":
            return op("LeakyRelu", x, name=name, alpha=0.01)
        if activation == "ReLU6":
            return op("Clip", x, number[0.0], number[6.0], name=name)
        if activation == "SiLU":
            return op("Mul", x, op("Sigmoid", x, name=f"{name}_gate"), name=name)
        if activation == "Mish":
            gate = op("Tanh", op("Softplus", x, name=f"{name}_plus"), name=f"{name}_gate")
            return op("Mul", x, gate, name=name)
        if activation == "GELU":
            root = constant(f"{name}_root", np.array(2**0.5, np.float32))
            erf = op("Erf", op("Div", x, root, name=f"{name}_div"), name=f"{name}_erf")
            half = op("Mul", x, number[0.5], name=f"{name}_half")
            return op("Mul", half, op("Add", erf, number[1.0], name=f"{name}_one"), name=name)
        return op({"ReLU": "Relu", "ELU": "Elu", "HardSwish": "HardSwish"}[activation], x, name=name)

    pixels = op("Cast", "images", name="float", to=TensorProto.FLOAT)
    pixels = op("Mul", pixels, constant("one_255th", np.array(1 / 255, np.float32)), name="normalise")
    x = op("Transpose", pixels, name="planar", perm=[0, 3, 1, 2])
    for number, (_, _, stride) in enumerate(LAYERS):
        name = f"layer{number}"
        x = op(
            "Conv",
            *(x, *(constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in "wb")),
            name=name,
            strides=[stride, stride],
            pads=[1, 1, 1, 1],
        )
        x = activate(x, f"{name}_act")
    head = [constant(f"head.{part}", weights[f"head.{part}"]) for part in "wb"]
    x = op("Transpose", op("Conv", x, *head, name="head"), name="rows", perm=[0, 2, 3, 1])
    x = op("Reshape", x, constant("row_shape", np.array([1, CELLS**2, 5], np.int64)), name="flat")
    parts = constant("parts", np.array([4, 1], np.int64))
    nodes.append(helper.make_node("Split", [x, parts], ["deltas", "logits"], "parts_", axis=-1))
    nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"], "scores_"))
    steps = op("Mul", "deltas", constant("cell", np.array(CELL, np.float32)), name="steps")
    centres = (np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), -1).reshape(-1, 2) + 0.5) * CELL
    anchors = constant("anchors", np.tile(centres, 2)[None].astype(np.float32))
    nodes.append(helper.make_node("Add", [steps, anchors], ["boxes"], "boxes_"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, CELLS**2, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CELLS**2, 1]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def mean_average_precision(model: onnx.ModelProto, known: Scenes) -> float:
    """COCO mAP of a float or Q/DQ graph on labelled scenes."""
    records = []
    for number, boxes in enumerate(known.boxes):
        no = np.zeros(len(boxes), np.bool_)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        path = Path(f"{number}.png")
        records.append(ImageRecord(path, SIDE, SIDE, boxes, np.zeros(len(boxes), np.int32), no, no, areas))
    dataset = Dataset(("thing",), tuple(records), "coco", "scenes")
    run = GraphRunner(model, fusion="separate")
    found = Reader(card(), [value.name for value in model.graph.output])(run, known.frames)
    return float(coco_metrics(found, dataset).map)

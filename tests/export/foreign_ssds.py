"""A small SSD of fixed weights, as pytorch-ssd and TensorFlow's tools write theirs, and pytorch-ssd's predictor.

The predictor is written anew from pytorch-ssd's published one (``vision/ssd/predictor.py``), in NumPy.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgedet.detections import Detections
from edgedet.export.families.default_boxes import SETS

SIDE, CLASSES = 300, 3
NAMES = ("cat", "dog", "hen")
PRIORS = torch.from_numpy(SETS["ssd_mobilenet"].boxes())


@dataclass(frozen=True)
class Ssd:
    """``form``: of the boxes; ``offsets`` leaves decoding and softmax out. ``background``: where its score stands,
    larger by ``surplus``. ``unit``: of the boxes. ``sigmoid``: scores without a background, as TensorFlow's."""

    form: Literal["xyxy", "yxyx", "cxcywh", "offsets"] = "xyxy"
    background: Literal["first", "last"] = "first"
    surplus: float = 6.0
    unit: Literal["unit", "input"] = "unit"
    sigmoid: bool = False


class Network(nn.Module):
    """float32 [1, 3, 300, 300] to scores [1, 3000, .] and boxes [1, 3000, 4]."""

    def __init__(self, ssd: Ssd) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.ssd = ssd
        self.stem = nn.Conv2d(3, 16, 16, stride=16, padding=2)
        self.scores = nn.ModuleList(nn.Conv2d(16, 6 * (CLASSES + 1), 1) for _ in range(6))
        self.boxes = nn.ModuleList(nn.Conv2d(16, 6 * 4, 1) for _ in range(6))
        for layer in self.scores:
            nn.init.normal_(layer.weight, 0, 1.2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.tanh(self.stem(images))
        scores, boxes = [], []
        for level, (to_scores, to_boxes) in enumerate(zip(self.scores, self.boxes, strict=True)):
            if level:
                maps = nn.functional.max_pool2d(maps, 2, ceil_mode=True) if level < 5 else maps.amax((2, 3), True)
            scores.append(to_scores(maps).permute(0, 2, 3, 1).reshape(1, -1, CLASSES + 1))
            boxes.append(to_boxes(maps).permute(0, 2, 3, 1).reshape(1, -1, 4))
        return self.finish(torch.cat(scores, 1), torch.cat(boxes, 1))

    def finish(self, scores: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        ssd = self.ssd
        nothing, classes = scores[..., :1] + ssd.surplus, scores[..., 1:]
        scores = torch.cat([nothing, classes] if ssd.background == "first" else [classes, nothing], -1)
        if ssd.form == "offsets":
            return scores, offsets
        centre = PRIORS[:, :2] + 0.1 * offsets[..., :2] * PRIORS[:, 2:]
        size = PRIORS[:, 2:] * (0.2 * offsets[..., 2:]).exp()
        boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
        if ssd.form == "yxyx":
            boxes = boxes[..., [1, 0, 3, 2]]
        if ssd.form == "cxcywh":
            boxes = torch.cat([centre, size], -1)
        boxes = boxes * SIDE if ssd.unit == "input" else boxes
        return (classes - 2).sigmoid() if ssd.sigmoid else scores.softmax(-1), boxes


def save_ssd(path: Path, ssd: Ssd = Ssd(), names: tuple[str, str] = ("scores", "boxes")) -> Path:
    """Write it as pytorch-ssd's ``onnx_export.py`` does; ``names``: of the outputs."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Network(ssd).eval(),
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(path),
            input_names=["input_0"],
            output_names=list(names),
            opset_version=13,
            dynamo=False,
        )
    return path


def save_tensorflow(path: Path, ssd: Ssd = Ssd("yxyx", sigmoid=True)) -> Path:
    """The same with pixels as bytes, rows first, scaling and NMS inside, as tf2onnx writes a TFLite detector."""
    model = onnx.load(str(save_ssd(path, ssd, ("raw_scores", "raw_boxes"))))
    graph = model.graph
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE, SIDE, 3]))
    before = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "middle"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["input_0"], perm=[0, 3, 1, 2]),
    ]
    for node in reversed(before):
        graph.node.insert(0, node)
    graph.node.extend(
        [
            helper.make_node("Transpose", ["raw_scores"], ["by_class"], perm=[0, 2, 1]),
            helper.make_node(
                "NonMaxSuppression", ["raw_boxes", "by_class", "most", "iou", "conf"], ["chosen"], "nms"
            ),
            helper.make_node("Split", ["chosen"], ["picture", "label", "index"], axis=1),
            helper.make_node("Squeeze", ["index", "one"], ["flat_index"]),
            helper.make_node("Gather", ["raw_boxes", "flat_index"], ["detection_boxes"], axis=1),
            helper.make_node("Cast", ["label"], ["detection_classes"], to=TensorProto.FLOAT),
            helper.make_node("GatherND", ["by_class", "chosen"], ["detection_scores"]),
        ]
    )
    constants = {
        "middle": np.float32(127.5),
        "most": np.int64([100]),
        "iou": np.float32([0.45]),
        "conf": np.float32([0.05]),
        "one": np.int64([1]),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.output.extend(
        helper.make_empty_tensor_value_info(name)
        for name in ("detection_boxes", "detection_classes", "detection_scores")
    )
    onnx.save(model, str(path))
    return path


def predict(
    frame: np.ndarray, *, threshold: float, ssd: Ssd = Ssd(), iou: float = 0.45, best: int = 200
) -> Detections:
    """What pytorch-ssd's predictor finds in a BGR frame, its boxes cut at the frame's edges."""
    image = cv2.resize(frame, (SIDE, SIDE))[:, :, ::-1].astype(np.float32)
    middle, scale = (127.5, 127.5) if ssd.sigmoid else (127.0, 128.0)
    with torch.no_grad():
        planes = torch.from_numpy(((image - middle) / scale).transpose(2, 0, 1)[None].copy())
        scores, boxes = (value[0].numpy() for value in Network(Ssd(sigmoid=ssd.sigmoid)).eval()(planes))
    first = 0 if ssd.sigmoid else 1
    found = []
    for label in range(CLASSES):
        column = scores[:, first + label]
        order = [index for index in np.argsort(-column, kind="stable") if column[index] > threshold][:best]
        kept: list[int] = []
        for index in order:
            if (_ious(boxes[index], boxes[kept]) <= iou).all():
                kept.append(int(index))
        found += [(boxes[index], column[index], label) for index in kept]
    found.sort(key=lambda each: -each[1])
    height, width = frame.shape[:2]
    limits = np.array([width, height] * 2, np.float32)
    return Detections(
        np.array([np.clip(box, 0, 1) * limits for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([label for _, _, label in found], np.int32),
        names=NAMES,
        frame_size=(height, width),
    )


def _ious(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(first[:2], others[:, :2]), np.minimum(first[2:], others[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    areas = (first[2:] - first[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    found: np.ndarray = shared / (areas - shared + 1e-5)
    return found

"""One-stage heads of every layout on one small network, as PyTorch's own exporter writes them.

Where nothing else is asked for, an anchor's box lies around its cell and follows the picture, and scores differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from torch import Tensor, nn

SIDE, CLASSES = 96, 3
STRIDES = (8, 16, 32)
METADATA = {"stride": "32", "names": "{0: 'cat', 1: 'dog', 2: 'hen'}"}
ULTRALYTICS = METADATA | {
    "description": "Ultralytics YOLO11n model",
    "version": "8.4.190",
    "task": "detect",
    "batch": "1",
    "imgsz": f"[{SIDE}, {SIDE}]",
    "license": "AGPL-3.0",
}


@dataclass(frozen=True)
class Head:
    """``order``: [N, 4 + C, A] (``columns``) or [N, A, 4 + C]. ``chosen``: of ``rows``, the best so many as
    [N, chosen, 6]; of these, those with no score above ``sure`` are zeros, and classes count from ``first_label``.
    ``raw``: offsets within cells and log sizes, as YOLOX's. ``left_out``: so many anchors, which makes their number
    no YOLO head's. ``softmax``: where the background's score stands, larger by ``background`` before the softmax.
    ``clamped``: distances to the sides pass a ReLU, so that many corner boxes have no extent."""

    order: Literal["columns", "rows"] = "columns"
    objectness: bool = False
    form: Literal["centre", "corners", "top_left"] = "centre"
    unit: Literal["pixels", "shares"] = "pixels"
    logits: bool = False
    raw: bool = False
    chosen: int = 0
    chunks: int = 0
    per_place: int = 1
    sure: float = 0.0
    first_label: int = 0
    left_out: int = 0
    softmax: Literal["first", "last"] | None = None
    background: float = 4.0
    clamped: bool = False


class Network(nn.Module):
    """float32 [1, 3, 96, 96] to one output."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.head = head
        self.stem = nn.Conv2d(3, 16, 8, stride=8)
        self.mixing = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(head.chunks))
        self.outs = nn.ModuleList(nn.Conv2d(16, head.per_place * (5 + CLASSES), 1) for _ in STRIDES)
        for out in self.outs:
            nn.init.normal_(out.weight, 0, 1.5)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.tanh(self.stem(images if self.gain == 1 else images * self.gain))
        for mixing in self.mixing:
            first, second = maps.chunk(2, 1)
            maps = torch.cat([torch.tanh(mixing(first)), second + first], 1)
        boxes, scores = [], []
        for stride, out in zip(STRIDES, self.outs, strict=True):
            level = out(nn.functional.max_pool2d(maps, stride // 8) if stride > 8 else maps)
            rows, columns = SIDE // stride, SIDE // stride
            level = level.view(1, self.head.per_place, 5 + CLASSES, rows, columns)
            level = level.permute(0, 1, 3, 4, 2).reshape(1, -1, 5 + CLASSES)
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            cells = torch.stack([x, y], -1).reshape(1, -1, 2).float().repeat(1, self.head.per_place, 1)
            boxes.append(self.boxes(level[..., :4], cells, stride))
            scores.append(level[..., 4:])
        return self.finish(torch.cat(boxes, 1), torch.cat(scores, 1))

    gain = 1.0

    def boxes(self, raw: Tensor, cells: Tensor, stride: int) -> Tensor:
        offset, size = torch.tanh(raw[..., :2]), torch.tanh(raw[..., 2:]) + 0.5
        if self.head.raw:
            return torch.cat([offset, size], -1)
        centre, size = (cells + offset) * stride, size.exp() * stride
        if self.head.clamped:
            size = torch.relu(size - 10)
        low, high = centre - size / 2, centre + size / 2
        boxes = {
            "centre": torch.cat([centre, size], -1),
            "corners": torch.cat([low, high], -1),
            "top_left": torch.cat([low, size], -1),
        }[self.head.form]
        return boxes / SIDE if self.head.unit == "shares" else boxes

    def finish(self, boxes: Tensor, scores: Tensor) -> Tensor:
        head = self.head
        if head.left_out:
            boxes, scores = boxes[:, : -head.left_out], scores[:, : -head.left_out]
        if head.softmax is not None:
            nothing, classes = scores[..., :1] + head.background, scores[..., 1:]
            parts = [nothing, classes] if head.softmax == "first" else [classes, nothing]
            return torch.cat([boxes, torch.cat(parts, -1).softmax(-1)], -1)
        if not head.logits:
            scores = scores.sigmoid()
        if not head.objectness:
            scores = scores[..., 1:]
        if head.chosen:
            best, labels = scores.max(-1)
            top, index = best.topk(head.chosen, 1)
            boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
            numbers = labels.gather(1, index)[..., None].float()
            if head.first_label:
                numbers = numbers + head.first_label
            rows = torch.cat([boxes, top[..., None], numbers], -1)
            return rows * (top > head.sure).float()[..., None] if head.sure else rows
        together = torch.cat([boxes, scores], -1)
        return together.transpose(1, 2) if head.order == "columns" else together


def save_head(
    path: Path, head: Head, metadata: Mapping[str, str] | None = None, *, opset: int = 17, pixels: float = 1.0
) -> Path:
    """Write the network of ``head``. ``pixels``: what the picture is divided by inside, 255 for YOLOX's."""
    network = Network(head).eval()
    network.gain = 1 / pixels
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            opset_version=opset,
            dynamo=False,
        )
    model = onnx.load(str(path))
    if pixels != 1.0:
        # A multiplication before the first convolution is none of a real network's.
        _scale_into_weights(model)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(path))
    return path


def _scale_into_weights(model: onnx.ModelProto) -> None:
    (conv,) = [node for node in model.graph.node if node.op_type == "Conv" and "stem" in node.name]
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    (product,) = [node for node in model.graph.node if node.output[0] == conv.input[0]]
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == conv.input[1])
    scaled = constants[weight.name] * constants[product.input[1]]
    weight.CopyFrom(onnx.numpy_helper.from_array(scaled.astype(np.float32), weight.name))
    conv.input[0] = product.input[0]
    model.graph.node.remove(product)

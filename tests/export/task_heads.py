"""Segment and pose heads as Ultralytics writes them, on one small network, beside what they mean in PyTorch.

Boxes and keypoints lie around their cells, scores differ, and outlines have shapes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torchvision.ops import nms

from edgedet.detections import Detections
from tests.export.foreign_heads import CLASSES, SIDE, STRIDES, ULTRALYTICS

MASKS, CHOSEN = 6, 80
METADATA = ULTRALYTICS | {"task": "segment", "head": "Segment", "description": "Ultralytics YOLO11n-seg model"}


class TaskHead(nn.Module):
    """[N, 4 + C + M, A], or, ``chosen``, the best as [N, K, 6 + M]; beside prototypes [N, M, 24, 24]. ``rows``: as
    YOLOv5's, [N, A, 5 + C + M]. ``points``: J and D of keypoints, which are M numbers then; no prototypes."""

    def __init__(self, *, chosen: bool = False, rows: bool = False, points: tuple[int, int] | None = None) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.chosen, self.rows, self.points = chosen, rows, points
        self.further = MASKS if points is None else points[0] * points[1]
        self.stem = nn.Conv2d(3, 16, 8, stride=4, padding=2)
        self.prototypes = nn.Conv2d(16, MASKS, 5, padding=2)
        self.outs = nn.ModuleList(nn.Conv2d(16, 4 + CLASSES + self.further, 1) for _ in STRIDES)
        for out in self.outs:
            nn.init.normal_(out.weight, 0, 1.5)
        nn.init.normal_(self.prototypes.weight, 0, 0.3)
        y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
        self.waves = torch.stack([torch.sin(0.25 * (x + (k - 2) * y) + k) for k in range(MASKS)])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = torch.tanh(2 * self.stem(images))
        count, boxes, numbers = images.shape[0], [], []
        for stride, out in zip(STRIDES, self.outs, strict=True):
            level = out(nn.functional.avg_pool2d(maps, stride // 4)).flatten(2)
            side = SIDE // stride
            y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
            cells = torch.stack([x, y]).reshape(1, 2, -1).float() + 0.5
            centre = (cells + torch.tanh(level[:, :2])) * stride
            sides = (torch.tanh(level[:, 2:4]) + 1.0).exp() * stride
            boxes.append(torch.cat([centre, sides], 1))
            numbers.append(
                torch.cat([level[:, 4 : 4 + CLASSES], self.meant(level[:, 4 + CLASSES :], cells, stride)], 1)
            )
        box, number = torch.cat(boxes, 2), torch.cat(numbers, 2)
        scores, coefficients = (2 * number[:, :CLASSES] - 3).sigmoid(), number[:, CLASSES:]
        beside = () if self.points else (torch.tanh(self.prototypes(maps)) + self.waves,)
        if not self.chosen:
            columns = torch.cat([box, scores, coefficients], 1)
            if self.rows:
                columns = torch.cat([box, scores[:, :1], scores, coefficients], 1).transpose(1, 2)
            return columns, *beside
        low, high = box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2
        best, labels = scores.max(1)
        top, index = best.topk(CHOSEN, 1)
        rows = torch.cat([low, high, labels[:, None].float(), coefficients], 1).transpose(1, 2)
        rows = rows.gather(1, index[..., None].expand(count, CHOSEN, 5 + self.further))
        return torch.cat([rows[..., :4], top[..., None], rows[..., 4:]], 2), *beside

    def meant(self, raw: Tensor, cells: Tensor, stride: int) -> Tensor:
        """Coefficients [N, M, A], or keypoints: x, y in pixels, and a score, of each in turn."""
        if self.points is None:
            return torch.tanh(raw)
        parts = raw.unflatten(1, self.points)
        places = (cells[:, None] + 3 * torch.tanh(parts[:, :, :2])) * stride
        return torch.cat([places, parts[:, :, 2:].sigmoid()], 2).flatten(1, 2)


@dataclass(frozen=True)
class Found:
    """What a head gives in a picture that is the canvas, by plain PyTorch: ``pixels`` bool [N, 96, 96], or the
    ``points`` [N, J, D]."""

    detections: Detections
    pixels: np.ndarray
    points: np.ndarray


def save_task_head(
    path: Path, network: TaskHead, *, metadata: Mapping[str, str] | None = METADATA, batch: int = 1
) -> Path:
    """Write ``network`` as Ultralytics does: ``output0`` and ``output1``."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.rand(batch, 3, SIDE, SIDE),),
            str(path),
            input_names=["images"],
            output_names=["output0"] if network.points else ["output0", "output1"],
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load(str(path))
    head = {"head": "Segment26", "end2end": "True"} if network.chosen else {}
    if network.points:
        head |= {"task": "pose", "head": "Pose", "kpt_shape": str(list(network.points))}
    if metadata is not None:
        onnx.helper.set_model_props(model, {**metadata, **head, "batch": str(batch)})
    onnx.save(model, str(path))
    return path


def found_by(network: TaskHead, frame: np.ndarray, *, conf: float, iou: float = 0.7) -> Found:
    """By whole arrays: every prototype on all of the canvas, cut to the box; what is left without a pixel goes."""
    image: Any = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1].transpose(2, 0, 1)))[None].float() / 255
    with torch.no_grad():
        raw, *beside = network.eval()(image)
    if network.chosen:
        boxes, scores, labels, coefficients = raw[0].split([4, 1, 1, network.further], 1)
        scores, labels = scores[:, 0], labels[:, 0].long()
    else:
        box, by_class, coefficients = raw[0].T.split([4, CLASSES, network.further], 1)
        boxes = torch.cat([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], 1)
        scores, labels = by_class.max(1)
    kept = torch.nonzero(scores > conf)[:, 0]
    if not network.chosen:
        kept = kept[nms(boxes[kept] + 7680 * labels[kept, None], scores[kept], iou)]
    points = coefficients[kept].numpy()
    if network.points:
        boxes = boxes.clip(0, SIDE)
        names = tuple(f"class {number}" for number in range(CLASSES))
        found = Detections(boxes[kept].numpy(), scores[kept].numpy(), labels[kept].numpy(), names, (SIDE, SIDE))
        return Found(found, np.zeros((0, SIDE, SIDE), np.bool_), points.reshape(-1, *network.points))
    sums = torch.einsum("nm,mhw->nhw", coefficients[kept], beside[0][0])
    pixels = torch.nn.functional.interpolate(sums[None], (SIDE, SIDE), mode="bilinear")[0].numpy() > 0
    corners = boxes[kept].numpy()
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    low, high = corners[:, :2, None, None], corners[:, 2:, None, None]
    pixels &= (x >= low[:, 0]) & (x < high[:, 0]) & (y >= low[:, 1]) & (y < high[:, 1])
    there = pixels.any(axis=(1, 2))
    names = tuple(f"class {number}" for number in range(CLASSES))
    found = Detections(
        corners.clip(0, SIDE)[there], scores[kept].numpy()[there], labels[kept].numpy()[there], names, (SIDE, SIDE)
    )
    return Found(found, pixels[there], points[there])

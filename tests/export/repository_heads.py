"""Heads as detectors' own repositories export them, on one small network; what MMDeploy writes is written anew.

Boxes lie around their cells and scores differ, so that ranking and suppression have something to choose from.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgedet import Detections
from edgedet.artifacts.card import ASSUMED_KEY, ModelCard
from edgedet.errors import ArtifactError, EdgedetError
from edgedet.export.embedded_card import embed
from edgedet.export.options import ExportOptions
from edgedet.export.sources import build_graph
from edgedet.proof.parity import Tolerance, match_detections

SIDE, CLASSES = 96, 3
DENSE_STRIDES = (8, 16, 32)


class Cells(nn.Module):
    """Images [N, 3, 96, 96] to ``columns`` numbers for every cell of every stride [N, A, columns], and
    their places (shares of the canvas). ``patches``: the picture is cut into patches, as vision transformers do.
    ``window``: side of a depthwise convolution before the last one, 0 for none."""

    def __init__(
        self, columns: int, strides: Sequence[int] = (8,), *, patches: bool = False, window: int = 0
    ) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.strides = strides
        self.stem = nn.Conv2d(3, 16, 8, stride=8) if patches else nn.Conv2d(3, 16, 9, stride=8, padding=4)
        self.windows = nn.ModuleList(
            nn.Conv2d(16, 16, window, padding=window // 2, groups=16) if window else nn.Identity() for _ in strides
        )
        self.outs = nn.ModuleList(nn.Conv2d(16, columns, 1) for _ in strides)
        for out in self.outs:
            nn.init.normal_(out.weight, 0, 1.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.tanh(self.stem(images))
        numbers, places = [], []
        for stride, window, out in zip(self.strides, self.windows, self.outs, strict=True):
            level = nn.functional.max_pool2d(maps, stride // 8, ceil_mode=True) if stride > 8 else maps
            level = out(window(level))
            count = level.shape[-1]
            rows = level.flatten(2).transpose(1, 2)
            # No class is everywhere the likeliest.
            numbers.append(2 * (rows - rows.mean(1, keepdim=True)))
            y, x = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
            places.append((torch.stack([x, y], -1).reshape(1, -1, 2).float() + 0.5) / count)
        return torch.cat(numbers, 1), torch.cat(places, 1)


class Queries(nn.Module):
    """RF-DETR: boxes [N, Q, 4], centres and sizes as shares of the canvas, and logits [N, Q, columns]."""

    def __init__(self, columns: int = CLASSES, *, patches: bool = False) -> None:
        super().__init__()
        self.cells = Cells(4 + columns, patches=patches)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        numbers, places = self.cells(images)
        centre = places + 0.05 * torch.tanh(numbers[..., :2])
        return torch.cat([centre, 0.05 + numbers[..., 2:4].sigmoid() * 0.3], -1), numbers[..., 4:] - 1


class Ranked(nn.Module):
    """RT-DETR, D-FINE, DEIM: their RTDETRPostProcessor behind such a network. ``sized``: False ignores the second
    input."""

    def __init__(
        self, classes: int = CLASSES, *, most: int = 40, patches: bool = False, sized: bool = True
    ) -> None:
        super().__init__()
        self.queries, self.classes, self.most, self.sized = Queries(classes, patches=patches), classes, most, sized

    def forward(self, images: Tensor, orig_target_sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shares, logits = self.queries(images)
        centre, half = shares[..., :2], shares[..., 2:] / 2
        corners = torch.cat([centre - half, centre + half], -1)
        sizes = orig_target_sizes if self.sized else orig_target_sizes * 0 + SIDE
        boxes = corners * sizes.repeat(1, 2).unsqueeze(1)
        scores, index = torch.topk(logits.sigmoid().flatten(1), self.most, dim=-1)
        labels = index - index // self.classes * self.classes
        index = index // self.classes
        return labels, boxes.gather(1, index.unsqueeze(-1).repeat(1, 1, 4)), scores


class NanoDet(nn.Module):
    """NanoDet's ``_forward_onnx``: probabilities, then logits of four distributions over ``bins`` cells."""

    def __init__(
        self, classes: int = CLASSES, *, bins: int = 8, strides: Sequence[int] = DENSE_STRIDES, window: int = 0
    ) -> None:
        super().__init__()
        self.classes = classes
        self.cells = Cells(classes + 4 * bins, strides, window=window)

    def forward(self, images: Tensor) -> Tensor:
        numbers, _ = self.cells(images)
        return torch.cat([numbers[..., : self.classes].sigmoid(), 2 * numbers[..., self.classes :]], -1)


class FastestDet(nn.Module):
    """FastestDet's head: objectness, four numbers of the box, a softmax over classes; [N, 5 + C, H, W]."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.cells = Cells(5 + classes, (16,))

    def forward(self, images: Tensor) -> Tensor:
        numbers, _ = self.cells(images)
        parts = [numbers[..., :1].sigmoid(), 2 * numbers[..., 1:5], numbers[..., 5:].softmax(-1)]
        return torch.cat(parts, -1).transpose(1, 2).unflatten(2, (SIDE // 16, SIDE // 16))


class _Nms(torch.autograd.Function):
    """ONNX's operator, as MMDeploy's ONNXNMSop writes it."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, *limits: float) -> Tensor:
        return torch.zeros(30, 3, dtype=torch.long)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, *limits: float) -> Any:
        constants = [g.op("Constant", value_t=torch.tensor([limit])) for limit in limits]
        return g.op("NonMaxSuppression", boxes, scores, *constants)


class MMDeploy(nn.Module):
    """An RTMDet as MMDeploy exports it, with ``_multiclass_nms_single`` behind or without. ``each``, ``most``: how
    many detections of a class, and of all."""

    def __init__(self, classes: int = CLASSES, *, nms: bool = True, each: int = 200, most: int = 30) -> None:
        super().__init__()
        self.nms, self.each, self.most = nms, each, most
        self.cells = Cells(4 + classes, DENSE_STRIDES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        numbers, places = self.cells(images)
        middle, sides = places * SIDE, numbers[..., :4].exp() * 8
        boxes = torch.cat([middle - sides[..., :2], middle + sides[..., 2:]], -1)
        scores = numbers[..., 4:].sigmoid()
        if not self.nms:
            return boxes, scores
        _, best = scores.max(-1)[0].squeeze(0).topk(150)
        boxes, scores = boxes[:, best, :], scores[:, best, :].permute(0, 2, 1)
        chosen = _Nms.apply(boxes, scores, self.each, 0.65, 0.05)
        classes, index = chosen[:, 1], chosen[:, 2]
        rows = torch.cat([boxes[:, index, :], scores[:, classes, index].unsqueeze(2)], 2)
        rows = torch.cat((rows, rows.new_zeros((1, 1, 5))), 1)
        labels = torch.cat((classes.unsqueeze(0), classes.new_zeros((1, 1))), 1)
        # MMDeploy's topk__dynamic: as many as there are, if they are fewer.
        most = torch.tensor(self.most)
        size = most.new_zeros(()) + rows.shape[1]
        _, ranked = rows[:, :, -1].topk(torch.where(most < size, most, size), dim=1)
        return rows[:, ranked.squeeze(0), :], labels[:, ranked.squeeze(0)]


RANKED = ("labels", "boxes", "scores")
NAMES: dict[type[nn.Module], tuple[str, ...]] = {
    Ranked: RANKED,
    Queries: ("dets", "labels"),
    NanoDet: ("output",),
    FastestDet: ("map",),
    MMDeploy: ("dets", "labels"),
}


def save_repository_head(path: Path, network: nn.Module, outputs: Sequence[str] | None = None) -> Path:
    """Write ``network`` as its repository's export script does; ``outputs``: other names than there."""
    example: tuple[Tensor, ...] = (torch.rand(1, 3, SIDE, SIDE),)
    names, dynamic = ["input"], None
    if isinstance(network, Ranked):
        example, names = (*example, torch.tensor([[SIDE, SIDE]])), ["images", "orig_target_sizes"]
        dynamic = {name: {0: "N"} for name in names}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            example,
            str(path),
            input_names=names,
            output_names=list(outputs or NAMES[type(network)]),
            dynamic_axes=dynamic,
            opset_version=16 if isinstance(network, Ranked) else 13,
            dynamo=False,
        )
    return path


def save_built(source: Path, **options: Any) -> tuple[Path, ModelCard]:
    """The graph of ours that ``source`` becomes, with its card, beside it, as it is before it is measured."""
    built = build_graph(source, ExportOptions(**options), frame_size=None)
    assumed = {ASSUMED_KEY: [entry.text() for entry in built.assumed]}
    card = replace(built.card, provenance=built.card.provenance | assumed)
    path = source.with_name(f"{source.stem}-ours.onnx")
    onnx.save(embed(built.model, card), str(path))
    return path, card


def require_same(expected: Detections, found: Detections, *, least: float = 0.3) -> None:
    """Hold ``found`` against what a repository's post-processing gives, above the score ``least``."""
    # What lies beside the frame has no extent there, and is no detection of ours.
    expected = expected[(expected.boxes[:, 2:] > expected.boxes[:, :2]).all(axis=1)]
    report = match_detections(expected, found, Tolerance(min_score=least))
    assert report.reference_count > 10
    assert len(np.unique(expected.labels)) == min(len(expected.names), CLASSES) or len(expected.names) > CLASSES
    assert (report.missing.tolist(), report.extra.tolist()) == ([], [])


def refuse(source: Path, message: str, kind: type[EdgedetError] = ArtifactError, **options: Any) -> None:
    """Hold that the file is refused, in one line."""
    with pytest.raises(kind, match=message) as caught:
        build_graph(source, ExportOptions(**options), frame_size=None)
    assert "\n" not in str(caught.value) and "report this" not in str(caught.value)


def poisoned(path: Path) -> Path:
    """The file with one weight of its first convolution not a number."""
    model = onnx.load(str(path))
    tensor = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[0, 0, 0, 0] = float("nan")
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(model, str(path))
    return path

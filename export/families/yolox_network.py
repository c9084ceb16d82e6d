"""YOLOX (arXiv:2107.08430) built anew in torch from the tensors of its authors' checkpoints, without their package.

The names of the tensors tell the tree (CSPDarknet with a path aggregation network and three decoupled heads), their
shapes every channel, their number every repetition; a tensor that is left over is refused. What no tensor tells is
the activation (SiLU in all published ones) and the size of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedet.errors import CheckpointError

from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .torch_graph import to_onnx

STEM = "backbone.backbone.stem.conv.conv.weight"
HEAD = "head.cls_preds.0.weight"
DARKNET53 = "backbone.backbone.stem.0.conv.weight"
EPSILON = 1e-3
"""Epsilon of BatchNorm in all of YOLOX's experiments."""
SMALL_STEM = 24
"""Channels of the stem of YOLOX-Tiny; it and Nano (16) are trained at 416, the larger ones at 640."""
SPP_SIZES = (5, 9, 13)
PREFIX = "module."


def tensors_of(content: Any) -> Mapping[str, Tensor] | None:
    """The tensors of a checkpoint's ``content`` by name, None where it is none of YOLOX's."""
    if not isinstance(content, Mapping):
        return None
    found = content.get("model", content)
    if not isinstance(found, Mapping):
        return None
    tensors = {str(name).removeprefix(PREFIX): value for name, value in found.items() if isinstance(value, Tensor)}
    return tensors if HEAD in tensors and (STEM in tensors or DARKNET53 in tensors) else None


class _Tensors:
    """Tensors that are used up as the network is built."""

    def __init__(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        self.left = dict(tensors)
        self.path = path

    def take(self, name: str) -> Tensor:
        if name not in self.left:
            raise CheckpointError(f"{self.path} looks like YOLOX, but has no tensor {name}; it is another network")
        return self.left.pop(name).float()

    def has(self, prefix: str) -> bool:
        return any(name.startswith(f"{prefix}.") for name in self.left)


class _Layer(nn.Module):
    """Convolution, BatchNorm and SiLU; depthwise and pointwise where the tensors are two."""

    def __init__(self, tensors: _Tensors, prefix: str, stride: int = 1) -> None:
        super().__init__()
        if tensors.has(f"{prefix}.dconv"):
            parts = [_unit(tensors, f"{prefix}.dconv", stride), _unit(tensors, f"{prefix}.pconv", 1)]
        else:
            parts = [_unit(tensors, prefix, stride)]
        self.parts = nn.Sequential(*parts)

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.parts(maps)
        return found


def _unit(tensors: _Tensors, prefix: str, stride: int) -> nn.Sequential:
    weight = tensors.take(f"{prefix}.conv.weight")
    out, each, side, _ = weight.shape
    groups = out if prefix.endswith("dconv") else 1
    conv = nn.Conv2d(each * groups, out, side, stride, (side - 1) // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(out, eps=EPSILON)
    with torch.no_grad():
        conv.weight.copy_(weight)
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name).copy_(tensors.take(f"{prefix}.bn.{name}"))
    tensors.left.pop(f"{prefix}.bn.num_batches_tracked", None)
    return nn.Sequential(conv, norm, nn.SiLU())


class _Focus(nn.Module):
    """Space to depth: the pixels of every square of two by two as channels, columns first."""

    def __init__(self, tensors: _Tensors, prefix: str) -> None:
        super().__init__()
        self.conv = _Layer(tensors, f"{prefix}.conv")

    def forward(self, image: Tensor) -> Tensor:
        even, odd = image[..., ::2], image[..., 1::2]
        squares = [even[..., ::2, :], even[..., 1::2, :], odd[..., ::2, :], odd[..., 1::2, :]]
        found: Tensor = self.conv(torch.cat(squares, 1))
        return found


class _Bottleneck(nn.Module):
    def __init__(self, tensors: _Tensors, prefix: str, shortcut: bool) -> None:
        super().__init__()
        self.first, self.second = _Layer(tensors, f"{prefix}.conv1"), _Layer(tensors, f"{prefix}.conv2")
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(maps))
        return found + maps if self.shortcut else found


class _Csp(nn.Module):
    """Cross stage partial layer: one half through bottlenecks, the other past them."""

    def __init__(self, tensors: _Tensors, prefix: str, shortcut: bool) -> None:
        super().__init__()
        self.through, self.past, self.last = (_Layer(tensors, f"{prefix}.conv{index}") for index in (1, 2, 3))
        self.blocks = nn.Sequential()
        while tensors.has(f"{prefix}.m.{len(self.blocks)}"):
            self.blocks.append(_Bottleneck(tensors, f"{prefix}.m.{len(self.blocks)}", shortcut))

    def forward(self, maps: Tensor) -> Tensor:
        found: Tensor = self.last(torch.cat([self.blocks(self.through(maps)), self.past(maps)], 1))
        return found


class _Spp(nn.Module):
    """Spatial pyramid pooling."""

    def __init__(self, tensors: _Tensors, prefix: str) -> None:
        super().__init__()
        self.first, self.last = _Layer(tensors, f"{prefix}.conv1"), _Layer(tensors, f"{prefix}.conv2")
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in SPP_SIZES)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.first(maps)
        found: Tensor = self.last(torch.cat([maps, *(pool(maps) for pool in self.pools)], 1))
        return found


class Network(nn.Module):
    """float32 [N, 3, H, W] of BGR pixels 0..255 to [N, A, 5 + C]: offsets, log sizes, objectness, class scores."""

    def __init__(self, tensors: _Tensors) -> None:
        super().__init__()
        dark = "backbone.backbone"
        self.stem = _Focus(tensors, f"{dark}.stem")
        self.dark2, self.dark3, self.dark4 = (
            nn.Sequential(_Layer(tensors, f"{dark}.{name}.0", 2), _Csp(tensors, f"{dark}.{name}.1", True))
            for name in ("dark2", "dark3", "dark4")
        )
        self.dark5 = nn.Sequential(
            _Layer(tensors, f"{dark}.dark5.0", 2),
            _Spp(tensors, f"{dark}.dark5.1"),
            _Csp(tensors, f"{dark}.dark5.2", False),
        )
        self.lateral, self.reduce = (
            _Layer(tensors, "backbone.lateral_conv0"),
            _Layer(tensors, "backbone.reduce_conv1"),
        )
        self.down2, self.down1 = _Layer(tensors, "backbone.bu_conv2", 2), _Layer(tensors, "backbone.bu_conv1", 2)
        self.p4, self.p3, self.n3, self.n4 = (
            _Csp(tensors, f"backbone.C3_{name}", False) for name in ("p4", "p3", "n3", "n4")
        )
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.heads = nn.ModuleList(_Head(tensors, level) for level in range(3))
        self.classes = self.heads[0].classes.out_channels  # type: ignore[union-attr]

    def forward(self, image: Tensor) -> Tensor:
        fine = self.dark3(self.dark2(self.stem(image)))
        middle = self.dark4(fine)
        coarse = self.lateral(self.dark5(middle))
        joined = self.p4(torch.cat([self.larger(coarse), middle], 1))
        reduced = self.reduce(joined)
        first = self.p3(torch.cat([self.larger(reduced), fine], 1))
        second = self.n3(torch.cat([self.down2(first), reduced], 1))
        third = self.n4(torch.cat([self.down1(second), coarse], 1))
        levels = [head(maps) for head, maps in zip(self.heads, (first, second, third), strict=True)]
        return torch.cat([level.flatten(2) for level in levels], 2).permute(0, 2, 1)


class _Head(nn.Module):
    def __init__(self, tensors: _Tensors, level: int) -> None:
        super().__init__()
        self.stem = _Layer(tensors, f"head.stems.{level}")
        self.of_classes, self.of_boxes = (
            nn.Sequential(*(_Layer(tensors, f"head.{name}.{level}.{index}") for index in (0, 1)))
            for name in ("cls_convs", "reg_convs")
        )
        self.classes, self.boxes, self.objectness = (
            _prediction(tensors, f"head.{name}.{level}") for name in ("cls_preds", "reg_preds", "obj_preds")
        )

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.stem(maps)
        boxes = self.of_boxes(maps)
        sure, likely = self.objectness(boxes).sigmoid(), self.classes(self.of_classes(maps)).sigmoid()
        return torch.cat([self.boxes(boxes), sure, likely], 1)


def _prediction(tensors: _Tensors, prefix: str) -> nn.Conv2d:
    weight, bias = tensors.take(f"{prefix}.weight"), tensors.take(f"{prefix}.bias")
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)  # type: ignore[union-attr]
    return layer


def to_foreign(
    tensors: Mapping[str, Tensor], path: Path, *, imgsz: tuple[int, int] | None, batch: int
) -> tuple[ForeignGraph, tuple[Assumption, ...]]:
    """The graph that YOLOX's own exporter would write of the checkpoint at ``path``, and what no tensor says.

    ``imgsz``: None for what networks of this width are trained at.

    Raises:
        CheckpointError: tensors missing or left over, Darknet53, or a size that is no multiple of 32.
    """
    if STEM not in tensors:
        raise CheckpointError(
            f"{path} is YOLOX with the backbone Darknet53, which edgedet does not build; export it with YOLOX's "
            "tools/export_onnx.py and give edgedet that file (--family yolox)"
        )
    left = _Tensors(tensors, path)
    try:
        network = Network(left).eval()
    except RuntimeError as error:  # torch's, where shapes do not fit each other
        raise CheckpointError(
            f"{path}: its tensors do not fit each other ({str(error).splitlines()[0]})"
        ) from error
    if left.left:
        raise CheckpointError(
            f"{path} has {len(left.left)} tensors that YOLOX has not, such as {min(left.left)}: another network"
        )
    assumed = [Assumption("activation", "SiLU, as in all published YOLOX", "nothing, for YOLOX")]
    usual = 416 if tensors[STEM].shape[0] <= SMALL_STEM else 640
    if imgsz is None:
        said = f"{usual}x{usual}, as networks of this width are trained at"
        assumed.append(Assumption("input size", said, "--imgsz HEIGHTxWIDTH"))
    height, width = imgsz or (usual, usual)
    if height % 32 or width % 32:
        raise CheckpointError(f"the sides of YOLOX's input are multiples of 32, not {height}x{width}; say --imgsz")
    try:
        model = to_onnx(network, torch.zeros(batch, 3, height, width), inputs=["images"], outputs=["output"])
    except Exception as error:
        raise CheckpointError(f"{path}: its tensors do not fit each other ({error})") from error
    anchors = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    outputs: dict[str, tuple[int, ...]] = {"output": (batch, anchors, 5 + int(network.classes))}  # type: ignore[arg-type]
    return ForeignGraph(path, model, batch, height, width, outputs, {}, model), tuple(assumed)

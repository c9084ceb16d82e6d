"""Fully convolutional networks that grow back by transposed convolutions (arXiv:1411.4038), and their start.

Two ways of writing them are common, and their tensors tell which: VGG16 with its skips as pytorch-fcn names it
(``upscore2``, ``upscore8``), and the lectures' one, a ResNet with its end replaced by ``final_conv`` and
``transpose_conv`` (Dive into Deep Learning, 14.11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

Stride = Literal[8, 16, 32]

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Number of them in each block of VGG16."""
VGG16 = (64, 128, 256, 512, 512, 4096)
"""Channels of each block, and of what were the fully connected layers."""
PADDING = 100
"""Pixels around the picture, so that the last layers, which have no padding, cover it whatever its size."""
CROPS: dict[str, int] = {"pool4": 5, "pool3": 9}
"""Cells by which the skips' maps are cut: by as much as the padding has grown them."""
LAST_CROPS: dict[Stride, int] = {8: 31, 16: 27, 32: 19}
"""First row and column of the picture in what the last layer gives."""


def bilinear_kernel(channels: int, size: int) -> Tensor:
    """Weights [channels, channels, size, size] under which a transposed convolution of stride ``size // 2``
    interpolates each channel by itself; what such layers begin their training with.

    >>> bilinear_kernel(1, 4)[0, 0, 0].tolist()
    [0.0625, 0.1875, 0.1875, 0.0625]
    """
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - (torch.arange(size, dtype=torch.float32) - centre).abs() / factor
    weight = torch.zeros(channels, channels, size, size)
    weight[range(channels), range(channels)] = line[:, None] * line[None]
    return weight


def start_bilinear(module: nn.Module) -> nn.Module:
    """Give every transposed convolution of ``module`` its bilinear weights, in place."""
    for part in module.modules():
        if isinstance(part, nn.ConvTranspose2d):
            part.weight.data.copy_(bilinear_kernel(part.in_channels, part.kernel_size[0]))
            if part.bias is not None:
                part.bias.data.zero_()
    return module


class VggFcn(nn.Module):
    """FCN-8s, FCN-16s or FCN-32s: images [N, 3, H, W] to scores [N, C, H, W]. ``widths``: as :data:`VGG16`."""

    def __init__(self, classes: int, stride: Stride, widths: Sequence[int] = VGG16) -> None:
        super().__init__()
        self.stride = stride
        channels = 3
        for block, (wide, count) in enumerate(zip(widths[:5], CONVOLUTIONS, strict=True), 1):
            for layer in range(1, count + 1):
                padding = PADDING if (block, layer) == (1, 1) else 1
                setattr(self, f"conv{block}_{layer}", nn.Conv2d(channels, wide, 3, padding=padding))
                channels = wide
        self.fc6 = nn.Conv2d(channels, widths[5], 7)
        self.fc7 = nn.Conv2d(widths[5], widths[5], 1)
        self.score_fr = nn.Conv2d(widths[5], classes, 1)
        if stride == 32:
            self.upscore = _transposed(classes, 64, 32)
            return
        self.upscore2 = _transposed(classes, 4, 2)
        self.score_pool4 = nn.Conv2d(widths[3], classes, 1)
        if stride == 16:
            self.upscore16 = _transposed(classes, 32, 16)
            return
        self.upscore_pool4 = _transposed(classes, 4, 2)
        self.score_pool3 = nn.Conv2d(widths[2], classes, 1)
        self.upscore8 = _transposed(classes, 16, 8)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of every pixel."""
        height, width = images.shape[-2:]
        value, pools = images, {}
        for block, count in enumerate(CONVOLUTIONS, 1):
            for layer in range(1, count + 1):
                value = torch.relu(getattr(self, f"conv{block}_{layer}")(value))
            value = nn.functional.max_pool2d(value, 2, stride=2, ceil_mode=True)
            pools[f"pool{block}"] = value
        value = torch.relu(self.fc6(value))
        value = self.score_fr(torch.relu(self.fc7(value)))
        if self.stride < 32:
            value = self.upscore2(value)
            value = value + _cut(self.score_pool4(pools["pool4"]), CROPS["pool4"], value)
        if self.stride < 16:
            value = self.upscore_pool4(value)
            value = value + _cut(self.score_pool3(pools["pool3"]), CROPS["pool3"], value)
        last: Any = {32: "upscore", 16: "upscore16", 8: "upscore8"}[self.stride]
        value = getattr(self, last)(value)
        begin = LAST_CROPS[self.stride]
        return value[:, :, begin : begin + height, begin : begin + width].contiguous()


def vgg_widths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Channels of a :class:`VggFcn`, read off its tensors; those of VGG16 where a tensor is missing."""
    names = (*(f"conv{block}_1.weight" for block in range(1, 6)), "fc6.weight")
    return tuple(
        int(state[name].shape[0]) if name in state else usual for name, usual in zip(names, VGG16, strict=True)
    )


def resnet_fcn(classes: int, build: Callable[..., nn.Module] = torchvision.models.resnet18) -> nn.Sequential:
    """A ResNet without its end, a 1x1 convolution, and one transposed convolution of stride 32: images [N, 3, H, W]
    to scores [N, C, H, W], for sides that 32 divides."""
    network = nn.Sequential(*list(build(weights=None).children())[:-2])
    channels = 512 if build in (torchvision.models.resnet18, torchvision.models.resnet34) else 2048
    network.add_module("final_conv", nn.Conv2d(channels, classes, 1))
    network.add_module("transpose_conv", nn.ConvTranspose2d(classes, classes, 64, stride=32, padding=16))
    return network


def _transposed(classes: int, size: int, stride: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(classes, classes, size, stride=stride, bias=False)


def _cut(skip: Tensor, begin: int, like: Tensor) -> Tensor:
    """The part of a skip's map that lies where ``like`` does."""
    height, width = like.shape[-2:]
    return skip[:, :, begin : begin + height, begin : begin + width]

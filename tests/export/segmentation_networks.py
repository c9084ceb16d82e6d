"""Networks for semantic segmentation with weights of a seed whose classes vary over a picture.

Random weights give one class everywhere, or noise. Here norms see two examples first, and the layers that decide
are given weights under which the scores of every class lie around 0 there, with a standard deviation of about 2.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgedet.export.segmentation.architectures import ARCHITECTURES
from edgedet.export.segmentation.fully_convolutional import VggFcn, start_bilinear
from edgedet.proof.golden_scene import golden_frame
from tests.export.shown_example import centred_weights, show

SPREAD = 2.0
NARROW: dict[str, Any] = {f"fcn{stride}s_vgg16": (stride, (8, 8, 16, 16, 16, 32)) for stride in (8, 16, 32)}
"""VGG16 itself has 134 million weights."""
DECIDING = ("classifier.4", "classifier.low_classifier", "classifier.high_classifier", "final_conv", "score_fr",
            "score_pool4", "score_pool3")  # fmt: skip
"""Layers whose outputs are scores."""


@cache
def segmentation_network(arch: str, classes: int = 6, *, width: int = 320) -> Any:
    """``arch`` in evaluation mode, transposed convolutions bilinear; balanced on pictures ``width`` wide."""
    torch.manual_seed(7)
    model: Any = VggFcn(classes, *NARROW[arch]) if arch in NARROW else ARCHITECTURES[arch].build(classes, {})
    return balanced(model, width=width)


def balanced(model: Any, *, width: int = 320) -> Any:
    """``model`` in evaluation mode, with scores that vary."""
    start_bilinear(model)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d) and isinstance(model, VggFcn) and name not in DECIDING:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    images = torch.stack([as_image(golden_frame(seed, width * 3 // 4, width)) for seed in (4, 5)])
    hooks = [layer.register_forward_pre_hook(_balance) for name, layer in model.named_modules() if name in DECIDING]
    return show(model, images, hooks)


def as_image(frame: np.ndarray) -> Tensor:
    """A BGR frame as torchvision's preset gives it to a network."""
    image = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1])).permute(2, 0, 1).float() / 255
    return (image - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]


def _balance(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    (features,) = inputs
    layer.weight.data.copy_(centred_weights(features, len(layer.weight), SPREAD)[:, :, None, None])
    if layer.bias is not None:
        layer.bias.data.zero_()

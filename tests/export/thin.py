"""Torchvision's detectors with a quarter of the channels: the same network node by node, in a tenth of the time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SHARE = 4
"""Of so many channels one is left; every width of torchvision's divides by it."""
FINAL = (
    "rpn.head.cls_logits",
    "rpn.head.bbox_pred",
    "roi_heads.box_predictor.cls_score",
    "roi_heads.box_predictor.bbox_pred",
    "roi_heads.mask_predictor.mask_fcn_logits",
    "roi_heads.keypoint_predictor.kps_score_lowres",
    "head.classification_head.module_list",
    "head.regression_head.module_list",
)
"""Layers that keep their outputs, which are classes, boxes, cells and keypoints."""


def thin(model: Any) -> Any:
    """Leave one channel of ``SHARE`` between the picture and what ``model`` says. Changed in place, and returned.

    Weights are those of the channels that stay, larger by the root of ``SHARE``, so that features do not fade.
    """
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            # Of SSDLite's heads the second layer decides; the one before it looks at each channel alone.
            _thin_convolution(part, final=name.startswith(FINAL) and part.groups == 1)
        elif isinstance(part, nn.Linear):
            rows = part.out_features if name.startswith(FINAL) else part.out_features // SHARE
            part.weight = _kept(part.weight[:rows, : part.in_features // SHARE] * SHARE**0.5)
            part.bias = None if part.bias is None else _kept(part.bias[:rows])
            part.out_features, part.in_features = part.weight.shape
        elif hasattr(part, "running_mean"):
            _thin_norm(part)
    backbone = model.backbone
    if isinstance(getattr(backbone, "scale_weight", None), nn.Parameter):
        backbone.scale_weight = _kept(backbone.scale_weight[: len(backbone.scale_weight) // SHARE])
    if hasattr(backbone, "out_channels") and isinstance(backbone.out_channels, int):
        backbone.out_channels //= SHARE
    return model


def _thin_convolution(part: Any, *, final: bool) -> None:
    by_channel = part.groups > 1
    outputs = part.out_channels if final else part.out_channels // SHARE
    inputs = part.in_channels if part.in_channels == 3 else part.in_channels // SHARE
    weight = part.weight
    if by_channel:
        weight = weight[:outputs]
        part.groups //= SHARE
    else:
        weight = weight[:inputs, :outputs] if part.transposed else weight[:outputs, :inputs]
        weight = weight * (part.in_channels / inputs) ** 0.5
    part.weight = _kept(weight)
    part.bias = None if part.bias is None else _kept(part.bias[:outputs])
    part.in_channels, part.out_channels = inputs, outputs


def _thin_norm(part: Any) -> None:
    """Batch normalisation, frozen or not."""
    count = len(part.running_mean) // SHARE
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = getattr(part, name)
        setattr(part, name, _kept(value[:count]) if isinstance(value, nn.Parameter) else value[:count].clone())
    if hasattr(part, "num_features"):
        part.num_features = count


def _kept(value: Tensor) -> nn.Parameter:
    with torch.no_grad():
        return nn.Parameter(value.clone())

"""Untrained networks see an example first, so that their outputs differ from place to place and class to class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def show(model: Any, images: Any, hooks: Sequence[Any]) -> Any:
    """``model`` in evaluation mode after it has seen ``images``: its norms have their statistics, and layers with
    ``hooks``, which are taken away, what those gave them."""
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.train().momentum = 1.0
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return model.eval()


def centred_weights(features: Tensor, outputs: int, deviation: float) -> Tensor:
    """Weights [outputs, C] under which products with ``features`` [N, C, H, W] lie around 0, and vary so much."""
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    mean = rows.mean(dim=0)
    weight = torch.randn((outputs, features.shape[1]), generator=torch.Generator().manual_seed(11))
    weight = weight - (weight @ mean)[:, None] * mean / mean.square().sum()
    return weight * (deviation / (rows @ weight.T).std(dim=0).clamp(min=1e-6)[:, None])

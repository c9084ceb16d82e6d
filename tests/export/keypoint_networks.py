"""Keypoint R-CNNs with weights of a seed whose boxes have an order, and whose heatmaps have a peak each.

As :mod:`tests.export.mask_networks`: class logits get a standard deviation of about 2. Untrained, heatmaps are
noise from cell to cell. Here the last layer gets logits around 0 and interpolates between its places, so that
heatmaps are smooth, and their hills are where the features have some.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.export.mask_networks import seeded
from tests.export.shown_example import centred_weights

LOGITS = 4.0
"""Standard deviation of the logits on the example."""


@cache
def keypoint_network(arch: str, classes: int, **how: Any) -> Any:
    """``arch`` in evaluation mode; ``how``: keywords of :func:`tests.export.mask_networks.seeded`."""
    with seeded(arch, classes, **how) as (model, hooks):
        predictor = model.roi_heads.keypoint_predictor
        hooks.append(predictor.kps_score_lowres.register_forward_pre_hook(_balance))
    return model


def _balance(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Weights under which every keypoint's logits lie around 0 on the example, alike over 4 x 4 places."""
    (features,) = inputs
    weight = centred_weights(features, layer.weight.shape[1], LOGITS)
    # Bilinear enlarging, as a transposed convolution of 4 x 4: what follows the features is smooth between them.
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    layer.weight.data.copy_(weight.T[:, :, None, None] * torch.outer(taps, taps))
    layer.bias.data.zero_()

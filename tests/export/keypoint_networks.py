"""Keypoint R-CNNs with weights of a seed whose boxes have an order, and whose heatmaps have a peak each.

As :mod:`tests.export.mask_networks`: class logits get a standard deviation of about 2. Untrained, heatmaps are
noise from cell to cell. Here the last layer gets logits around 0 and interpolates between its places, so that
heatmaps are smooth, and their hills are where the features have some.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from edgedet.export.families.architectures import build
from edgedet.proof.golden_scene import golden_frame
from tests.export.mask_networks import _spread, as_image
from tests.export.narrow import narrow
from tests.export.shown_example import centred_weights, show
from tests.export.thin import thin

SPREAD = 2.0
LOGITS = 4.0
"""Standard deviation of the logits on the example."""


@cache
def keypoint_network(
    arch: str, classes: int, *, wide: bool = False, full: bool = False, spread: float = SPREAD, **overrides: Any
) -> Any:
    """``arch`` in evaluation mode, ``classes`` with the background; thin, its heads narrow, or else ``wide``.

    ``full``: as many channels as torchvision's before its heads.

    ``spread``: of class logits on the example, as :func:`tests.export.mask_networks.mask_network` has it.
    """
    # On every machine the same network: sums of several threads are rounded otherwise, and what is balanced on an
    # example then hangs on that.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model: Any = build(arch, classes, **overrides).eval()
    model = model if wide else narrow(model if full else thin(model))
    heads = model.roi_heads
    hooks = [
        layer.register_forward_pre_hook(partial(_spread, spread=spread))
        for layer in (heads.box_predictor.cls_score, model.rpn.head.cls_logits)
    ]
    hooks.append(heads.keypoint_predictor.kps_score_lowres.register_forward_pre_hook(_balance))
    model = show(model, [as_image(golden_frame(seed, 240, 320)) for seed in (4, 5)], hooks)
    torch.set_num_threads(threads)
    return model


def _balance(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Weights under which every keypoint's logits lie around 0 on the example, alike over 4 x 4 places."""
    (features,) = inputs
    weight = centred_weights(features, layer.weight.shape[1], LOGITS)
    # Bilinear enlarging, as a transposed convolution of 4 x 4: what follows the features is smooth between them.
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    layer.weight.data.copy_(weight.T[:, :, None, None] * torch.outer(taps, taps))
    layer.bias.data.zero_()

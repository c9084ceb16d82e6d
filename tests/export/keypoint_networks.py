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

SPREAD = 2.0
LOGITS = 4.0
"""Standard deviation of the logits on the example."""


@cache
def keypoint_network(
    arch: str, classes: int, *, wide: bool = False, spread: float = SPREAD, **overrides: Any
) -> Any:
    """``arch`` in evaluation mode, ``classes`` with the background; its heads are narrow, or ``wide``.

    ``spread``: of class logits on the example, as :func:`tests.export.mask_networks.mask_network` has it.
    """
    # On every machine the same network: sums of several threads are rounded otherwise, and what is balanced on an
    # example then hangs on that.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model: Any = build(arch, classes, **overrides).eval()
    model = model if wide else narrow(model)
    heads = model.roi_heads
    hooks = [
        layer.register_forward_pre_hook(partial(_spread, spread=spread))
        for layer in (heads.box_predictor.cls_score, model.rpn.head.cls_logits)
    ]
    hooks.append(heads.keypoint_predictor.kps_score_lowres.register_forward_pre_hook(_balance))
    norms = [part for part in model.backbone.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        model([as_image(golden_frame(4, 240, 320)), as_image(golden_frame(5, 240, 320))])
    for hook in hooks:
        hook.remove()
    torch.set_num_threads(threads)
    return model.eval()


def _balance(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Weights under which every keypoint's logits lie around 0 on the example, alike over 4 x 4 places."""
    (features,) = inputs
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    mean = rows.mean(dim=0)
    generator = torch.Generator().manual_seed(11)
    weight = torch.randn((layer.weight.shape[1], layer.weight.shape[0]), generator=generator)
    weight = weight - (weight @ mean)[:, None] * mean / mean.square().sum()
    weight *= LOGITS / (rows @ weight.T).std(dim=0).clamp(min=1e-6)[:, None]
    # Bilinear enlarging, as a transposed convolution of 4 x 4: what follows the features is smooth between them.
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    layer.weight.data.copy_(weight.T[:, :, None, None] * torch.outer(taps, taps))
    layer.bias.data.zero_()

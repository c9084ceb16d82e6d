"""Mask R-CNNs with weights of a seed whose boxes have an order, and whose masks have shapes.

Random weights give logits of one sign all over a mask, or noise from cell to cell. Here the layers that decide see
an example first: class logits get a standard deviation of about 2, mask logits the same around 0, and the four
cells that an upsampled one becomes are alike, so that outlines follow what the features do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.models.resnet import Bottleneck

from edgedet.export.families.torchvision_architectures import build
from edgedet.pictures.image_file import read_image
from edgedet.proof.golden_scene import golden_frame
from tests.export.narrow import narrow
from tests.export.shown_example import centred_weights, show
from tests.export.thin import thin

SPREAD = 2.0
BOX_SPREAD = 0.5
"""Of what the boxes' head says, in tenths of a side and fifths of a size: more, on a photograph that stretches it,
and boxes are a hundredth of a pixel high, in which no rounding is small."""
RESIDUAL = 0.2
"""Scale of the last norm of every residual block of a ResNet. At its constructor's 1 sixteen blocks make of a
float32's rounding 3e-4 to 6e-3 of a pixel, in torchvision's boxes against its own in double precision as in ours,
and the CPU decides which proposals are the last; with 0.2 it is 3e-5 to 2e-4. Goyal et al. (arXiv:1706.02677) begin
to train at 0."""


@cache
def mask_network(arch: str, classes: int, **how: Any) -> Any:
    """``arch`` in evaluation mode; ``how``: keywords of :func:`seeded`."""
    with seeded(arch, classes, **how) as (model, hooks):
        predictor = model.roi_heads.mask_predictor
        with torch.no_grad():
            upsample = predictor.conv5_mask.weight
            upsample.copy_(upsample[:, :, :1, :1].expand_as(upsample))
        hooks.append(predictor.mask_fcn_logits.register_forward_pre_hook(_balance))
    return model


@contextmanager
def seeded(
    arch: str,
    classes: int,
    *,
    wide: bool = False,
    full: bool = False,
    spread: float = SPREAD,
    examples: tuple[Path, ...] = (),
    **overrides: Any,
) -> Iterator[tuple[Any, list[Any]]]:
    """A two-stage detector of so many ``classes`` with the background, thin, its box head narrow, or else ``wide``;
    and hooks of the layers that are to see an example, which they have when the context ends.

    ``full``: as many channels as torchvision's before its heads.

    ``spread``: of class logits on the example. Photographs stretch it: above some 0.5 many score 1.0 there, and
    which of those are the last that a frame may have is anybody's choice.

    ``examples``: pictures of the kind that the network is to see; two rendered scenes when empty. On photographs,
    one that has seen such scenes makes 5e-4 of the 6e-5 by which torchvision's resizing is rounded, and boxes of a
    hundredth of a pixel.
    """
    # On every machine the same network: sums of several threads are rounded otherwise, and what is balanced on an
    # example then hangs on that.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model: Any = build(arch, classes, **overrides).eval()
    model = model if wide else narrow(model if full else thin(model))
    for part in model.modules():
        if isinstance(part, Bottleneck):
            part.bn3.weight.data.fill_(RESIDUAL)
    box_predictor = model.roi_heads.box_predictor
    hooks = [
        layer.register_forward_pre_hook(partial(_spread, spread=deviation))
        for layer, deviation in (
            (box_predictor.cls_score, spread),
            (model.rpn.head.cls_logits, spread),
            (box_predictor.bbox_pred, BOX_SPREAD),
        )
    ]
    yield model, hooks
    frames = [read_image(path) for path in examples] or [golden_frame(seed, 240, 320) for seed in (4, 5)]
    show(model, [as_image(frame) for frame in frames], hooks)
    torch.set_num_threads(threads)


def as_image(frame: np.ndarray) -> Tensor:
    """A BGR frame as torchvision takes it."""
    return torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1])).permute(2, 0, 1).float() / 255


def _spread(layer: Any, inputs: tuple[Tensor, ...], *, spread: float) -> None:
    (features,) = inputs
    fan_in = layer.weight[0].numel()
    generator = torch.Generator().manual_seed(fan_in)
    rms = float(features.square().mean().sqrt())
    layer.weight.data.normal_(0, spread / (fan_in**0.5 * max(rms, 1e-6)), generator=generator)


def _balance(layer: Any, inputs: tuple[Tensor, ...]) -> None:
    """Weights under which every class's logits lie around 0 on the example."""
    (features,) = inputs
    layer.weight.data.copy_(centred_weights(features, len(layer.weight), SPREAD)[:, :, None, None])
    layer.bias.data.zero_()

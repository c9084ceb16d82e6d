"""Untrained networks with a trained one's activations, from real canvases, and with the spread of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from framework_case import letterboxed

_TRAINING: ContextVar[Callable[[Any], None] | None] = ContextVar("training", default=None)


@contextmanager
def trained_by(training: Callable[[Any], None]) -> Iterator[None]:
    """While this is open, ``training`` gives networks their weights, and :func:`settle` leaves them as they are."""
    before = _TRAINING.set(training)
    try:
        yield
    finally:
        _TRAINING.reset(before)


def settle(
    network: Any,
    frames: Sequence[np.ndarray],
    imgsz: int,
    scale: float,
    *parts: Part,
    rgb: bool = True,
    canvas: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> None:
    """Give an untrained network activations and outputs of a trained one's spread, in its own order of colours.

    Its statistics are those of the canvases that it will be shown, borders and all, of every photograph: on another
    canvas each BatchNorm finds means and deviations that are not its own, layer after layer, until the last digit
    of a rounding is a thousandth of a box (YOLOX-Nano, settled on four stretched photographs: 1e-3 of its outputs
    against PyTorch in double, in PyTorch and ONNX Runtime alike; 1e-6 on a canvas it had been settled on).

    Args:
        network: in place.
        frames: BGR.
        imgsz: side of the canvas.
        scale: factor of the pixels.
        parts: last layers, and the spread of their outputs.
        rgb: whether it takes RGB.
        canvas: from a BGR frame and ``imgsz``; None for :func:`letterboxed`.
    """
    import torch

    training = _TRAINING.get()
    if training is not None:
        training(network)
        network.eval()
        return
    place = canvas or (lambda frame, side: letterboxed(frame, side)[0])
    order = -1 if rgb else 1
    images = [place(frame, imgsz)[:, :, ::order].copy() for frame in frames]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() * scale
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    former = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        network(batch)
    network.eval()
    for norm, momentum in zip(norms, former, strict=True):
        norm.momentum = momentum
    hooks = [layer.register_forward_pre_hook(part.spread) for part in parts for layer in part.layers]
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()


@dataclass
class Part:
    """Last layers of a head, and the deviation and mean that their outputs shall have; by channel where given."""

    layers: Sequence[Any]
    deviation: Any
    mean: Any

    def spread(self, layer: Any, inputs: Any) -> None:
        """A hook before the layer runs: weights under which every channel has that deviation and mean.

        Channel by channel, since an untrained layer's own means differ by several deviations: sides of boxes then
        fell below a thousandth of a pixel, where float32 cannot keep an IoU of 0.99, whoever computes them.
        """
        import torch

        layer.weight.data.normal_(0, 1)
        layer.bias.data.zero_()
        outputs = type(layer).forward(layer, inputs[0]).movedim(1, -1).flatten(0, -2)
        wanted, mean = (
            torch.as_tensor(value, dtype=torch.float32).expand(len(layer.weight))
            for value in (self.deviation, self.mean)
        )
        factor = wanted / outputs.std(0).clamp_min(1e-6)
        layer.weight.data.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.data.copy_(mean - outputs.mean(0) * factor)


def anchored(layers: Sequence[Any], classes: int = 80) -> Part:
    """Box, objectness and classes of three anchors."""
    # Sides are (2 * sigmoid)^2 of an anchor's, and training matches anchors within a factor of 4 only.
    deviation = [0.5] * 2 + [0.2] * 2 + [1.0] + [0.7] * classes
    mean = [0.0] * 4 + [-4.0] + [-1.5] * classes
    return Part(layers, np.array(deviation * 3, np.float32), np.array(mean * 3, np.float32))

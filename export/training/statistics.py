"""The running statistics of batch normalisation in a trained network, by the tensors of its exported graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from torch import nn

from edgedet.onnx_graph.network import Array

from ...calibration.batch_norm import Normalised, Statistics

CLOSE = 1e-3
"""Of the largest weight: exporters fold in float32."""
PARTS = ("weight", "bias", "running_mean", "running_var")


def statistics_of(module: nn.Module, model: onnx.ModelProto) -> Statistics:
    """What training saw behind every convolution that batch normalisation was folded into.

    A convolution of the graph is told by its numbers: weights and bias are those of a convolution of the module
    with the normalisation that follows it folded in. Of others, shared ones included, nothing is said.

    Args:
        module: the trained network.
        model: the graph exported from it, normalisation folded.
    """
    constants = {constant.name: constant for constant in model.graph.initializer}
    by_shape: dict[tuple[int, ...], list[tuple[str, Array, Array]]] = {}
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and all(name in constants for name in node.input[1:]):
            weight, bias = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
            by_shape.setdefault(weight.shape, []).append((node.output[0], weight, bias))
    found: dict[str, Normalised] = {}
    for convolution, norm in _pairs(module):
        weight, bias, seen = _folded(convolution, norm)
        for output, its_weight, its_bias in by_shape.get(weight.shape, []):
            if _alike(weight, its_weight) and _alike(bias, its_bias):
                found[output] = seen
    return found


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.Module]]:
    """Every normalisation with the convolution registered before it that has as many channels."""
    before: nn.Conv2d | None = None
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            before = part
        elif _is_batch_norm(part) and before is not None:
            if part.running_mean.numel() == before.out_channels:  # type: ignore[union-attr,operator]
                yield before, part
            before = None


def _is_batch_norm(module: nn.Module) -> bool:
    """By what it holds: torch, torchvision and transformers have one each, and more of those that are frozen."""
    return "BatchNorm" in type(module).__name__ and all(getattr(module, part, None) is not None for part in PARTS)


def _folded(convolution: nn.Conv2d, norm: Any) -> tuple[Array, Array, Normalised]:
    gamma, beta, mean, variance = (getattr(norm, part).detach().cpu().double().numpy() for part in PARTS)
    factor = gamma / np.sqrt(variance + getattr(norm, "eps", 1e-5))
    weight = convolution.weight.detach().cpu().double().numpy()
    own = 0.0 if convolution.bias is None else convolution.bias.detach().cpu().double().numpy()
    seen = Normalised(beta.astype(np.float32), np.abs(gamma).astype(np.float32), "Frozen" in type(norm).__name__)
    return weight * factor[:, None, None, None], beta + (own - mean) * factor, seen


def _alike(ours: Array, theirs: Array) -> bool:
    return ours.shape == theirs.shape and bool(
        np.abs(ours - theirs).max(initial=0) <= CLOSE * max(float(np.abs(ours).max(initial=0)), 1e-12)
    )

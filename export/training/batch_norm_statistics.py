"""The running statistics of batch normalisation in a trained network, by the tensors of its exported graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import NodeProto

from edgedet.onnx_graph.network import Array, Network

from ...calibration.training_statistics import Normalised, Statistics

if TYPE_CHECKING:
    from torch import nn

CLOSE = 1e-3
"""Maximum difference of the same weights, as a share of the largest: exporters fold in float32."""
PARTS = ("weight", "bias", "running_mean", "running_var")


def statistics_of(module: nn.Module, model: onnx.ModelProto) -> Statistics:
    """What training saw behind every convolution that batch normalisation follows.

    A convolution of the graph is told by its numbers: weights and bias are those of a convolution of the module
    with the normalisation that follows it folded in; or they are its own, and the product that follows is the
    normalisation's (exporters leave frozen normalisation so). Of others nothing is said.

    Args:
        module: the trained network.
        model: the graph exported from it.
    """
    network = Network(model)
    by_shape: dict[tuple[int, ...], list[NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "Conv" and all(name in network.constants for name in node.input[1:]):
            by_shape.setdefault(tuple(network.constants[node.input[1]].dims), []).append(node)
    found: dict[str, Normalised] = {}
    for block in _blocks(module):
        for node in by_shape.get(block.weight.shape, []):
            seen = _seen(network, node, block)
            if seen is not None:
                found[node.output[0]] = seen
    return found


@dataclass(frozen=True)
class _Block:
    """A convolution, ``weight`` and ``bias``, and the normalisation behind it: ``factor`` x + ``offset``."""

    weight: Array
    bias: Array
    factor: Array
    offset: Array
    folded: Normalised
    before: Normalised


def _blocks(module: nn.Module) -> Iterator[_Block]:
    """Every normalisation with the convolution registered before it that has as many channels."""
    from torch import nn

    before: nn.Conv2d | None = None
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            before = part
        elif _is_batch_norm(part):
            if before is not None and getattr(part, "running_mean").numel() == before.out_channels:  # noqa: B009
                yield _block(before, part)
            before = None


def _is_batch_norm(module: nn.Module) -> bool:
    """By what it holds: torch, torchvision and transformers have one each, and more of those that are frozen."""
    return "BatchNorm" in type(module).__name__ and all(getattr(module, part, None) is not None for part in PARTS)


def _block(convolution: nn.Conv2d, norm: Any) -> _Block:
    gamma, beta, mean, variance = (getattr(norm, part).detach().cpu().double().numpy() for part in PARTS)
    deviation = np.sqrt(variance + getattr(norm, "eps", 1e-5))
    frozen = "Frozen" in type(norm).__name__
    weight = convolution.weight.detach().cpu().double().numpy()
    bias = np.zeros(len(weight)) if convolution.bias is None else convolution.bias.detach().cpu().double().numpy()
    return _Block(
        weight,
        bias,
        gamma / deviation,
        beta - mean * gamma / deviation,
        Normalised(beta.astype(np.float32), np.abs(gamma).astype(np.float32), frozen),
        Normalised(mean.astype(np.float32), deviation.astype(np.float32), frozen),
    )


def _seen(network: Network, node: NodeProto, block: _Block) -> Normalised | None:
    """What training saw of the output of ``node``, if it is the convolution of ``block``."""
    weight = network.constant(node.input[1])
    bias = network.constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(weight))
    folded = block.weight * block.factor[:, None, None, None]
    if _alike(folded, weight) and _alike(block.bias * block.factor + block.offset, bias):
        return block.folded
    reader = network.only_reader(node.output[0])
    if reader is None or reader.op_type != "Mul" or not (_alike(block.weight, weight) and _alike(block.bias, bias)):
        return None
    factors = [network.constant(name).ravel() for name in reader.input if name in network.constants]
    return block.before if len(factors) == 1 and _alike(block.factor, factors[0]) else None


def _alike(ours: Array, theirs: Array) -> bool:
    return ours.shape == theirs.shape and bool(
        np.abs(ours - theirs).max(initial=0) <= CLOSE * max(float(np.abs(ours).max(initial=0)), 1e-12)
    )

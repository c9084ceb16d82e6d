"""Cross-layer equalisation: moving a channel's size from an activation into the next layer's weights.

A scale per tensor is spoilt by one large channel. Between two layers with nothing but positively homogeneous
functions in between (f(sx) = s f(x) for s > 0), channel c can be made s times smaller by the first layer's weights
and bias, and s times larger again by the second one's weights, without changing what is computed (Nagel et al.,
arXiv:1906.04721). How the size is shared out follows the activations as they are on the calibration frames (Xiao
et al., arXiv:2211.10438). ReLU6, HardSwish and SiLU are not homogeneous: there the mathematics does not hold, and
nothing is moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array, Layer, Network

from . import rounding
from .activation_samples import Patches, Survey, sampled, surveys, weight_matrix
from .executor import in_lanes, one_blas_thread
from .quantisation_grid import GridKind, grid_for, weight_scales

HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool")
UNEVEN = 4.0
"""Times the median channel from which a tensor is worth equalising."""
MAX_ERROR_LEFT = 0.8
"""Share of the error of the second layer's output that equalising may leave: a fifth less."""
CLIPS = (1.0, 0.8, 0.6, 0.4)


@dataclass(frozen=True)
class Pair:
    """Two layers and the tensor between them that is quantised."""

    first: Layer
    second: Layer


def pairs(network: Network, layers: Sequence[Layer]) -> list[Pair]:
    """Convolutions between which channels may be rescaled: nobody else reads what lies between."""
    by_output = {layer.output: layer for layer in layers}
    found = []
    for second in layers:
        if second.op_type != "Conv" or not sampled(second):
            continue
        tensor = second.input
        while _read_once(network, tensor) and tensor not in by_output:
            node = network.producer.get(tensor)
            if node is None or not _homogeneous(node, network):
                break
            tensor = node.input[0]
        first = by_output.get(tensor)
        if (
            first is not None
            and first.op_type == "Conv"
            and _read_once(network, tensor)
            and all(len(network.consumers[layer.weight]) == 1 for layer in (first, second))
            and (first.bias is None or len(network.consumers[first.bias]) == 1)
        ):
            found.append(Pair(first, second))
    return found


def equalise(
    network: Network,
    layers: Sequence[Layer],
    quantised: Iterable[str],
    frames: Sequence[Array],
    *,
    kind: GridKind,
    survey: Survey | None = None,
    threads: int | None = None,
) -> dict[str, float]:
    """Equalise ``network`` in place before the layers named in ``quantised``, wherever measuring says it helps.

    ``survey``: of all these layers and what they read, where there is one; else one is made of ``frames``.
    Returns the layers it was done for, by name: the factor that remains of the error variance of their outputs.
    """
    wanted = set(quantised)
    chosen = [pair for pair in pairs(network, layers) if pair.second.name in wanted]
    if not chosen:
        return {}
    sizes: dict[str, Array] = {}
    done = {}
    tensors = list(dict.fromkeys(pair.second.input for pair in chosen))
    plans: list[tuple[Pair, Array]] = []
    made = surveys(network, frames, tensors, [pair.second for pair in chosen], threads=threads)
    for one in made if survey is None else [survey]:
        sizes |= {name: seen.channel_high for name, seen in one.seen.items()}
        patches = one.patches

        def planned(
            pair: Pair, patches: dict[str, Patches] = patches, sizes: dict[str, Array] = sizes
        ) -> tuple[Array, float]:
            """The factors, and what is left of the error."""
            factors = _factors(network, pair.second, sizes[pair.second.input])
            some = patches[pair.second.name]
            before = _loss(network, pair.second, some, kind, None)
            return factors, _loss(network, pair.second, some, kind, factors) / max(before, 1e-30)

        uneven = [
            pair
            for pair in chosen
            if pair.second.name in patches and _unevenness(sizes[pair.second.input]) > UNEVEN
        ]
        with one_blas_thread():
            for pair, (factors, left) in zip(
                uneven, in_lanes(planned, uneven, threads or available_cores()), strict=True
            ):
                if left < MAX_ERROR_LEFT:
                    plans.append((pair, factors))
                    done[pair.second.name] = round(left, 4)
    for pair, factors in plans:
        _move(network, pair.first, pair.second, factors)
    return done


def _read_once(network: Network, tensor: str) -> bool:
    return len(network.consumers.get(tensor, [])) == 1 and tensor not in network.outputs


def _homogeneous(node: NodeProto, network: Network) -> bool:
    if node.op_type == "Clip":
        # Clip(0, nothing) is ReLU; an upper limit is not homogeneous.
        bounds = [network.constants.get(name) for name in node.input[1:] if name]
        return len(node.input) == 2 and bounds[0] is not None and float(network.constant(node.input[1])) == 0
    return node.op_type in HOMOGENEOUS


def _unevenness(channels: Array) -> float:
    alive = channels[channels > 0]
    return float(alive.max() / np.median(alive)) if len(alive) else 0.0


def _factors(network: Network, second: Layer, sizes: Array) -> Array:
    """By how much every channel is made smaller: half of the imbalance goes into the weights."""
    weight = _by_input_channel(second, network.constant(second.weight))
    in_weights = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    alive = (sizes > 0) & (in_weights > 0)
    factors = np.ones_like(sizes)
    factors[alive] = np.sqrt(sizes[alive] / in_weights[alive])
    if alive.any():
        factors /= np.exp(np.log(factors[alive]).mean())
    factors[~alive] = 1
    return factors.astype(np.float32)


def _by_input_channel(layer: Layer, weight: Array) -> Array:
    """Convolution weights as [input channels, everything else]."""
    if layer.group == 1:
        return weight.transpose(1, 0, 2, 3)
    outputs, per_group = weight.shape[0] // layer.group, weight.shape[1]
    grouped = weight.reshape(layer.group, outputs, per_group, *weight.shape[2:])
    return grouped.transpose(0, 2, 1, 3, 4).reshape(layer.group * per_group, outputs, *weight.shape[2:])


def _loss(network: Network, layer: Layer, patches: Patches, kind: GridKind, factors: Array | None) -> float:
    """Variance of the output's error with input and weights in INT8, best of a few clippings."""
    matrix = weight_matrix(layer, network.constant(layer.weight))
    rows = patches.rows
    exact = patches.outputs(matrix)
    if factors is not None:
        area = matrix.shape[2] // (len(factors) // layer.group)
        spread = np.repeat(factors.reshape(layer.group, -1), area, axis=1)
        rows, matrix = rows / spread[:, None, :], matrix * spread[:, None, :]
    integers = np.stack([rounding.nearest(m, weight_scales(m, 0)) * weight_scales(m, 0)[:, None] for m in matrix])
    low, high = float(rows.min()), float(rows.max())
    losses = []
    for clip in CLIPS:
        rounded = Patches(grid_for(kind, low * clip, high * clip).round(rows))
        losses.append(float((rounded.outputs(integers) - exact).var(axis=1).sum()))
    return min(losses)


def _move(network: Network, first: Layer, second: Layer, factors: Array) -> None:
    weight = network.constant(first.weight)
    network.set_constant(first.weight, weight / factors[:, None, None, None])
    if first.bias is not None:
        network.set_constant(first.bias, network.constant(first.bias) / factors)
    weight = network.constant(second.weight)
    if second.group == 1:
        scaled = weight * factors[None, :, None, None]
    else:
        outputs = weight.shape[0] // second.group
        scaled = weight * np.repeat(factors.reshape(second.group, -1), outputs, axis=0)[:, :, None, None]
    network.set_constant(second.weight, scaled.astype(np.float32))

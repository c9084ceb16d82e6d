"""Channel balancing: one symmetric scale for a tensor that needs a range of its own in every channel.

Where nothing can be moved into the layer before, since the function in between is not homogeneous
(:mod:`edgedet.calibration.cross_layer_equalisation`), the change is written out: the activation is multiplied by a
constant per channel in front of its Q/DQ pair and the inverse goes into the weights behind it. The idea is
SmoothQuant's (Xiao et al., arXiv:2211.10438). Before a depthwise convolution, which mixes no channels and whose
weights have a scale each, the activation's one scale then serves as if there were one per channel. Before a 1x1
convolution without padding the middle of each channel's range can be subtracted as well, which the bias makes up
for: SiLU and HardSwish leave half of a symmetric grid unused, and this gives it back.

What is computed stays the same. It costs a product per activation, which runtimes fuse with the function before it;
so it is done only where everything is to be INT8, and only where measuring says that it helps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import helper

from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array, Layer, Network, attributes
from edgedet.onnx_graph.rewriting import insert

from . import rounding
from .activation_samples import Patches, collect, weight_matrix
from .executor import in_lanes, one_blas_thread
from .quantisation_grid import Grid, weight_scales
from .taps import Taps

CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the widest reach that a range may cover."""
MAX_ERROR_LEFT = 0.7
"""Share of the error of the outputs behind that balancing may leave: a third less, or it is not worth a product."""
QUIETEST = 1 / 32
"""Minimum reach that a channel is given, as a share of the median channel's: one that is silent on the calibration
frames need not be so for ever."""


@dataclass(frozen=True)
class Reach:
    """Lowest and highest value of every channel on the calibration frames: float32 [C] each."""

    low: Array
    high: Array

    @property
    def still(self) -> bool:
        """Whether no channel ever changed."""
        return np.array_equal(self.low, self.high)

    def or_further(self, other: Reach) -> Reach:
        """What covers both."""
        return Reach(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True)
class Plan:
    """``(x - shift) / spread`` is quantised in place of x: float32 [C] each. ``error``: of the outputs behind."""

    spread: Array
    shift: Array
    error: float


def balance(
    network: Network, layers: Sequence[Layer], frames: Sequence[Array], *, threads: int | None = None
) -> dict[str, float]:
    """Balance ``network`` in place before ``layers``, for a symmetric grid, wherever measuring says it helps.

    Returns the layers it was done for, by name: the factor that remains of the error variance of their outputs.
    """
    groups = _groups(network, layers)
    reaches = _reaches(network, [group[0].input for group in groups], frames, threads)
    plans: list[tuple[list[Layer], Plan]] = []
    done: dict[str, float] = {}
    for patches in collect(network, frames, [layer for group in groups for layer in group], threads=threads):

        def planned(group: list[Layer], patches: dict[str, Patches] = patches) -> tuple[Plan, Plan]:
            return _plans(network, group, patches, reaches[group[0].input])

        moving = [group for group in groups if group[0].name in patches and not reaches[group[0].input].still]
        with one_blas_thread():
            for group, (before, after) in zip(
                moving, in_lanes(planned, moving, threads or available_cores()), strict=True
            ):
                if after.error < MAX_ERROR_LEFT * before.error:
                    plans.append((group, after))
                    done |= {layer.name: round(after.error / before.error, 4) for layer in group}
    for group, plan in plans:
        _write(network, group, plan)
    return done


def _groups(network: Network, layers: Sequence[Layer]) -> list[list[Layer]]:
    """Layers that share what is written before them: 1x1 ones of one input; depthwise ones have their own."""
    pointwise: dict[str, list[Layer]] = {}
    groups = []
    for layer in layers:
        if layer.op_type != "Conv":
            continue
        if layer.depthwise and network.constants[layer.weight].dims[1] == 1:
            groups.append([layer])
        elif layer.group == 1 and _pointwise(network, layer):
            pointwise.setdefault(layer.input, []).append(layer)
    return groups + list(pointwise.values())


def _pointwise(network: Network, layer: Layer) -> bool:
    """Whether every output is made of all of one position's channels, never of padding."""
    settings = attributes(network.nodes[layer.name])
    padded = any(settings.get("pads", [0])) or settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    return not padded and list(network.constants[layer.weight].dims[2:]) == [1, 1]


def _reaches(
    network: Network, tensors: Sequence[str], frames: Sequence[Array], threads: int | None
) -> dict[str, Reach]:
    found: dict[str, Reach] = {}
    if not tensors:
        return found
    for look in Taps(network, tensors, values=False, frame=frames[0], threads=threads).look(frames):
        for name in look.lows:
            reach = Reach(look.lows[name], look.highs[name])
            found[name] = found[name].or_further(reach) if name in found else reach
    return found


def _plans(
    network: Network, group: Sequence[Layer], patches: Mapping[str, Patches], reach: Reach
) -> tuple[Plan, Plan]:
    """As it is, and the best way to change it."""
    matrices = [weight_matrix(layer, network.constant(layer.weight)) for layer in group]
    rows = [patches[layer.name].rows for layer in group]
    channels = len(reach.low)
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    magnitude = np.maximum(reach.high, -reach.low)
    before = _measured(matrices, rows, ones, zeros, float(magnitude.max()))
    if group[0].depthwise:
        return before, _measured(matrices, rows, _own_widths(rows[0], matrices[0], magnitude), zeros, 1.0)
    middle = (reach.high + reach.low) / 2
    half = (reach.high - reach.low) / 2
    half = np.maximum(half, np.median(half[half > 0]) * QUIETEST)
    common = np.full_like(middle, (reach.high.max() + reach.low.min()) / 2)
    # Shared out between activation and weights by the square root, SmoothQuant's migration strength of one half.
    reads = np.max([np.abs(matrix[0]).max(axis=0) for matrix in matrices], axis=0) + np.float32(1e-12)
    shared = np.sqrt(half / np.maximum(reads, np.median(reads) * QUIETEST))
    tried = [
        _measured(matrices, rows, ones, common, float((reach.high.max() - reach.low.min()) / 2)),
        _measured(matrices, rows, shared, middle, float((half / shared).max())),
    ]
    return before, min(tried, key=lambda plan: plan.error)


def _own_widths(rows: Array, matrix: Array, magnitude: Array) -> Array:
    """For every channel of a depthwise convolution the width that disturbs its own output least: float32 [C]."""
    magnitude = np.maximum(magnitude, np.median(magnitude[magnitude > 0]) * QUIETEST)
    errors = []
    for clip in CLIPS:
        width = (magnitude * clip)[:, None, None]
        error = Grid("s8", 1 / 127).round(rows / width) * width - rows
        errors.append(Patches(error).outputs(matrix).var(axis=1, dtype=np.float64).sum(axis=-1))
    return (magnitude * np.array(CLIPS)[np.argmin(errors, axis=0)]).astype(np.float32)


def _measured(matrices: Sequence[Array], rows: Sequence[Array], spread: Array, shift: Array, reach: float) -> Plan:
    """What is left of the outputs' variance, with inputs and weights in INT8, at the best clipping."""
    losses = np.zeros(len(CLIPS))
    for matrix, some in zip(matrices, rows, strict=True):
        by, off = (_along_rows(values, matrix) for values in (spread, shift))
        scaled = matrix * by
        integers = np.stack(
            [rounding.nearest(m, weight_scales(m, 0)) * weight_scales(m, 0)[:, None] for m in scaled]
        )
        exact = Patches(some).outputs(matrix)
        offset = np.matmul(np.broadcast_to(off, (len(matrix), 1, matrix.shape[2])), matrix.transpose(0, 2, 1))
        moved = (some - off) / by
        power = float(exact.var(axis=1, dtype=np.float64).sum()) + 1e-20
        for index, clip in enumerate(CLIPS):
            rounded = Patches(Grid("s8", reach * clip / 127).round(moved)).outputs(integers) + offset
            losses[index] += float((rounded - exact).var(axis=1, dtype=np.float64).sum()) / power
    # Geometric mean one, so that fp16 holds the balanced tensor as well as the one before.
    level = np.exp(np.log(spread).mean())
    return Plan((spread / level).astype(np.float32), shift.astype(np.float32), float(losses.min()))


def _along_rows(values: Array, matrix: Array) -> Array:
    """``values`` [C] as they meet ``matrix`` [groups, channels, K]: [groups, 1, K]."""
    area = len(matrix) * matrix.shape[2] // len(values)
    return np.repeat(values, area).reshape(len(matrix), 1, -1).astype(np.float32)


def _write(network: Network, group: Sequence[Layer], plan: Plan) -> None:
    name = f"{group[0].name}/balance"
    tensor = group[0].input
    network.set_constant(f"{name}_factor", (1 / plan.spread)[None, :, None, None])
    added = [helper.make_node("Mul", [tensor, f"{name}_factor"], [f"{name}_scaled"], name)]
    if plan.shift.any():
        network.set_constant(f"{name}_offset", (-plan.shift / plan.spread)[None, :, None, None])
        added.append(
            helper.make_node("Add", [f"{name}_scaled", f"{name}_offset"], [f"{name}_shifted"], f"{name}/shift")
        )
    for layer in group:
        node = network.nodes[layer.name]
        weight = network.constant(layer.weight)
        by = plan.spread[:, None, None, None] if layer.depthwise else plan.spread[None, :, None, None]
        # Under names of its own: other layers may share the constants.
        network.set_constant(f"{layer.name}/balanced_weight", weight * by)
        node.input[0], node.input[1] = added[-1].output[0], f"{layer.name}/balanced_weight"
        if plan.shift.any():
            bias = network.constant(layer.bias) if layer.bias is not None else np.zeros(len(weight), np.float32)
            made_up = bias + weight.reshape(len(weight), -1).astype(np.float64) @ plan.shift
            network.set_constant(f"{layer.name}/balanced_bias", made_up.astype(np.float32))
            del node.input[2:]
            node.input.append(f"{layer.name}/balanced_bias")
    insert(network, added)

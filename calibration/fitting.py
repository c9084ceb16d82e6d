"""Fitting INT8 to the calibration frames, layer by layer: the range of its input, its weights, its bias.

Every choice is judged by what it does to the output of the layer that is being quantised, on sampled positions
of the calibration frames, not by a rule fixed beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array, Layer, Network

from . import rounding
from .activation_samples import Patches, Survey, from_matrix, sampled, surveys, weight_matrix
from .executor import in_lanes, one_blas_thread
from .observe import Observation, Progress, observe, silent
from .quantisation_grid import Grid, GridKind, grid_for, weight_scales
from .ranges import Function, candidates, squared_error

SEARCH_ROWS = 1024
"""Sampled positions on which ranges compete; weights and biases are fitted on all of them."""
NOTHING = 1e-20
"""Added to every variance, so that those of outputs that never change can be divided by."""
SEARCH_CHANNELS = 64
"""Channels of a layer's output, at most, on which they compete: of more, so many mixtures of them all."""


@dataclass(frozen=True)
class FittedLayer:
    """What one layer becomes in INT8.

    ``weight`` int8, in the shape of the float weight; ``scales`` float32 [channels]; ``bias_shift`` float32
    [channels], added to the float bias (bias correction, Nagel et al., arXiv:1906.04721, from data).
    ``error``: variance of the output's error relative to the output's own variance.
    """

    weight: Array
    scales: Array
    bias_shift: Array
    error: float
    rounding: str


@dataclass(frozen=True)
class Fit:
    """What the calibration frames make of a network.

    Attributes:
        grids: by tensor.
        methods: which method gave the grid, by tensor.
        layers: in INT8, by name.
        seen: what the tensors hold on the frames.
    """

    grids: dict[str, Grid]
    methods: dict[str, str]
    layers: dict[str, FittedLayer]
    seen: dict[str, Observation]


def fit(
    network: Network,
    frames: Sequence[Array],
    layers: Sequence[Layer],
    *,
    tensors: Sequence[str] = (),
    kind: GridKind,
    weight_bits: int = 8,
    margin: float = 1.0,
    survey: Survey | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Fit:
    """Fit ``layers``, their inputs and whatever else is in ``tensors``.

    Args:
        network: the float graph.
        frames: prepared inputs of it, gone through once, or a few times where the layers are many and large.
        layers: to become INT8.
        tensors: further activations that need a grid.
        kind: of the grids.
        weight_bits: of the weights.
        margin: of every range (:attr:`edgedet.calibration.observe.Observation.margin`).
        survey: of all of them, where there is one, which is used up; the frames are not run then.
        threads: of a run; None takes every core.
        progress: called with (what, done, of).
    """
    with one_blas_thread():
        result = _fit_sampled(
            network,
            frames,
            layers,
            tensors,
            kind=kind,
            weight_bits=weight_bits,
            margin=margin,
            survey=survey,
            threads=threads,
            progress=progress,
        )
    seen = result.seen
    for layer in layers:
        if not sampled(layer):
            if layer.input not in result.grids:
                result.methods[layer.input], result.grids[layer.input] = best_by_tensor(seen[layer.input], kind)
            error = squared_error(seen[layer.input], result.grids[layer.input])
            result.layers[layer.name] = _nearest(network, layer, weight_bits, error)
    for tensor in tensors:
        if tensor not in result.grids:
            function = following_function(network, tensor)
            result.methods[tensor], result.grids[tensor] = best_by_tensor(seen[tensor], kind, function)
    return result


def _fit_sampled(
    network: Network,
    frames: Sequence[Array],
    layers: Sequence[Layer],
    tensors: Sequence[str],
    *,
    kind: GridKind,
    weight_bits: int,
    margin: float,
    survey: Survey | None,
    threads: int | None,
    progress: Progress,
) -> Fit:
    """Fit what patches can be taken of, every core at a tensor and its readers of its own; observe the rest."""
    result = Fit({}, {}, {}, {})
    by_name = {layer.name: layer for layer in layers}
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        readers.setdefault(layer.input, []).append(layer)
    wanted = list(dict.fromkeys([*readers, *tensors]))
    made = surveys(network, frames, wanted, layers, threads=threads, progress=progress)
    for some in made if survey is None else [survey]:
        result.seen.update({name: replace(one, margin=margin) for name, one in some.seen.items()})
        # Taken one by one: what is fitted is dropped before the next.
        groups = [
            {layer: some.patches.pop(layer.name) for layer in readers[tensor] if layer.name in some.patches}
            for tensor in dict.fromkeys(by_name[name].input for name in some.patches)
        ]

        def fit_group(patches: dict[Layer, Patches]) -> tuple[str, Grid, dict[str, FittedLayer]]:
            tensor = next(iter(patches)).input
            method, grid = choose_grid(network, patches, result.seen[tensor], kind)
            fitted = {layer.name: fit_layer(network, layer, patches[layer], grid, weight_bits) for layer in patches}
            patches.clear()
            return method, grid, fitted

        for method, grid, fitted in in_lanes(fit_group, groups, threads or available_cores()):
            tensor = by_name[next(iter(fitted))].input
            result.methods[tensor], result.grids[tensor] = method, grid
            result.layers.update(fitted)
            progress("weights", len(result.layers), len(layers))
    return result


def rough_fit(
    network: Network,
    frame: Array,
    layers: Sequence[Layer],
    tensors: Sequence[str],
    *,
    kind: GridKind,
    weight_bits: int,
) -> Fit:
    """Extremes of one frame and weights rounded to the nearest: not accurate, but as quick to run as any other."""
    seen = observe(network, [frame], list(dict.fromkeys([*tensors, *(layer.input for layer in layers)])))
    return Fit(
        {tensor: grid_for(kind, one.low, one.high) for tensor, one in seen.items()},
        dict.fromkeys(seen, "extremes"),
        {layer.name: _nearest(network, layer, weight_bits, 0.0) for layer in layers},
        seen,
    )


def _nearest(network: Network, layer: Layer, bits: int, error: float) -> FittedLayer:
    weight = network.constant(layer.weight)
    scales = weight_scales(weight, layer.channel_axis, bits)
    matrix = np.moveaxis(weight, layer.channel_axis, 0)
    integers = rounding.nearest(matrix.reshape(len(matrix), -1), scales, bits).reshape(matrix.shape)
    return FittedLayer(
        np.ascontiguousarray(np.moveaxis(integers, 0, layer.channel_axis)),
        scales,
        np.zeros(len(scales), np.float32),
        error,
        "nearest",
    )


def best_by_tensor(seen: Observation, kind: GridKind, through: Function | None = None) -> tuple[str, Grid]:
    """The candidate with the least squared error of the tensor itself, or of a function of it."""
    options = candidates(seen, kind, through)
    return min(options.items(), key=lambda item: squared_error(seen, item[1], through))


def following_function(network: Network, tensor: str) -> Function | None:
    """The activation function through which alone ``tensor`` is read, if it is one whose tail is flat."""
    readers = network.consumers.get(tensor, [])
    gates = [node for node in readers if node.op_type in ("Sigmoid", "HardSigmoid")]
    if len(gates) != 1:
        return None
    attributes = {a.name: a.f for a in gates[0].attribute}
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)

    def gate(x: Array) -> Array:
        if gates[0].op_type == "Sigmoid":
            return 1 / (1 + np.exp(-np.clip(x, -80, 80)))
        return np.clip(alpha * x + beta, 0, 1)

    others = [node for node in readers if node is not gates[0]]
    if not others:
        return gate
    if len(others) == 1 and others[0].op_type == "Mul" and gates[0].output[0] in others[0].input:
        return lambda x: x * gate(x)
    return None


def choose_grid(
    network: Network, patches: Mapping[Layer, Patches], seen: Observation, kind: GridKind
) -> tuple[str, Grid]:
    """The candidate that disturbs the outputs of the tensor's readers least; ``patches``: of each reader."""
    best: tuple[float, str, Grid] | None = None
    exact = []
    for layer, all_rows in patches.items():
        matrix = mixed(weight_matrix(layer, network.constant(layer.weight)))
        some = all_rows.rows[:, :SEARCH_ROWS]
        outputs = Patches(some).outputs(matrix)
        exact.append((matrix, some, outputs, _power(outputs)))
    tried: dict[Grid, str] = {}
    for name, grid in candidates(seen, kind).items():
        # What two methods agree on is tried once.
        tried.setdefault(grid, name)
    for grid, name in tried.items():
        loss = 0.0
        for matrix, some, outputs, power in exact:
            rounded = Patches(grid.round(some)).outputs(matrix)
            loss += _power(rounded - outputs) / power
        if best is None or loss < best[0]:
            best = (loss, name, grid)
    assert best is not None
    return best[1], best[2]


def mixed(matrix: Array) -> Array:
    """Weights [groups, channels, K] of fewer channels, whose outputs err as much altogether: [groups, fewer, K].

    Mixtures with random signs keep the sum of squares of whatever goes through them, but for a few per cent that
    all ranges have in common (Hutchinson 1990; Achlioptas 2003).
    """
    channels = matrix.shape[1]
    if channels <= SEARCH_CHANNELS:
        return matrix
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (SEARCH_CHANNELS, channels)).astype(np.float32)
    result: Array = np.matmul(signs / np.float32(SEARCH_CHANNELS**0.5), matrix)
    return result


def _shift(matrix: Array, patches: Patches, used: Array, rounded: Array) -> Array:
    """Mean error of every output [groups, channels], in which positions count by the power of their inputs.

    Most positions are background, whose inputs are weak. The plain mean makes up for what rounding does there, and
    moves everything that is found elsewhere: boxes of a network of LeakyReLUs by 2 % of IoU.

    Args:
        matrix: float weights [groups, channels, K], which see ``patches``.
        patches: float inputs of n positions.
        used: the weights as they lie on their grid.
        rounded: inputs [groups, n, K] as they lie on theirs.
    """
    power = np.einsum("gnk,gnk->gn", patches.rows, patches.rows) + np.float64(NOTHING)
    parts = (power / power.sum(axis=1, keepdims=True)).astype(np.float32)[:, None, :]
    # A mean of outputs is the output of the mean input.
    float_input, integer_input = np.matmul(parts, patches.rows), np.matmul(parts, rounded)
    mean: Array = np.einsum("gk,gck->gc", float_input[:, 0], matrix)
    return mean - np.einsum("gk,gck->gc", integer_input[:, 0], used)


def _power(values: Array) -> float:
    """Variance about each channel's mean (bias correction takes the mean away), summed over channels."""
    centred = values - values.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    # Single precision leaves five digits of a sum of squares, for half of the time of double.
    return float(np.vdot(centred, centred)) / values.shape[1] + NOTHING


def fit_layer(network: Network, layer: Layer, patches: Patches, grid: Grid, bits: int) -> FittedLayer:
    """Weights and bias of one layer whose input lies on ``grid``."""
    weight = network.constant(layer.weight).astype(np.float32)
    scales = weight_scales(weight, layer.channel_axis, bits)
    matrix = weight_matrix(layer, weight)
    per_group = scales.reshape(len(matrix), -1)
    rounded = grid.round(patches.rows)
    # Learned on one half of the positions, judged on the other: kept only where it pays on unseen inputs.
    half = rounded.shape[1] // 2
    exact, unseen = Patches(patches.rows[:, half:]).outputs(matrix), Patches(rounded[:, half:])

    def float_of(integers: Array) -> Array:
        return integers.astype(np.float32) * per_group[:, :, None]

    options = {"nearest": np.stack([rounding.nearest(m, s, bits) for m, s in zip(matrix, per_group, strict=True)])}
    if matrix.shape[2] <= rounding.LARGEST_HESSIAN and not layer.depthwise:
        options["learned"] = np.stack(
            [
                rounding.learned(m, s, rows[:half], bits)
                for m, s, rows in zip(matrix, per_group, rounded, strict=True)
            ]
        )
    losses = {name: _power(exact - unseen.outputs(float_of(integers))) for name, integers in options.items()}
    name = min(losses, key=losses.__getitem__)
    return FittedLayer(
        weight=from_matrix(layer, options[name], weight.shape),
        scales=scales,
        bias_shift=_shift(matrix, patches, float_of(options[name]), rounded).reshape(-1).astype(np.float32),
        # A layer whose weights are all zero answers as it did.
        error=(losses[name] - NOTHING) / _power(exact),
        rounding=name,
    )

"""Small random pieces of a layer's input, enough to compute some of its outputs exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.onnx_graph.network import Array, Layer, Network

from .observe import Collector, Observation, Progress, silent
from .taps import Taps

ROWS = 2048
"""Output positions sampled per layer over all frames, about."""
MIN_ROWS = 4
"""Of every frame."""


@dataclass(frozen=True)
class Patches:
    """``rows`` float32 [groups, n, K]: what K weights per output channel are multiplied with, n positions."""

    rows: Array

    def outputs(self, matrix: Array) -> Array:
        """Layer outputs without bias: [groups, n, channels of the group] for ``matrix`` [groups, channels, K]."""
        result: Array = np.matmul(self.rows, matrix.transpose(0, 2, 1))
        return result


def weight_matrix(layer: Layer, weight: Array) -> Array:
    """Weights as [groups, output channels of the group, K], the layout of :class:`Patches`."""
    if layer.op_type == "Conv":
        return weight.reshape(layer.group, weight.shape[0] // layer.group, -1)
    matrix = weight if layer.channel_axis == 0 else weight.T
    return matrix[None]


def from_matrix(layer: Layer, matrix: Array, shape: Sequence[int]) -> Array:
    """The way back from :func:`weight_matrix`."""
    if layer.op_type == "Conv":
        return matrix.reshape(shape)
    return np.ascontiguousarray(matrix[0] if layer.channel_axis == 0 else matrix[0].T)


def sampled(layer: Layer) -> bool:
    """Whether patches can be taken of this kind of layer (transposed convolutions scatter, so they cannot)."""
    return layer.op_type != "ConvTranspose"


def rows_per_frame(frames: int) -> int:
    """Positions to sample of every layer in each of so many frames."""
    return max(ROWS // max(frames, 1), MIN_ROWS)


def collect(
    network: Network,
    frames: Sequence[Array],
    layers: Sequence[Layer],
    *,
    threads: int | None = None,
    seed: int = 0,
) -> Iterator[dict[str, Patches]]:
    """Patches of ``layers`` by name, a bounded number of layers at a time, from the graph as it stands."""
    for survey in surveys(network, frames, [], layers, threads=threads, seed=seed):
        if survey.patches:
            yield survey.patches


@dataclass(frozen=True)
class Survey:
    """What one pass over the frames shows: of tensors, and of the layers that read them."""

    seen: dict[str, Observation]
    patches: dict[str, Patches]


def surveys(
    network: Network,
    frames: Sequence[Array],
    tensors: Sequence[str],
    layers: Sequence[Layer],
    *,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Iterator[Survey]:
    """Observations of ``tensors`` and patches of ``layers``, from the graph as it stands.

    There is one pass over the frames, and one more for every ``PATCH_BYTES`` of patches. All observations come
    with the first.

    Args:
        network: the graph.
        frames: prepared inputs of it.
        tensors: float tensors to observe.
        layers: to take patches of; transposed convolutions are left out.
        threads: of a run; None takes every core.
        seed: of the positions.
        progress: called with (what, done, of).
    """
    per_frame = rows_per_frame(len(frames))
    for chunk in _bounded(network, layers, per_frame * len(frames)):
        if not chunk and not tensors:
            continue
        taps = Taps(network, tensors, chunk, rows=per_frame, frame=frames[0], threads=threads, seed=seed)
        collectors = {name: Collector() for name in dict.fromkeys(tensors)}
        rows: dict[str, list[Array]] = {layer.name: [] for layer in chunk}
        for number, look in enumerate(taps.look(frames)):
            for name, collector in collectors.items():
                collector.add(look.lows[name], look.highs[name], look.values[name])
            for name, some in look.rows.items():
                rows[name].append(some)
            progress("ranges", number + 1, len(frames))
        del taps  # with its copy of the weights, before anything is made of the patches
        rng = np.random.default_rng(seed)
        patches = {}
        for name in list(rows):
            whole = np.concatenate(rows.pop(name), axis=1)
            # Shuffled, so that any leading part of the rows is drawn from all frames.
            patches[name] = Patches(whole[:, rng.permutation(whole.shape[1])])
        yield Survey({name: one.observation() for name, one in collectors.items()}, patches)
        tensors = []


PATCH_BYTES = 512 * 2**20


def _bounded(network: Network, layers: Sequence[Layer], rows: int) -> Iterator[list[Layer]]:
    """Chunks of layers whose patches stay below ``PATCH_BYTES`` together; one that is empty where there are none.

    Layers that read one tensor stay together.
    """
    by_input: dict[str, list[Layer]] = {}
    for layer in layers:
        if sampled(layer):
            by_input.setdefault(layer.input, []).append(layer)
    chunk: list[Layer] = []
    held = 0
    for group in by_input.values():
        size = sum(4 * rows * _values_per_row(network, layer) for layer in group)
        if chunk and held + size > PATCH_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.extend(group)
        held += size
    yield chunk


def _values_per_row(network: Network, layer: Layer) -> int:
    weight = network.constants[layer.weight]
    size = int(np.prod(weight.dims, dtype=np.int64))
    return size * layer.group // max(int(weight.dims[layer.channel_axis]), 1)

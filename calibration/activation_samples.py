"""Small random pieces of a layer's input, enough to compute some of its outputs exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.onnx_graph.network import Array, Layer, Network

from .observe import Collector, Observation, Progress, silent
from .taps import Look, Taps

ROWS = 2048
"""Output positions sampled per layer over all frames, about."""
MIN_ROWS_PER_FRAME = 4
"""Minimum number of positions sampled of a layer in every frame."""
PRODUCT = 2**33
"""Multiply-adds, about, of the product of a layer's patches with its weights: of a large layer fewer are taken."""
MIN_ROWS_PER_LAYER = 256
"""Minimum number of positions sampled of a layer: a mean over so many is known to a sixteenth of its deviation."""


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


def rows_per_frame(frames: int, weights: int = 1) -> int:
    """Positions to sample of a layer of so many weights in each of so many frames.

    >>> rows_per_frame(16), rows_per_frame(16, weights=12544 * 1024), rows_per_frame(16, weights=25088 * 4096)
    (128, 41, 16)
    """
    rows = min(ROWS, max(PRODUCT // max(weights, 1), MIN_ROWS_PER_LAYER))
    return max(rows // max(frames, 1), MIN_ROWS_PER_FRAME)


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

    def again(
        self, network: Network, frames: Sequence[Array], layers: Sequence[Layer], *, threads: int | None = None
    ) -> Survey:
        """The same of a graph of which only what ``layers`` read has changed; patches are held here no longer."""
        seen, patches = dict(self.seen), dict(self.patches)
        self.patches.clear()
        tensors = list(dict.fromkeys(layer.input for layer in layers))
        for one in surveys(network, frames, tensors, layers, threads=threads):
            seen |= one.seen
            patches |= one.patches
        return Survey(seen, patches)


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
    per_frame = {layer: rows_per_frame(len(frames), _weights(network, layer)) for layer in layers}
    for chunk in _bounded(network, {layer: rows * len(frames) for layer, rows in per_frame.items()}):
        if not chunk and not tensors:
            continue
        wanted = {layer: per_frame[layer] for layer in chunk}
        taps = Taps(network, tensors, wanted, frame=frames[0], threads=threads, seed=seed)
        gathering = Gathering(tensors, chunk, len(frames), seed=seed)
        for look in taps.look(frames):
            gathering.add(look)
            del look  # before the next frame is run
            progress("ranges", gathering.frames, len(frames))
        del taps  # before anything is made of the patches
        yield gathering.survey()
        tensors = []


def in_one_pass(network: Network, frames: int, layers: Sequence[Layer]) -> dict[Layer, int] | None:
    """Positions of every layer per frame, of so many; None where patches of them all are too much to be held."""
    per_frame = {layer: rows_per_frame(frames, _weights(network, layer)) for layer in layers}
    chunks = list(_bounded(network, {layer: rows * frames for layer, rows in per_frame.items()}))
    return {layer: per_frame[layer] for layer in chunks[0]} if len(chunks) == 1 else None


class Gathering:
    """Makes a :class:`Survey` of what frame after frame shows.

    Args:
        tensors: to observe.
        layers: to take patches of.
        frames: how many there will be.
        seed: of the order of the patches.

    Attributes:
        frames: how many there were.
    """

    def __init__(self, tensors: Iterable[str], layers: Iterable[Layer], frames: int, *, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._collectors = {name: Collector() for name in dict.fromkeys(tensors)}
        self._rows = {layer.name: _Shuffled(frames, rng) for layer in layers}
        self.frames = 0

    def add(self, look: Look) -> None:
        """Take what the next frame shows."""
        for name, collector in self._collectors.items():
            collector.add(look.lows[name], look.highs[name], look.values[name])
        for name, shuffled in self._rows.items():
            shuffled.add(look.rows[name])
        self.frames += 1

    def survey(self) -> Survey:
        """What was seen, which is not held here any longer."""
        patches = {name: Patches(one.whole) for name, one in self._rows.items()}
        self._rows.clear()
        return Survey({name: one.observation() for name, one in self._collectors.items()}, patches)


class _Shuffled:
    """Rows of frame after frame, each put at its place in an order of which any leading part is of all frames."""

    def __init__(self, frames: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._frames = frames
        self._taken = 0
        self.whole = np.zeros((0, 0, 0), np.float32)

    def add(self, rows: Array) -> None:
        """Those of the next frame: float32 [groups, n, K], n of every frame."""
        groups, count, width = rows.shape
        if not self._taken:
            self._places = self._rng.permutation(count * self._frames)
            self.whole = np.empty((groups, count * self._frames, width), np.float32)
        self.whole[:, self._places[self._taken : self._taken + count]] = rows
        self._taken += count


PATCH_BYTES = 512 * 2**20


def _bounded(network: Network, rows: Mapping[Layer, int]) -> Iterator[list[Layer]]:
    """Chunks of layers whose patches stay below ``PATCH_BYTES`` together; one that is empty where there are none.

    Layers that read one tensor stay together. ``rows``: of every layer.
    """
    by_input: dict[str, list[Layer]] = {}
    for layer in rows:
        if sampled(layer):
            by_input.setdefault(layer.input, []).append(layer)
    chunk: list[Layer] = []
    held = 0
    for group in by_input.values():
        size = sum(4 * rows[layer] * _values_per_row(network, layer) for layer in group)
        if chunk and held + size > PATCH_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.extend(group)
        held += size
    yield chunk


def _weights(network: Network, layer: Layer) -> int:
    return int(np.prod(network.constants[layer.weight].dims, dtype=np.int64))


def _values_per_row(network: Network, layer: Layer) -> int:
    channels = network.constants[layer.weight].dims[layer.channel_axis]
    return _weights(network, layer) * layer.group // max(int(channels), 1)

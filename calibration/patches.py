"""Small random pieces of a layer's input, enough to compute some of its outputs exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from edgedet.onnx_graph.network import Array, Layer, Network, attributes

from .executor import in_chunks, stream

ROWS = 2048
"""Output positions sampled per layer over all frames."""


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


def collect(
    network: Network,
    frames: Iterable[Array],
    layers: Sequence[Layer],
    *,
    threads: int | None = None,
    seed: int = 0,
) -> Iterator[dict[str, Patches]]:
    """Patches of ``layers`` by name, a bounded number of layers at a time, from the graph as it stands."""
    by_input: dict[str, list[Layer]] = {}
    for layer in layers:
        if sampled(layer):
            by_input.setdefault(layer.input, []).append(layer)
    count = sum(1 for _ in frames)
    per_frame = max(ROWS // max(count, 1), 16)
    for chunk in _bounded(network, by_input):
        rng = np.random.default_rng(seed)
        rows: dict[str, list[Array]] = {}
        for values in stream(network, frames, chunk, threads=threads):
            for tensor in chunk:
                for layer in by_input[tensor]:
                    rows.setdefault(layer.name, []).append(_sample(network, layer, values[tensor], per_frame, rng))
        # Shuffled, so that any leading part of the rows is drawn from all frames.
        order = rng.permutation(per_frame * count)
        yield {name: Patches(np.concatenate(parts, axis=1)[:, order]) for name, parts in rows.items()}


PATCH_BYTES = 512 * 2**20


def _bounded(network: Network, by_input: dict[str, list[Layer]]) -> Iterator[list[str]]:
    """Chunks of tensors whose patches stay below ``PATCH_BYTES`` together."""
    for tensors in in_chunks(network, list(by_input)):
        chunk: list[str] = []
        held = 0
        for tensor in tensors:
            size = sum(
                4
                * ROWS
                * network.constant(layer.weight).size
                * layer.group
                // max(network.constant(layer.weight).shape[layer.channel_axis], 1)
                for layer in by_input[tensor]
            )
            if chunk and held + size > PATCH_BYTES:
                yield chunk
                chunk, held = [], 0
            chunk.append(tensor)
            held += size
        if chunk:
            yield chunk


def _sample(network: Network, layer: Layer, value: Array, count: int, rng: np.random.Generator) -> Array:
    if layer.op_type != "Conv":
        rows = value.reshape(-1, value.shape[-1])
        return rows[rng.integers(0, len(rows), count)][None].astype(np.float32)
    node = network.nodes[layer.name]
    kernel = network.constants[layer.weight].dims[2:]
    if len(kernel) != 2:
        raise NotImplementedError
    stride, dilation, pads = convolution_geometry(node, kernel, value.shape[2:])
    padded = np.pad(value, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    extent = [dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    places = [(padded.shape[2 + i] - extent[i]) // stride[i] + 1 for i in range(2)]
    image = rng.integers(0, value.shape[0], count)
    top = rng.integers(0, max(places[0], 1), count) * stride[0]
    left = rng.integers(0, max(places[1], 1), count) * stride[1]
    dy = (np.arange(kernel[0]) * dilation[0])[:, None]
    dx = (np.arange(kernel[1]) * dilation[1])[None]
    # [count, C, kh, kw]
    taken = padded[
        image[:, None, None, None],
        np.arange(value.shape[1])[None, :, None, None],
        (top[:, None, None] + dy)[:, None],
        (left[:, None, None] + dx)[:, None],
    ]
    groups = taken.reshape(count, layer.group, -1)
    return np.ascontiguousarray(groups.transpose(1, 0, 2), dtype=np.float32)


def convolution_geometry(
    node: NodeProto, kernel: Sequence[int], size: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and pads (top, left, bottom, right) of a 2-D Conv node, ``auto_pad`` resolved."""
    settings = attributes(node)
    stride = list(settings.get("strides", [1, 1]))
    dilation = list(settings.get("dilations", [1, 1]))
    pads = list(settings.get("pads", [0, 0, 0, 0]))
    auto = settings.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(2):
            wanted = max(
                (-(-size[i] // stride[i]) - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - size[i], 0
            )
            smaller = wanted // 2
            pads[i], pads[i + 2] = (
                (smaller, wanted - smaller) if auto == "SAME_UPPER" else (wanted - smaller, smaller)
            )
    return stride, dilation, pads

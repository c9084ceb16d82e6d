"""A graph under conversion: which blob of ncnn's holds which tensor, and the layers written so far.

ncnn's blobs have one to four axes and none for the images of a batch, so a tensor [1, ...] of the graph becomes a
blob of its other axes, in their order. A blob may be flat where the tensor has axes of one more (the mean of each
channel); whoever needs them asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx

from edgedet.errors import ExportError
from edgedet.onnx_graph.network import Array, Network, attributes

from .param_bin import Layer, Setting

MAX_AXES = 4
INSTEAD = "export an .onnx file, for ONNX Runtime or OpenVINO"
"""What to do about a network that ncnn cannot run."""


@dataclass(frozen=True)
class Blob:
    """A blob of ncnn's.

    Attributes:
        name: in the ``.param``.
        shape: its sizes, in the order of the tensor's: channels, (depth,) height, width.
        moved: the blob whose axes were moved to get this one, and how; None for others.
    """

    name: str
    shape: tuple[int, ...]
    moved: tuple[Blob, tuple[int, ...]] | None = None


class Conversion:
    """Tensors of a graph as blobs, and the layers that make them.

    Attributes:
        network: the graph.
        shapes: of all its tensors, images first.
        layers: written so far, in order.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.shapes = network.shapes()
        self.layers: list[Layer] = []
        self._blobs: dict[str, Blob] = {}
        self._makers: dict[str, Layer] = {}

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Sizes of a tensor without its first axis, the images.

        Raises:
            ExportError: it has no such axis, or more axes than ncnn has, or sizes that are not known.
        """
        sizes = self.shapes.get(tensor, ())
        if len(sizes) < 2 or sizes[0] != 1 or 0 in sizes or len(sizes) > MAX_AXES + 1:
            raise ExportError(
                f"the tensor {tensor} of the graph is {list(sizes)}, and ncnn holds one image of at most "
                f"{MAX_AXES} axes; {INSTEAD}"
            )
        return sizes[1:]

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is a constant of the graph."""
        return tensor in self.network.constants

    def constant(self, tensor: str) -> Array:
        """The value of a constant of the graph."""
        return self.network.constant(tensor)

    def read(self, tensor: str) -> Blob:
        """The blob that holds a tensor, with all its axes."""
        if self.is_constant(tensor):
            value = self.constant(tensor)
            return self.memory(value.reshape(self.shape(tensor)), tensor)
        blob = self._blobs[tensor]
        return blob if blob.shape == self.shape(tensor) else self.reshaped(blob, self.shape(tensor))

    def read_flat(self, tensor: str) -> Blob | None:
        """The blob of a tensor where it is flat so far; None else."""
        blob = None if self.is_constant(tensor) else self._blobs[tensor]
        return blob if blob is not None and len(blob.shape) == 1 < len(self.shapes[tensor]) - 1 else None

    def hold(self, tensor: str, blob: Blob) -> None:
        """Say that ``blob`` holds ``tensor``."""
        self._blobs[tensor] = blob

    def maker(self, tensor: str) -> Layer | None:
        """The layer that made the blob of a tensor."""
        blob = self._blobs.get(tensor)
        return None if blob is None else self._makers.get(blob.name)

    def add(
        self,
        kind: str,
        inputs: Sequence[Blob],
        *shapes: Sequence[int],
        settings: Mapping[int, Setting] | None = None,
        tagged: Array | None = None,
        plain: Sequence[Array] = (),
    ) -> tuple[Blob, ...]:
        """Write a layer with an output of each of ``shapes``; the others as :class:`Layer` has them."""
        name = f"{kind.lower()}{len(self.layers)}"
        outputs = [name] if len(shapes) == 1 else [f"{name}_out{index}" for index in range(len(shapes))]
        layer = Layer(
            kind, name, [blob.name for blob in inputs], outputs, dict(settings or {}), tagged, tuple(plain)
        )
        self.layers.append(layer)
        self._makers |= dict.fromkeys(outputs, layer)
        return tuple(Blob(output, tuple(shape)) for output, shape in zip(outputs, shapes, strict=True))

    def memory(self, value: Array, tensor: str) -> Blob:
        """A constant as a blob of its own shape.

        Raises:
            ExportError: it is not of floats.
        """
        if value.dtype.kind != "f":
            raise ExportError(f"the constant {tensor} is of {value.dtype}, and ncnn computes with floats alone")
        (blob,) = self.add("MemoryData", [], value.shape, settings=_sizes(value.shape), plain=[value])
        return blob

    def reshaped(self, blob: Blob, shape: Sequence[int]) -> Blob:
        """The same numbers in the same order, with other axes."""
        assert prod(blob.shape) == prod(shape), (blob, shape)
        if blob.shape == tuple(shape):
            return blob
        (found,) = self.add("Reshape", [blob], shape, settings=_sizes(shape))
        return found

    def refused(self, node: onnx.NodeProto, what: str = "") -> ExportError:
        """What to raise where a node cannot be had from ncnn. ``what``: in what form, if not in any."""
        return ExportError(
            f"ncnn has no layer that does {node.op_type}{f' {what}' if what else ''} as ONNX has it "
            f"({node.name or node.output[0]}); {INSTEAD}"
        )

    def settings(self, node: onnx.NodeProto) -> dict[str, Any]:
        """A node's attributes."""
        return attributes(node)

    def ints(self, node: onnx.NodeProto, place: int, attribute: str = "") -> list[int] | None:
        """Whole numbers a node takes as a constant input or, in older operator sets, as an attribute.

        Raises:
            ExportError: they are computed.
        """
        if len(node.input) > place and node.input[place]:
            if not self.is_constant(node.input[place]):
                raise self.refused(node, "with sizes that the graph computes")
            return [int(value) for value in self.constant(node.input[place]).reshape(-1)]
        value = self.settings(node).get(attribute) if attribute else None
        return None if value is None else [int(each) for each in np.reshape(value, -1)]


def _sizes(shape: Sequence[int]) -> dict[int, Setting]:
    """Sizes as Reshape and MemoryData take them: 0 width, 1 height, 11 depth, 2 channels."""
    keys = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}[len(shape)]
    return dict(zip(keys, map(int, shape), strict=True))

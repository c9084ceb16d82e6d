"""What the two dialects have in common: units that are INT8 or not, and a way to write them into a graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edgedet.onnx_graph.network import Layer, Network

from .fitting import Fit
from .grid import GridKind
from .qdq import Writer

LayerChoice = Literal["dense", "all"]
"""``dense``: layers that INT8 makes faster on a GPU. ``all``: depthwise and tiny ones too."""


@dataclass(frozen=True)
class Unit:
    """The smallest thing that is INT8 or not: one layer for TensorRT, a layer with its followers for the CPU.

    ``nodes``: all its nodes, layers included, in order. ``gain``: what INT8 saves, relative to the other units.
    """

    name: str
    layers: tuple[Layer, ...]
    nodes: tuple[str, ...]
    gain: float

    @property
    def multiply_adds(self) -> int:
        """Of its layers, per forward pass."""
        return sum(layer.multiply_adds for layer in self.layers)


class Dialect(Protocol):
    """How INT8 is written for one kind of runtime."""

    name: str
    kind: GridKind
    weight_bits: int

    def adapt(self, network: Network) -> Network:
        """Rewrite operators the runtime would only run in float; the result computes the same."""

    def units(self, network: Network, layers: Sequence[Layer]) -> tuple[list[Unit], dict[str, str]]:
        """Units worth quantising, and the layers that are not, by name, with the reason."""

    def tensors(self, network: Network, units: Collection[Unit]) -> list[str]:
        """Activations that need a grid when ``units`` are INT8."""

    def place(self, network: Network, fit: Fit, units: Collection[Unit], writer: Writer) -> Network:
        """Write ``units`` in INT8 into the writer's network (a copy of ``network``) and return it."""

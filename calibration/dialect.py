"""The contract of a dialect: what INT8 is for one kind of runtime, and every step that differs between two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import onnx

from edgedet.onnx_graph.network import Array, Layer, Network

from .executor import Fusion
from .fitting import Fit
from .observe import Progress
from .qdq import Writer
from .quantisation_grid import GridKind

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
        """Multiply-adds of its layers, per forward pass."""
        return sum(layer.multiply_adds for layer in self.layers)


Build = Callable[[Sequence[Unit]], onnx.ModelProto]
"""Makes the finished graph with the given units in INT8."""


@dataclass(frozen=True)
class Trial:
    """What became of a finished graph on its target, as far as this machine can tell.

    Attributes:
        pays: False where the float graph is the better one to ship.
        latency_ms: milliseconds per run of the float graph (``fp32``) and the finished one (``int8``); None
            where this machine is not the target.
    """

    pays: bool = True
    latency_ms: dict[str, float] | None = None


class Dialect(Protocol):
    """How INT8 is written for one kind of runtime, in the order in which a quantisation asks."""

    name: str
    kind: GridKind
    weight_bits: int
    fusion: Fusion
    """How ONNX Runtime has to run a finished graph to compute what the target computes."""
    min_share: float
    """Share of the multiply-adds that a graph must have in INT8 to be what was asked for."""
    settled: bool
    """Whether :meth:`units` is the last word on what is quantised: no race here, no balancing."""
    rest_in_half: bool
    """Whether what is left of the float graph will run in fp16, which does not hold every value."""

    def adapt(self, network: Network) -> Network:
        """Rewrite operators the runtime would only run in float; the result computes the same."""

    def units(self, network: Network, layers: Sequence[Layer]) -> tuple[list[Unit], dict[str, str]]:
        """Units worth quantising, and the layers that are not, by name, with the reason."""

    def paying(
        self,
        network: Network,
        units: Sequence[Unit],
        frame: Array,
        *,
        cache: Path | None,
        threads: int | None,
        progress: Progress,
    ) -> list[Unit]:
        """The units that gain time, told before anything is fitted, which takes minutes.

        Args:
            network: the adapted float graph.
            units: those to choose from.
            frame: one prepared input of the graph.
            cache: folder for what was measured; None keeps nothing.
            threads: of a run; None takes every core.
            progress: called with (what, done, of).
        """

    def balance(
        self,
        network: Network,
        layers: Sequence[Layer],
        frames: Sequence[Array],
        *,
        threads: int | None,
        progress: Progress,
    ) -> dict[str, float]:
        """Balance channels in place (:mod:`edgedet.calibration.smooth_quant`) where the dialect can use it.

        Returns:
            The factor that remains of the error variance, by layer; empty where nothing was changed.
        """

    def tensors(self, network: Network, units: Collection[Unit]) -> list[str]:
        """Activations that need a grid when ``units`` are INT8."""

    def place(self, network: Network, fit: Fit, units: Collection[Unit], writer: Writer) -> Network:
        """Write ``units`` in INT8 into the writer's network (a copy of ``network``) and return it."""

    def still_paying(self, units: Sequence[Unit], build: Build, frame: Array, *, progress: Progress) -> list[Unit]:
        """Those of ``units`` that gain time now that the guard has given others back."""

    def try_out(
        self,
        before: onnx.ModelProto,
        finished: onnx.ModelProto,
        frame: Array,
        *,
        threads: int | None,
    ) -> Trial:
        """Hold a finished graph to what its target asks for; ``before``: the float graph.

        Raises:
            ExportError: the target would not run it as meant (a defect of edgedet).
        """

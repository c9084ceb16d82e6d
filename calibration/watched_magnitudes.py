"""How large some tensors of a graph become while it is judged, so that nobody has to run it again to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper

from edgedet.onnx_graph.network import Array
from edgedet.onnx_graph.rewriting import place_behind

from .executor import Fusion, GraphRunner

ENDS = ("ReduceMin", "ReduceMax")


@dataclass(frozen=True)
class Magnitudes:
    """How large tensors became while a graph was run, for who wants to know whether fp16 holds them.

    Attributes:
        frames: number of runs.
        largest: largest absolute value over all of them, by tensor; 0 where some were no numbers.
        bounds: what no run can exceed, by tensor, as arithmetic has it; empty where nobody asked.

    >>> seen = Magnitudes(24, {"stem_out": 21.5})
    >>> seen.frames, seen.largest["stem_out"]
    (24, 21.5)
    """

    frames: int
    largest: dict[str, float]
    bounds: dict[str, float] = field(default_factory=dict)


class WatchedRunner(GraphRunner):
    """A graph as a function of its input that keeps how large some of its tensors become.

    Args:
        model: the graph; it is not changed.
        tensors: names of float tensors of it.
        fusion: as of :class:`edgedet.calibration.executor.GraphRunner`, ``threads`` too.
    """

    def __init__(
        self, model: onnx.ModelProto, tensors: Sequence[str], *, fusion: Fusion, threads: int | None
    ) -> None:
        self._tensors = list(tensors)
        self._reached: list[list[float]] = []
        super().__init__(_with_ends(model, self._tensors), fusion=fusion, threads=threads)

    def with_inputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, those of the graph alone."""
        found = super().with_inputs(inputs)
        ends = [[float(found.pop(_end(name, kind))) for kind in ENDS] for name in self._tensors]
        # Appending is one step, whichever lane does it.
        self._reached.append([_magnitude(low, high) for low, high in ends])
        return found

    @property
    def magnitudes(self) -> Magnitudes:
        """What was seen so far."""
        largest = np.max(
            np.array(self._reached).reshape(len(self._reached), len(self._tensors)), axis=0, initial=0.0
        )
        # As an Observation has it.
        largest[~np.isfinite(largest)] = 0.0
        return Magnitudes(len(self._reached), dict(zip(self._tensors, largest.tolist(), strict=True)))


def _magnitude(low: float, high: float) -> float:
    """Largest absolute value between these ends; infinite where some are no numbers, 0 of an empty tensor."""
    if low > high:
        return 0.0
    return max(-low, high) if np.isfinite([low, high]).all() else np.inf


def _end(tensor: str, kind: str) -> str:
    return f"{tensor}/{kind}"


def _with_ends(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy of the graph that also gives out the smallest and the largest value of every tensor."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    place_behind(
        watched.graph,
        {
            name: [
                helper.make_node(kind, [name], [_end(name, kind)], _end(name, kind), keepdims=0) for kind in ENDS
            ]
            for name in tensors
        },
    )
    watched.graph.output.extend(
        helper.make_tensor_value_info(_end(name, kind), onnx.TensorProto.FLOAT, [])
        for name in tensors
        for kind in ENDS
    )
    return watched

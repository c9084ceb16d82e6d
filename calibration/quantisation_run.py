"""One quantisation in progress: the fitted graph, and everything that can be asked of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import onnx

from edgedet.onnx_graph.network import Array, Layer, Network

from .activation_samples import Survey
from .calibration_frames import Sample
from .decoder_boundary import decoding
from .dialect import Dialect, Unit
from .effort import Effort
from .executor import GraphRunner
from .fit_serialisation import pack, unpack
from .fitting import fit
from .fp16 import HALF_OPERATORS, bounds_of, unproven
from .frame_suitability import Sight
from .judge import ComparingJudge
from .judge_validity import require_judgement
from .measurement_cache import Ledger, digest_of, digest_of_each
from .observe import Progress
from .qdq import Writer
from .watched_magnitudes import Magnitudes, WatchedRunner


class Quantisation:
    """A network fitted to calibration frames in one dialect.

    ``sight``: what it is fitted to and judged on. ``candidates``: units that can be INT8.
    ``survey``: of the network on these frames, where there is one; it is used up.
    ``reference``: the judge's figure of the float graph, None where it has nothing to judge by.
    ``ledger``: what was measured for exactly this graph, these frames, this judge and this dialect.

    Raises:
        CalibrationError: the judge would let an INT8 graph pass that finds nothing (:func:`require_judgement`).
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[Layer],
        dialect: Dialect,
        frames: Sequence[Array],
        sight: Sight,
        *,
        candidates: Sequence[Unit],
        effort: Effort,
        cache: Path | None,
        threads: int | None,
        max_drop: float,
        survey: Survey | None,
        progress: Progress,
    ) -> None:
        self.network = network
        self.layers = layers
        self.dialect = dialect
        self._threads = threads
        self._sight = sight
        self.judge = judge = sight.judge
        self.frames = Sample(sight.frames, effort.frames)
        self.frames_digest = digest_of_each(frames)
        self.ledger = Ledger(
            cache,
            digest_of(
                *network.parts(),
                self.frames_digest,
                judge.digest,
                sight.margin,
                dialect.name,
                dialect.weight_bits,
                [unit.name for unit in candidates],
                effort,
            ),
        )
        self.candidates = list(candidates)
        self.reference: float | None = self.ledger.figure("reference", partial(self._float_figure, progress))
        if self.candidates:
            # Before ranges and weights are fitted.
            require_judgement(judge, self.reference, max_drop)
        chosen = [layer for unit in self.candidates for layer in unit.layers]
        fitted = self.ledger.arrays(
            lambda: pack(
                fit(
                    network,
                    self.frames,
                    chosen,
                    tensors=dialect.tensors(network, self.candidates),
                    kind=dialect.kind,
                    weight_bits=dialect.weight_bits,
                    margin=sight.margin,
                    survey=survey,
                    threads=threads,
                    progress=progress,
                )
            )
        )
        if survey is not None:
            # Which whoever resumes has not used.
            survey.patches.clear()
        self.fit = unpack(fitted)
        self._units = {unit.name: unit for unit in self.candidates}
        self._built: tuple[frozenset[str], onnx.ModelProto] | None = None
        self._magnitudes: Magnitudes | None = None

    def _float_figure(self, progress: Progress) -> float | None:
        if isinstance(self.judge, ComparingJudge):
            return self.judge.unchanged
        progress("float accuracy", 0, 0)
        return self.judge(self._float_graph())

    def _float_graph(self) -> GraphRunner:
        return GraphRunner(self._sight.opening(self.network.model), threads=self._threads)

    @cached_property
    def _expected(self) -> list[Any]:
        """What the float graph finds on the probe frames."""
        return list(self._sight.reader(self._float_graph(), self._sight.probes))

    def build(self, units: Collection[Unit]) -> onnx.ModelProto:
        """The graph with ``units`` in INT8, as it will be shipped; not to be changed: the last one is kept."""
        names = frozenset(unit.name for unit in units)
        if self._built is None or self._built[0] != names:
            built = self.dialect.place(self.network, self.fit, units, Writer(self.network.copy())).model
            self._built = names, built
        return self._built[1]

    def runner_with(self, on: Collection[str]) -> GraphRunner:
        """The graph with the named units in INT8, run in the arithmetic of its target."""
        model = self.build([unit for unit in self.candidates if unit.name in on])
        return GraphRunner(self._sight.opening(model), fusion=self.dialect.fusion, threads=self._threads)

    def figure_with(self, on: Collection[str]) -> float | None:
        """The judge's figure with the named units in INT8."""
        if not on:
            return self.reference
        if len(on) < len(self.candidates) or not self.dialect.rest_in_half or self._sight.blind:
            return self.judge(self.runner_with(on))
        # Most often this is the graph that is shipped, and what fp16 may not hold of it can be seen on the way.
        model = self.build(self.candidates)
        network = Network(model)
        bounds = bounds_of(network, self.frames)
        runner = WatchedRunner(
            self._sight.opening(model),
            self._unproven(network, bounds),
            fusion=self.dialect.fusion,
            threads=self._threads,
        )
        figure = self.judge(runner)
        self._magnitudes = replace(runner.magnitudes, bounds=bounds)
        return figure

    def magnitudes_with(self, units: Collection[Unit]) -> Magnitudes | None:
        """How large tensors became that fp16 may not hold, while the graph was judged; None where nobody looked."""
        return self._magnitudes if len(units) == len(self.candidates) else None

    def _unproven(self, network: Network, bounds: Mapping[str, float]) -> list[str]:
        box = decoding(self.network)
        nodes = {
            node.name for node in network.graph.node if node.op_type in HALF_OPERATORS and node.name not in box
        }
        # Tensors have the names and types that they have in the float graph.
        return unproven(network, self.network.element_types(), nodes, bounds)

    def loss_of(self, name: str) -> float | None:
        """Agreement with the float graph lost on the probe frames by one unit alone; None where none is there."""
        kept = self._sight.likeness(
            self._expected, list(self._sight.reader(self.runner_with({name}), self._sight.probes))
        )
        return None if kept is None else 1 - kept

    def disturbance_of(self, name: str) -> float:
        """How much INT8 disturbs a unit's own outputs, as a share of their power."""
        return sum(self.fit.layers[layer.name].error for layer in self._units[name].layers)

    def share(self, units: Collection[Unit]) -> float:
        """Share of the multiply-adds of all layers that ``units`` perform."""
        total = sum(layer.multiply_adds for layer in self.layers)
        return sum(unit.multiply_adds for unit in units) / max(total, 1)

"""One quantisation in progress: the fitted graph, and everything that can be asked of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.onnx_graph.network import Array, Layer, Network

from .agreement import agreement
from .dialect import Dialect, Unit
from .executor import Fusion, open_session
from .fitting import fit
from .judge import AgreementJudge, Judge, Reader, Run
from .judgement import require_judgement
from .ledger import Ledger, digest_of
from .observe import Observation, Progress, observe
from .qdq import Writer
from .switchboard import Switchboard

PROBES = 12
"""Calibration frames on which single units are tried."""
JUDGED_FRAMES = 64
"""Calibration frames that stand in for an evaluation set where there are no labels."""


class Quantisation:
    """A network fitted to calibration frames in one dialect.

    ``candidates``: units that can be INT8.
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
        card: ModelCard,
        frames: Sequence[Array],
        *,
        candidates: Sequence[Unit],
        judge: Judge | None,
        cache: Path | None,
        threads: int | None,
        max_drop: float,
        progress: Progress,
    ) -> None:
        self.network = network
        self.layers = layers
        self.dialect = dialect
        self.frames = frames
        self._threads = threads
        self._progress = progress
        self._reader = Reader(card, network.outputs)
        self._float = self.runner(network.model, "fused")
        if judge is None:
            judged = [frames[i] for i in spread(len(frames), JUDGED_FRAMES)]
            judge = AgreementJudge(card, judged, network.outputs, self._float)
        self.judge = judge
        self.frames_digest = digest_of(*(np.asarray(frame) for frame in frames))
        graph = network.graph.SerializeToString(deterministic=True)
        self.ledger = Ledger(
            cache,
            digest_of(
                graph,
                self.frames_digest,
                judge.digest,
                dialect.name,
                dialect.weight_bits,
                [unit.name for unit in candidates],
            ),
        )
        self.candidates = list(candidates)
        self.reference: float | None = self.ledger.figure("reference", lambda: judge(self._float))
        if self.candidates:
            # Before ranges and weights are fitted, which takes minutes.
            require_judgement(judge, self.reference, max_drop)
        self.seen = self._observe()
        self.fit = fit(
            network,
            frames,
            [layer for unit in self.candidates for layer in unit.layers],
            self.seen,
            tensors=dialect.tensors(network, self.candidates),
            kind=dialect.kind,
            weight_bits=dialect.weight_bits,
            threads=threads,
            progress=progress,
        )
        self._board: Switchboard | None = None
        self._probes = [frames[i] for i in spread(len(frames), PROBES)]
        self._expected = [found for frame in self._probes for found in self._reader(self._float, frame)]

    def _observe(self) -> dict[str, Observation]:
        tensors = self.dialect.tensors(self.network, self.candidates)

        def measure() -> dict[str, Any]:
            seen = observe(self.network, self.frames, tensors, threads=self._threads, progress=self._progress)
            return {
                f"{name}|{part}": value
                for name, one in seen.items()
                for part, value in (
                    ("ends", np.array([one.low, one.high])),
                    ("counts", one.counts),
                    ("channels", one.channel_high),
                )
            }

        stored = self.ledger.arrays(measure)
        return {
            name: Observation(
                low=float(stored[f"{name}|ends"][0]),
                high=float(stored[f"{name}|ends"][1]),
                counts=stored[f"{name}|counts"],
                channel_high=stored[f"{name}|channels"],
            )
            for name in tensors
        }

    def build(self, units: Collection[Unit]) -> onnx.ModelProto:
        """The graph with ``units`` in INT8, as it will be shipped."""
        return self.dialect.place(self.network, self.fit, units, Writer(self.network.copy())).model

    def runner(self, model: onnx.ModelProto, fusion: Fusion) -> Run:
        """A graph as a function of one prepared tensor."""
        session = open_session(model, fusion=fusion, threads=self._threads)
        name = session.get_inputs()[0].name
        outputs = [output.name for output in session.get_outputs()]
        return lambda tensor: dict(zip(outputs, session.run(outputs, {name: tensor}), strict=True))

    @property
    def board(self) -> Switchboard:
        """All candidates behind switches."""
        if self._board is None:
            self._board = Switchboard(self.network, self.dialect, self.fit, self.candidates, threads=self._threads)
        return self._board

    def figure_with(self, on: Collection[str]) -> float | None:
        """The judge's figure with the named units in INT8."""
        return self.judge(self.board.run(on)) if on else self.reference

    def loss_of(self, name: str) -> float | None:
        """Agreement with the float graph lost on the probe frames by one unit alone; None where none is there."""
        run = self.board.run({name})
        found = [one for frame in self._probes for one in self._reader(run, frame)]
        kept = agreement(self._expected, found)
        return None if kept is None else 1 - kept

    def figure_of(self, model: onnx.ModelProto) -> float | None:
        """The judge's figure of a finished graph, in the arithmetic of its target."""
        return self.judge(self.runner(model, self.dialect.fusion))

    def share(self, units: Collection[Unit]) -> float:
        """Share of the multiply-adds of all layers that ``units`` perform."""
        total = sum(layer.multiply_adds for layer in self.layers)
        return sum(unit.multiply_adds for unit in units) / max(total, 1)


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices evenly spaced over ``count``.

    >>> spread(10, 3), spread(2, 5)
    ([0, 4, 9], [0, 1])
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, wanted))})

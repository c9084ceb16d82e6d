"""One session that runs any combination of units in INT8."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from edgedet.onnx_graph.network import Array, Network

from .dialect import Dialect, Unit
from .executor import open_session
from .fitting import Fit
from .judge import Run
from .qdq import SWITCHES, SwitchWriter


class Switchboard:
    """The fitted graph with every unit behind a switch (:class:`SwitchWriter`)."""

    def __init__(
        self, network: Network, dialect: Dialect, fit: Fit, units: Sequence[Unit], *, threads: int | None = None
    ) -> None:
        self._names = [unit.name for unit in units]
        writer = SwitchWriter(network.copy(), self._names)
        model = dialect.place(network, fit, units, writer).model
        self._session = open_session(model, fusion="separate", threads=threads)
        self._input = network.inputs[0]
        self.outputs = tuple(network.outputs)

    def run(self, on: Collection[str]) -> Run:
        """The graph with the units named in ``on`` in INT8 and all others in float."""
        switches = np.array([name in on for name in self._names])

        def run(tensor: Array) -> dict[str, Array]:
            feed = {self._input: tensor, SWITCHES: switches}
            return dict(zip(self.outputs, self._session.run(list(self.outputs), feed), strict=True))

        return run

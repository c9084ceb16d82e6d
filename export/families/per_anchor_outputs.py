"""What a head gives for every anchor beside its box and scores, of the final detections: an output of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.onnx_graph.builder import GraphBuilder

from .nms import Chosen


@dataclass(frozen=True)
class Further:
    """A tensor of the graph with ``width`` numbers for every anchor: [N, A, width], or with ``columns``
    [N, width, A]."""

    tensor: str
    width: int
    columns: bool


def add_rows(graph: GraphBuilder, further: Further, chosen: Chosen | None, *, batch: int, name: str) -> str:
    """``further`` of the detections [N, K, width], with anything past the last one; of every anchor [N, A, width]
    where ``chosen`` is None, since the choice is the runtime's."""
    if chosen is None:
        if not further.columns:
            return further.tensor
        return graph.op("Transpose", further.tensor, name=f"{name}/rows", perm=[0, 2, 1])
    if not further.columns:
        column = graph.op("Unsqueeze", chosen.index, graph.ints(-1), name=f"{name}/index_column")
        return graph.op("GatherND", further.tensor, column, name=f"{name}/rows", batch_dims=1)
    # Only the chosen columns are turned into rows.
    row = graph.op("Unsqueeze", chosen.index, graph.ints(1), name=f"{name}/index_row")
    shape = graph.ints(batch, further.width, chosen.count)
    index = graph.op("Expand", row, shape, name=f"{name}/index")
    taken = graph.op("GatherElements", further.tensor, index, name=f"{name}/columns", axis=2)
    return graph.op("Transpose", taken, name=f"{name}/rows", perm=[0, 2, 1])


def add_output(graph: GraphBuilder, rows: str, chosen: Chosen | None, shape: Sequence[int], *, name: str) -> None:
    """``rows`` float32 of ``shape`` [N, K, ...] as the output ``name``, zero past the last detection."""
    if chosen is not None:
        axes = graph.ints(*range(2, len(shape)))
        found = graph.op("Unsqueeze", chosen.found, axes, name=f"{name}/found")
        rows = graph.op("Where", found, rows, graph.constant(np.float32(0)), name=f"{name}/of_found")
    graph.output(rows, name, "float32", tuple(shape))

"""What a head gives for every anchor beside its box and scores, of the final detections: an output of its own."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.onnx_graph.builder import GraphBuilder

from .nms import Chosen


@dataclass(frozen=True)
class Further:
    """A tensor of the graph with ``width`` numbers for every anchor: [N, A, width], or with ``columns``
    [N, width, A]."""

    tensor: str
    width: int
    columns: bool


def add_numbers(graph: GraphBuilder, further: Further, chosen: Chosen | None, *, batch: int, name: str) -> str:
    """``further`` of the detections [N, K, width], zero past the last one; of every anchor [N, A, width] where
    ``chosen`` is None, since the choice is the runtime's."""
    if chosen is None:
        if not further.columns:
            return further.tensor
        return graph.op("Transpose", further.tensor, name=f"{name}/rows", perm=[0, 2, 1])
    if further.columns:
        # Only the chosen columns are turned into rows.
        row = graph.op("Unsqueeze", chosen.index, graph.ints(1), name=f"{name}/index_row")
        shape = graph.ints(batch, further.width, chosen.count)
        index = graph.op("Expand", row, shape, name=f"{name}/index")
        taken = graph.op("GatherElements", further.tensor, index, name=f"{name}/columns", axis=2)
        taken = graph.op("Transpose", taken, name=f"{name}/rows", perm=[0, 2, 1])
    else:
        column = graph.op("Unsqueeze", chosen.index, graph.ints(-1), name=f"{name}/index_column")
        taken = graph.op("GatherND", further.tensor, column, name=f"{name}/rows", batch_dims=1)
    found = graph.op("Unsqueeze", chosen.found, graph.ints(-1), name=f"{name}/found")
    return graph.op("Where", found, taken, graph.constant(0.0), name=f"{name}/of_found")

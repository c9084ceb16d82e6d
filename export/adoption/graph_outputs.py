"""Ends of a foreign graph: its outputs, or inner tensors that its user names in their place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from edgedet.errors import UsageError
from edgedet.onnx_graph.cleaning import remove_dead


def end_at(model: onnx.ModelProto, names: Sequence[str], path: Path) -> None:
    """Leave ``model`` the outputs ``names``, in place; what only came behind them goes.

    Raises:
        UsageError: there is no such tensor; those that are outputs are named, with their shapes.
    """
    graph = model.graph
    made = {name for node in graph.node for name in node.output if name}
    made |= {tensor.name for tensor in graph.initializer}
    for name in names:
        if name not in made:
            there = ", ".join(f"{value.name} {_shape(value)}" for value in graph.output)
            raise UsageError(
                f"{path} has no output {name!r}, and no inner tensor of this name; its outputs are {there}"
            )
    outputs = {value.name: value.SerializeToString() for value in graph.output}
    kept = []
    for name in dict.fromkeys(names):
        if name in outputs:
            kept.append(onnx.ValueInfoProto.FromString(outputs[name]))
        else:
            kept.append(onnx.helper.make_empty_tensor_value_info(name))
    del graph.output[:]
    graph.output.extend(kept)
    remove_dead(graph)


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [size.dim_value or size.dim_param or "?" for size in value.type.tensor_type.shape.dim]

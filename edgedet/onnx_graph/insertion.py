"""Adding nodes to a graph without losing its topological order."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from edgedet.onnx_graph.network import Network


def insert(network: Network, new_nodes: Sequence[onnx.NodeProto]) -> None:
    """Merge ``new_nodes`` into the graph, each just before its first reader; unused constants are removed.

    New nodes that only feed graph outputs go to the end. Stored shapes are dropped: names changed meaning.
    """
    graph = network.graph
    by_output = {name: node for node in new_nodes for name in node.output}
    ordered: list[onnx.NodeProto] = []
    placed: set[int] = set()

    def place(name: str) -> None:
        node = by_output.get(name)
        if node is not None and id(node) not in placed:
            placed.add(id(node))
            for source in node.input:
                place(source)
            ordered.append(node)

    for node in graph.node:
        for name in node.input:
            place(name)
        ordered.append(node)
    for output in graph.output:
        place(output.name)
    nodes = [_copy(node) for node in ordered]
    used = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    constants = [_copy(constant) for constant in graph.initializer if constant.name in used]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(constants)
    del graph.value_info[:]
    network.refresh()


def _copy(message):  # type: ignore[no-untyped-def]
    duplicate = type(message)()
    duplicate.CopyFrom(message)
    return duplicate

"""Exchanging and adding nodes of a finished graph, so that every node still comes before its readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx

from edgedet.onnx_graph.cleaning import keep_constants
from edgedet.onnx_graph.network import Network


def with_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    """Exchange the nodes of ``model``, in place.

    Args:
        model: the graph; constants that no node reads any more go, shapes are inferred anew.
        nodes: all that it is to have, in any order.

    Returns:
        ``model``.
    """
    producer = {name: node for node in nodes for name in node.output}
    ordered: list[onnx.NodeProto] = []
    placed: set[str] = set()
    for last in nodes:
        waiting = [last]
        while waiting:
            node = waiting[-1]
            missing = [producer[name] for name in node.input if name in producer and name not in placed]
            if missing:
                waiting.extend(missing)
                continue
            waiting.pop()
            if node.output[0] not in placed:
                placed.update(node.output)
                ordered.append(node)
    _exchange(model.graph, ordered)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    model.graph.value_info.extend(inferred.graph.value_info)
    return model


def place_behind(graph: onnx.GraphProto, added: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Add nodes, each where a tensor is made that it reads.

    Args:
        graph: changed in place.
        added: by that tensor.
    """
    nodes = [node for value in graph.input for node in added.get(value.name, ())]
    for node in graph.node:
        # A copy, since clearing the field frees what the old message points to.
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
        nodes.extend(one for output in node.output for one in added.get(output, ()))
    del graph.node[:]
    graph.node.extend(nodes)


def insert(network: Network, new_nodes: Sequence[onnx.NodeProto]) -> None:
    """Add nodes to the graph, each just before its first reader, and index it anew.

    Args:
        network: the graph, changed in place; constants that no node reads go, and so do stored shapes, since names
            changed their meaning.
        new_nodes: in any order. Those that only feed graph outputs go to the end, those that nothing reads are
            left out.
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
    _exchange(graph, ordered)
    network.refresh()


def _exchange(graph: onnx.GraphProto, ordered: Iterable[onnx.NodeProto]) -> None:
    """Put ``ordered`` in place of all nodes, and keep only the constants that they read or that are outputs."""
    # Copies, since clearing a field frees what the old messages point to.
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    used = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    keep_constants(graph, used)

"""Exchanging nodes of a finished graph."""

from __future__ import annotations

import onnx


def with_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Exchange the nodes, given in any order; constants that none of them reads go, shapes are inferred anew."""
    graph = model.graph
    producer = {name: node for node in nodes for name in node.output}
    copies: list[onnx.NodeProto] = []
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
                copies.append(onnx.NodeProto())
                copies[-1].CopyFrom(node)
    read = {name for node in copies for name in node.input}
    kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in graph.initializer if t.name in read]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.initializer.extend(kept)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    graph.value_info.extend(inferred.graph.value_info)
    return model

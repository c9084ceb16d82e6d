"""Nodes are added where they belong."""

from __future__ import annotations

from onnx import TensorProto, helper

from edgedet.onnx_graph.rewriting import place_behind


def test_nodes_are_placed_where_the_tensor_is_made_that_they_read() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["a"], "a"), helper.make_node("Neg", ["a"], ["b"], "b")],
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
    )
    looks = {name: [helper.make_node("Abs", [name], [f"{name}/look"], f"{name}/look")] for name in ("b", "a", "x")}
    place_behind(graph, looks)
    assert [node.name for node in graph.node] == ["x/look", "a", "a/look", "b", "b/look"]

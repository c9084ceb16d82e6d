"""Graphs as exporters leave them become graphs that can be quantised, and still compute the same."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgedet.onnx_graph.preparing import QDQ_OPSET, prepare


def test_old_opset_listed_initialisers_and_batch_norm_are_cleaned_away() -> None:
    rng = np.random.default_rng(0)
    values = {
        "w": rng.normal(size=(6, 3, 3, 3)),
        "g": rng.uniform(0.5, 2, 6),
        "b": rng.normal(size=6),
        "m": rng.normal(size=6),
        "v": rng.uniform(0.5, 2, 6),
    }
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        # Behind a Relu there is nothing to fold into.
        helper.make_node("BatchNormalization", ["r", "g", "b", "m", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
        + [helper.make_tensor_value_info(c.name, c.data_type, c.dims) for c in constants],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 8, 8])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    network = prepare(model)
    assert network.opset == QDQ_OPSET and network.inputs == ["x"]
    assert [node.op_type for node in network.graph.node] == ["Conv", "Relu", "Mul", "Add"]
    frame = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, {"x": frame})[0]
        for one in (model, network.model)
    )
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_preparing_leaves_the_argument_alone(tiny: ModuleType) -> None:
    model = tiny.tiny_detector()
    before = model.SerializeToString()
    prepare(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)

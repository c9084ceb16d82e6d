"""Equalisation changes ranges, never what is computed, and only where the mathematics holds."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration.cross_layer_equalisation import equalise, pairs
from edgedet.calibration.observe import observe
from edgedet.onnx_graph.preparing import prepare

FRAMES = [np.random.default_rng(i).normal(size=(1, 4, 12, 12)).astype(np.float32) for i in range(4)]


def chain(between: str, *, groups: int = 1) -> onnx.ModelProto:
    """Conv - ``between`` - Conv: channel 3 leaves the first 1000 times too large, the second makes up for it."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(8, 4, 1, 1)).astype(np.float32)
    first[3] *= 1000
    per_group = 8 // groups
    second = rng.normal(size=(8, per_group, 3, 3)).astype(np.float32)
    second[3 // per_group * per_group : (3 // per_group + 1) * per_group, 3 % per_group] /= 1000
    constants = {
        "w1": first,
        "b1": rng.normal(size=8).astype(np.float32),
        "w2": second,
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
    }
    inputs = {"Clip": ["a", "zero", "six"]}.get(between, ["a"])
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first"),
        helper.make_node(between, inputs, ["m"], "between"),
        helper.make_node("Conv", ["m", "w2"], ["y"], "second", group=groups, pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 12, 12])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def outputs(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.stack([session.run(None, {"x": frame})[0] for frame in FRAMES])


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_through_relu_the_large_channel_shrinks_and_the_answers_stay(groups: int) -> None:
    model = chain("Relu", groups=groups)
    network = prepare(model)
    before = observe(network, FRAMES, ["m"])["m"].channel_high
    done = equalise(network, network.layers(), ["second"], FRAMES, kind="s8")
    assert set(done) == {"second"} and done["second"] < 0.8
    after = observe(network, FRAMES, ["m"])["m"].channel_high
    assert before.max() / np.median(before) > 100
    assert after.max() / np.median(after) < 0.2 * before.max() / np.median(before)
    expected = outputs(model)
    np.testing.assert_allclose(outputs(network.model), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("between", ["Clip", "HardSwish", "Sigmoid"])
def test_through_functions_that_are_not_homogeneous_nothing_moves(between: str) -> None:
    network = prepare(chain(between))
    assert pairs(network, network.layers()) == []
    assert equalise(network, network.layers(), ["second"], FRAMES, kind="s8") == {}

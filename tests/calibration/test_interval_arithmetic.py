"""What arithmetic says no tensor exceeds, none does; and it says something of nearly all of an INT8 graph."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration.interval_arithmetic import UNKNOWN, magnitudes
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare

SIZE = (1, 4, 6, 6)
RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(5, 4, 3, 3)).astype(np.float32)
ROWS = {"rows": np.array([-1, 6], np.int64)}
MATRIX = RANDOM.normal(size=(6, 7)).astype(np.float32)
BIAS = RANDOM.normal(size=7).astype(np.float32) * 9


def network_of(nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> Network:
    """A graph from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SIZE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return Network(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9))


def node(kind: str, *inputs: str, output: str = "y", **settings: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *inputs], [output], kind, **settings)


def rows(kind: str, *inputs: str, **settings: Any) -> list[onnx.NodeProto]:
    """A product of the input's rows."""
    return [
        node("Reshape", "rows", output="flat"),
        helper.make_node(kind, ["flat", *inputs], ["y"], kind, **settings),
    ]


LIMIT = np.float32
CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "Conv": ([node("Conv", "w", "b", pads=[1] * 4)], {"w": WEIGHT, "b": BIAS[:5]}),
    "depthwise": ([node("Conv", "w", group=4)], {"w": WEIGHT[:4, :1]}),
    "MatMul": (rows("MatMul", "w"), {"w": MATRIX, **ROWS}),
    "Gemm": (rows("Gemm", "w", "b", alpha=2.0, beta=3.0), {"w": MATRIX, "b": BIAS, **ROWS}),
    "Gemm, transposed": (rows("Gemm", "w", "b", transB=1), {"w": MATRIX.T.copy(), "b": BIAS, **ROWS}),
    "Sigmoid": ([node("Sigmoid")], {}),
    "Relu": ([node("Relu")], {}),
    "LeakyRelu": ([node("LeakyRelu", alpha=-3.0)], {}),
    "PRelu": ([node("PRelu", "slope")], {"slope": np.float32([-4.0])}),
    "Elu": ([node("Elu", alpha=20.0)], {}),
    "Clip": ([node("Clip", "low", "high")], {"low": LIMIT(-2), "high": LIMIT(3)}),
    "Clip above all": ([node("Clip", "low")], {"low": LIMIT(50)}),
    "Clip from below and above": ([node("Clip", "low", "high")], {"low": LIMIT(40), "high": LIMIT(50)}),
    "Add": ([node("Add", "x")], {}),
    "Sub": ([node("Sub", "c")], {"c": np.float32([[[[-100.0]]]])}),
    "Mul": ([node("Mul", "x")], {}),
    "Div": ([node("Div", "c")], {"c": np.float32([[[[-0.125]]]])}),
    "MaxPool": ([node("MaxPool", kernel_shape=[2, 2])], {}),
    "AveragePool": ([node("AveragePool", kernel_shape=[3, 3], pads=[1] * 4)], {}),
    "Pad": ([node("Pad", "pads", "value")], {"pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "value": LIMIT(-77)}),
    "Concat": ([node("Concat", "c", axis=1)], {"c": np.full((1, 1, 6, 6), 60, np.float32)}),
    "Resize": (
        [node("Resize", "", "s", mode="linear")],
        {"s": np.float32([1, 1, 2, 2])},
    ),
    "Where": (
        [
            node("Greater", "c", output="positive"),
            helper.make_node("Where", ["positive", "x", "other"], ["y"], "Where"),
        ],
        {"c": np.float32(0), "other": np.float32(-90)},
    ),
    "a pair": (
        [
            node("QuantizeLinear", "s", "z", output="q"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "dq"),
        ],
        {"s": np.float32(0.01), "z": np.int8(0)},
    ),
    "a pair with a zero point": (
        [
            node("QuantizeLinear", "s", "z", output="q"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "dq"),
        ],
        {"s": np.float32(0.01), "z": np.int8(-128)},
    ),
    "weights of a pair": (
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], "dq", axis=0),
            node("Conv", "w"),
        ],
        {
            "q": RANDOM.integers(-127, 128, (5, 4, 3, 3)).astype(np.int8),
            "s": np.linspace(0.01, 0.5, 5, dtype=np.float32),
            "z": np.zeros(5, np.int8),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_no_input_exceeds_what_is_said_and_some_come_near_it(case: str) -> None:
    nodes, constants = CASES[case]
    network, reach = network_of(nodes, constants), 10.0
    session = onnxruntime.InferenceSession(network.model.SerializeToString())
    tried = [RANDOM.uniform(-reach, reach, SIZE), *(RANDOM.choice([-reach, reach], SIZE) for _ in range(300))]
    largest = max(float(np.abs(session.run(None, {"x": x.astype(np.float32)})[0]).max()) for x in tried)
    said = magnitudes(network, {"x": reach})["y"]
    assert largest <= said * (1 + 1e-6)
    # Random signs do not meet all of a layer's at once, but they come close enough to tell a bound from none.
    assert said <= 4 * largest


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Exp")],
        [node("Div", "x")],
        [node("Conv", "unknown"), node("Exp", output="unknown")][::-1],
        [node("Resize", "", "s", mode="cubic")],
    ],
    ids=["Exp", "a quotient", "weights that are computed", "cubic interpolation"],
)
def test_of_what_nothing_bounds_nothing_is_said(nodes: list[onnx.NodeProto]) -> None:
    assert magnitudes(network_of(nodes, {"s": np.float32([1, 1, 2, 2])}), {"x": 1.0})["y"] == UNKNOWN


def test_bytes_are_bounded_and_other_inputs_are_as_large_as_is_known_of_them(tiny: ModuleType) -> None:
    assert magnitudes(prepare(tiny.tiny_detector()), {})["images"] == 255
    network = network_of([node("Relu")], {})
    assert magnitudes(network, {})["y"] == UNKNOWN
    assert magnitudes(network, {"x": 255.0})["y"] == 255


def test_an_int8_graph_is_bounded_throughout(tiny: ModuleType) -> None:
    model = quantise(tiny.tiny_detector(), tiny.card(), tiny.frames(4), options=QuantiseOptions(max_drop=1)).model
    network = prepare(model, quantised="allow")
    said = magnitudes(network, {})
    layers = [one for one in network.graph.node if one.op_type == "Conv"]
    assert layers and all(said[one.output[0]] < 1e4 for one in layers)

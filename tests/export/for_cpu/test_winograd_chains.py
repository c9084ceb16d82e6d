"""Rows of convolutions over many small maps: the same numbers, only where they pay, and back again."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.export.for_cpu import winograd_chains
from edgedet.export.for_cpu.winograd import add_winograd, remove_winograd

CHANNELS = 128


def network(
    size: tuple[int, ...] = (8, CHANNELS, 6, 6),
    *,
    layers: int = 2,
    filters: int = CHANNELS,
    bias: bool = True,
    read_between: bool = False,
) -> onnx.ModelProto:
    """Convolutions with a ReLU behind each, and a sigmoid behind all; ``read_between``: the first one's result is
    an output, too."""
    generator = np.random.default_rng(3)
    constants, nodes = [], []
    source, channels = "x", size[1]
    for layer in range(layers):
        weight = generator.normal(0, 0.04, (filters, channels, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(weight, f"weight{layer}"))
        names = [source, f"weight{layer}"]
        if bias:
            values = generator.normal(0, 0.3, filters).astype(np.float32)
            constants.append(numpy_helper.from_array(values, f"bias{layer}"))
            names.append(f"bias{layer}")
        settings = {"kernel_shape": [3, 3], "pads": [1] * 4}
        nodes.append(helper.make_node("Conv", names, [f"sum{layer}"], name=f"conv{layer}", **settings))
        source, channels = f"map{layer}", filters
        nodes.append(helper.make_node("Relu", [f"sum{layer}"], [source], name=f"relu{layer}"))
    nodes.append(helper.make_node("Sigmoid", [source], ["y"], name="sigmoid"))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ["y", *["map0"] * read_between]
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)]
    graph = helper.make_graph(nodes, "convolutions", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def run(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    values = np.random.default_rng(4).normal(size=entry.shape).astype(np.float32)
    return np.asarray(session.run(["y"], {"x": values})[0])


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


CASES = {
    "one part": network(),
    "parts of two sizes": network((9, CHANNELS, 6, 6)),
    "oblong, odd": network((8, CHANNELS, 7, 11)),
    "tiles of five": network((16, CHANNELS, 5, 9)),
    "no bias": network(bias=False),
    "wider": network(layers=3, filters=CHANNELS + 16),
}


@pytest.mark.parametrize("case", CASES)
def test_same_numbers_there_and_back(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "parts of two sizes":
        monkeypatch.setattr(winograd_chains, "PART", 5 * 6 * 6)
    model = onnx.ModelProto.FromString(CASES[case].SerializeToString())
    expected = run(model)
    assert expected.std() > 0.01
    add_winograd(model)
    assert "Conv" not in kinds(model) and ("Split" in kinds(model)) == (case == "parts of two sizes")
    onnx.checker.check_model(model, full_check=True)
    # The filter of five rounds more coarsely.
    tolerance = 2e-5 if case == "tiles of five" else 1e-5
    np.testing.assert_allclose(run(model), expected, atol=tolerance, rtol=0)
    remove_winograd(model)
    assert kinds(model) == kinds(CASES[case])
    assert [node.name for node in model.graph.node] == [node.name for node in CASES[case].graph.node]
    np.testing.assert_allclose(run(model), expected, atol=1e-5, rtol=0)


def test_maps_are_moved_once_into_the_layout_and_once_out_of_it() -> None:
    model = add_winograd(network(layers=3))
    assert kinds(model).count("Transpose") == 2


@pytest.mark.parametrize(
    "model",
    [
        network((4, CHANNELS, 6, 6)),
        network(layers=1),
        network((8, 64, 6, 6)),
        network((8, CHANNELS, 5, 5)),
        network((20, CHANNELS, 6, 2)),
        network(read_between=True),
    ],
    ids=["few maps", "one alone", "few channels", "few tiles", "mostly edges", "read between"],
)
def test_others_have_no_row(model: onnx.ModelProto) -> None:
    add_winograd(model)
    assert not [node.name for node in model.graph.node if "/winograd_chain/" in node.name]

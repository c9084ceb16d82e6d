"""The CPU dialect: what ONNX Runtime makes of it is integer kernels, and the answers stay."""

from __future__ import annotations

from collections import Counter
from itertools import chain, repeat
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration.cpu import Cpu
from edgedet.calibration.decoder_boundary import feature_layers
from edgedet.calibration.fitting import fit, rough_fit
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.qdq import Writer
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare
from tests import attention_graphs

FRAME = np.random.default_rng(5).normal(size=(1, 4, 16, 16)).astype(np.float32)


def branches(*, sizes: tuple[float, float] = (1.0, 1.0)) -> onnx.ModelProto:
    """Two convolutions whose outputs are ``sizes`` large; one is pooled; both meet in a Concat before a third."""
    rng = np.random.default_rng(3)
    constants = {
        "w1": rng.normal(size=(4, 4, 3, 3)) * sizes[0],
        "w2": rng.normal(size=(4, 4, 3, 3)) * sizes[1],
        "w3": rng.normal(size=(6, 8, 1, 1)),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "left", **pads),
        helper.make_node("Relu", ["a"], ["left"], "left_relu"),
        helper.make_node("Conv", ["x", "w2"], ["b"], "right", **pads),
        helper.make_node("Relu", ["b"], ["right"], "right_relu"),
        helper.make_node("MaxPool", ["right"], ["pooled"], "pool", kernel_shape=[3, 3], **pads),
        helper.make_node("Concat", ["left", "pooled"], ["both"], "join", axis=1),
        helper.make_node("Conv", ["both", "w3"], ["c"], "last"),
        helper.make_node("Relu", ["c"], ["y"], "last_relu"),
        helper.make_node("Sigmoid", ["y"], ["scores"], "decode"),
    ]
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 6, 16, 16])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def placed(model: onnx.ModelProto) -> Network:
    dialect = Cpu()
    network = dialect.adapt(prepare(model))
    layers = feature_layers(network)
    units, _ = dialect.units(network, layers)
    fit = rough_fit(
        network, FRAME, layers, dialect.tensors(network, units), kind="u8", weight_bits=dialect.weight_bits
    )
    result = dialect.place(network, fit, units, Writer(network.copy()))
    onnx.checker.check_model(result.model, full_check=True)
    return result


def kernels(network: Network, folder: Path) -> Counter[str]:
    """Operators of the graph as ONNX Runtime really runs it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(network.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def scale(network: Network, tensor: str) -> float:
    return float(network.constant(f"{tensor}_scale"))


def answers(model: onnx.ModelProto) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": FRAME})[0]


def test_every_node_becomes_an_integer_kernel(tmp_path: Path) -> None:
    found = kernels(placed(branches()), tmp_path)
    assert found["QLinearConv"] == 3 and found["QLinearConcat"] == 1
    assert found["Conv"] == found["Concat"] == found["Relu"] == 0
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1  # at the image, and before the decoding


def test_the_answers_stay() -> None:
    model = branches()
    assert np.abs(answers(placed(model).model) - answers(model)).mean() < 0.005


def test_a_concat_and_what_it_joins_share_a_grid_so_that_it_only_copies() -> None:
    network = placed(branches(sizes=(1.0, 1.4)))
    assert scale(network, "left") == scale(network, "right") == scale(network, "pooled") == scale(network, "both")


def test_a_tensor_much_smaller_than_its_neighbours_keeps_its_own_grid() -> None:
    network = placed(branches(sizes=(1.0, 5.0)))
    assert scale(network, "left") < scale(network, "both") / 3
    assert scale(network, "right") == scale(network, "pooled") == scale(network, "both")


def test_no_grid_becomes_more_than_twice_as_coarse_by_way_of_others() -> None:
    own = scale(placed(branches(sizes=(1.0, 0.0))), "left")
    for size in (1.2, 1.9, 2.5, 4.0):
        assert scale(placed(branches(sizes=(1.0, size))), "left") <= 2.0 * own * 1.001


def test_a_split_of_which_only_floats_read_one_part(tmp_path: Path) -> None:
    model = branches()
    nodes = model.graph.node
    nodes[5].input[:] = ["left", "first", "aside"]
    nodes.insert(5, helper.make_node("Split", ["pooled"], ["first", "second"], "split", axis=1, num_outputs=2))
    nodes.insert(6, helper.make_node("Tanh", ["second"], ["aside"], "aside"))
    network = placed(model)
    assert scale(network, "first") == scale(network, "pooled")
    assert kernels(network, tmp_path)["QLinearConv"] == 3


def test_biases_are_integers_at_the_accumulators_scale() -> None:
    model = branches()
    model.graph.initializer.append(numpy_helper.from_array(np.linspace(-3, 3, 6, dtype=np.float32), "bias"))
    next(node for node in model.graph.node if node.name == "last").input.append("bias")
    network = placed(model)
    steps = network.constant("last/weight_scale") * np.float32(scale(network, "both"))
    assert network.constant("last/bias_q").dtype == np.int32
    np.testing.assert_allclose(
        network.constant("last/bias_q") * steps, np.linspace(-3, 3, 6), atol=float(steps.max())
    )


def test_what_is_shipped_is_int8_that_was_faster_or_fp32_with_a_warning(tiny: ModuleType) -> None:
    done = quantise(
        tiny.tiny_detector(), tiny.card(), tiny.frames(16), options=QuantiseOptions(target="cpu", max_drop=1.0)
    )
    quantised = any(node.op_type == "QuantizeLinear" for node in done.model.graph.node)
    assert quantised == (done.report["macs_int8"] > 0)
    assert quantised != any("not faster" in warning for warning in done.warnings)
    assert done.report["latency_ms"]["int8"] <= done.report["latency_ms"]["fp32"]


def test_what_costs_too_much_accuracy_is_not_called_slow(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict:
        """Takes any INT8 for a disaster."""

        name, digest = "strict", "strict"

        def __call__(self, run: object) -> float:
            return float(next(self.figures))

        figures = chain([1.0], repeat(0.0))

    monkeypatch.setattr(Cpu, "paying", lambda dialect, network, units, frame, **_: list(units))
    options = QuantiseOptions(target="cpu", over_budget="keep_best")
    done = quantise(tiny.tiny_detector(), tiny.card(), tiny.frames(16), judge=Strict(), options=options)
    assert done.report["macs_int8"] == 0
    assert all("of agreement alone" in reason for reason in done.report["kept_float"].values())
    assert any("costs too much accuracy" in warning for warning in done.warnings)


def test_hard_swish_is_taken_apart_without_changing_it() -> None:
    model = branches()
    next(node for node in model.graph.node if node.name == "left_relu").op_type = "HardSwish"
    before = answers(model)
    network = Cpu().adapt(prepare(model))
    assert "HardSwish" not in {node.op_type for node in network.graph.node}
    np.testing.assert_allclose(answers(network.model), before, atol=1e-6)


def test_attention_norms_and_gelu_stay_out_of_integers_with_what_they_read() -> None:
    network = prepare(attention_graphs.encoder())
    units, _ = Cpu().units(network, feature_layers(network))
    inside = {node for unit in units for node in unit.nodes}
    assert inside >= {"q", "k", "v", "o", "wide", "narrow", "classes"}
    assert not inside & {
        "k_columns",
        "masked",
        "products",
        "map",
        "mixed",
        "residual",
        "norm",
        "gelu_times",
        "gelu",
    }


def test_no_pair_of_products_overflows_sixteen_bits() -> None:
    """On x86 without VNNI a sum of two u8 x s8 products saturates there (VPMADDUBSW)."""
    frames = [np.random.default_rng(seed).normal(size=FRAME.shape).astype(np.float32) for seed in range(4)]
    network, dialect = prepare(branches()), Cpu()
    units, _ = dialect.units(network, feature_layers(network))
    layers = [layer for unit in units for layer in unit.layers]
    tensors = dialect.tensors(network, units)
    fitted = fit(network, frames, layers, tensors=tensors, kind=dialect.kind, weight_bits=dialect.weight_bits)
    largest = [np.abs(one.weight.astype(int)).max() for one in fitted.layers.values()]
    assert len(largest) == 3 and max(largest) > 50
    assert 2 * 255 * max(largest) < 2**15

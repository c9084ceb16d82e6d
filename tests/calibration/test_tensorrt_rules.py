"""Every TensorRT rule holds for what is made here, and is named when a graph breaks it."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration import tensorrt_rules
from edgedet.calibration.decoder_boundary import feature_layers
from edgedet.calibration.fitting import fit
from edgedet.calibration.qdq import Writer
from edgedet.calibration.tensorrt import TensorRT
from edgedet.errors import ExportError
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare


@pytest.fixture(scope="module")
def quantised(tiny: ModuleType) -> onnx.ModelProto:
    """The tiny detector with all its dense layers in INT8 for TensorRT."""
    network, dialect, frames = prepare(tiny.tiny_detector()), TensorRT(), tiny.frames(4)
    units, _ = dialect.units(network, feature_layers(network))
    tensors = dialect.tensors(network, units)
    fitted = fit(
        network,
        frames,
        [layer for unit in units for layer in unit.layers],
        tensors=tensors,
        kind="s8",
    )
    return dialect.place(network, fitted, units, Writer(network.copy())).model


def break_opset(network: Network) -> None:
    network.model.opset_import[0].version = 21


def break_pairs(network: Network) -> None:
    network.set_constant("other_scale", np.array(0.5, np.float32))
    network.nodes["stem_silu_out/dequantize"].input[1] = "other_scale"


def break_symmetry(network: Network) -> None:
    network.set_constant("stem_silu_out_zero_point", np.array(3, np.int8))


def break_scales(network: Network) -> None:
    network.set_constant("stem_silu_out_scale", np.array(0, np.float32))


def break_per_tensor(network: Network) -> None:
    network.set_constant("stem_silu_out_scale", np.full(16, 0.1, np.float32))
    network.set_constant("stem_silu_out_zero_point", np.zeros(16, np.int8))


def break_per_channel(network: Network) -> None:
    next(a for a in network.nodes["widen/weight/dequantize"].attribute if a.name == "axis").i = 1


def break_whole_layers(network: Network) -> None:
    network.nodes["widen"].input[0] = "stem_silu_out"


def break_bias(network: Network) -> None:
    network.set_constant("b_q", np.zeros(32, np.int8))
    network.graph.node.insert(
        0, helper.make_node("DequantizeLinear", ["b_q", "narrow/weight_scale"], ["b_dq"], "b/dequantize")
    )
    network.nodes["widen"].input[2] = "b_dq"


def break_residual(network: Network) -> None:
    network.nodes["residual"].input[1] = "stem_silu_out"


def break_between(network: Network) -> None:
    node = network.nodes["residual"]
    at = next(i for i, other in enumerate(network.graph.node) if other.name == "residual")
    scale = ["stem_silu_out_scale", "stem_silu_out_zero_point"]
    pair = [
        helper.make_node("QuantizeLinear", ["narrow_out", *scale], ["narrow_q"], "narrow_out/quantize"),
        helper.make_node("DequantizeLinear", ["narrow_q", *scale], ["narrow_dq"], "narrow_out/dequantize"),
    ]
    node.input[0] = "narrow_dq"
    for added in reversed(pair):
        network.graph.node.insert(at, added)


def break_outputs(network: Network) -> None:
    network.graph.output.append(helper.make_tensor_value_info("stem_silu_out_dq", TensorProto.FLOAT, None))


def break_batch_norm(network: Network) -> None:
    for name in ("gamma", "beta", "mean", "variance"):
        network.graph.initializer.append(numpy_helper.from_array(np.ones(6, np.float32), name))
    inputs = ["head_out", "gamma", "beta", "mean", "variance"]
    network.graph.node.append(helper.make_node("BatchNormalization", inputs, ["normed"], "norm"))


BREAKS = {
    "opset": break_opset,
    "matching pairs": break_pairs,
    "symmetric int8": break_symmetry,
    "constant positive scales": break_scales,
    "per-tensor activations": break_per_tensor,
    "per-channel weights": break_per_channel,
    "whole layers": break_whole_layers,
    "float biases": break_bias,
    "quantised residual": break_residual,
    "no pair between convolution and Add": break_between,
    "no pair before outputs": break_outputs,
    "folded BatchNorm": break_batch_norm,
}


def test_what_is_made_here_keeps_every_rule(quantised: onnx.ModelProto) -> None:
    assert tensorrt_rules.violations(quantised) == []
    assert any(node.op_type == "QuantizeLinear" for node in quantised.graph.node)


def test_every_rule_is_broken_below() -> None:
    assert set(BREAKS) == set(tensorrt_rules.RULES)


@pytest.mark.parametrize("rule", list(BREAKS))
def test_a_broken_rule_is_named(rule: str, quantised: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(quantised)
    BREAKS[rule](Network(model))
    found = tensorrt_rules.violations(model)
    assert rule in {violation.rule for violation in found}, found
    with pytest.raises(ExportError, match="breaks TensorRT's rule"):
        tensorrt_rules.check(model)

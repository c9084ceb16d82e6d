"""TensorRT's rules for Q/DQ graphs, each by name, and a check that a graph keeps all of them.

From NVIDIA's TensorRT developer guide ("Explicit quantization", "Q/DQ placement recommendations") and the limits of
INT8 kernels listed there. A graph that breaks one still builds; it then runs slower, or less exactly, in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from edgedet.errors import ExportError
from edgedet.onnx_graph.network import WEIGHTED, Network


@dataclass(frozen=True)
class Violation:
    """A rule of :data:`RULES`, the node that breaks it, and how."""

    rule: str
    node: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.node}: {self.detail}"


Finding = Iterator[tuple[str, str]]


def _opset(network: Network) -> Finding:
    """Per-channel pairs need opset 13; parsers of TensorRT 10.3 read none above 20."""
    if not 13 <= network.opset <= 20:
        yield "graph", f"opset {network.opset}, expected 13 to 20"


def _pairs(network: Network) -> Finding:
    """Every QuantizeLinear is read by DequantizeLinear alone, with the same scale and zero point."""
    for node in _of(network, "QuantizeLinear"):
        readers = network.consumers.get(node.output[0], [])
        if not readers or node.output[0] in network.outputs:
            yield node.name, "nothing dequantises it"
        for reader in readers:
            if reader.op_type != "DequantizeLinear":
                yield node.name, f"read by {reader.op_type} {reader.name}, expected DequantizeLinear"
            elif list(reader.input[1:]) != list(node.input[1:]):
                yield node.name, f"{reader.name} has another scale or zero point"


def _symmetric(network: Network) -> Finding:
    """int8 with zero point 0 everywhere."""
    for node in (*_of(network, "QuantizeLinear"), *_of(network, "DequantizeLinear")):
        zero = _value(network, node, 2)
        if zero is None:
            yield node.name, "no zero point, so its type is uint8; expected int8 zeros"
        elif zero.dtype != np.int8 or zero.any():
            yield node.name, f"zero point {zero.dtype} {zero.reshape(-1)[0]}, expected int8 0"


def _scales(network: Network) -> Finding:
    """Scales are positive, finite constants."""
    for node in (*_of(network, "QuantizeLinear"), *_of(network, "DequantizeLinear")):
        scale = _value(network, node, 1)
        if scale is None:
            yield node.name, "its scale is not a constant"
        elif not (np.isfinite(scale).all() and (scale > 0).all()):
            yield node.name, f"its scale reaches {scale.min():g}"


def _per_tensor(network: Network) -> Finding:
    """One scale for a whole activation."""
    for node in _of(network, "QuantizeLinear"):
        scale = _value(network, node, 1)
        if scale is not None and scale.size != 1:
            yield node.name, f"{scale.size} scales on an activation, expected one"


def _per_channel(network: Network) -> Finding:
    """One scale per output channel of weights, along axis 0 (ConvTranspose, MatMul and untransposed Gemm: 1)."""
    for node in _layers(network):
        restored = network.producer.get(node.input[1])
        if restored is None or restored.op_type != "DequantizeLinear":
            continue
        weight, scale = _value(network, restored, 0), _value(network, restored, 1)
        if weight is None:
            yield node.name, "its weights pass a QuantizeLinear at run time, expected INT8 constants"
            continue
        axis = next((a.i for a in restored.attribute if a.name == "axis"), 1)
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        expected = 0 if node.op_type == "Conv" or (node.op_type == "Gemm" and transposed) else 1
        if axis != expected:
            yield node.name, f"weight scales along axis {axis}, expected {expected}"
        elif scale is not None and scale.shape != (weight.shape[axis],):
            yield node.name, f"{scale.size} weight scales for {weight.shape[axis]} channels"


def _whole_layers(network: Network) -> Finding:
    """A layer has INT8 on both its input and its weights, or on neither."""
    for node in _layers(network):
        data, weight = (_dequantised(network, name) for name in node.input[:2])
        if data != weight:
            only = "input" if data else "weights"
            yield node.name, f"only its {only} are INT8, so it runs in float"


def _float_bias(network: Network) -> Finding:
    """Biases carry no pair: TensorRT adds them in float."""
    for node in _layers(network):
        if len(node.input) > 2 and _dequantised(network, node.input[2]):
            yield node.name, "its bias passes a DequantizeLinear"


def _residual(network: Network) -> Finding:
    """Behind an INT8 convolution, the other side of an Add is INT8, so that both become one kernel."""
    for add, others in _fused_adds(network):
        for name in others:
            if not _dequantised(network, name):
                yield add.name, f"its other side {name} is float"


def _between(network: Network) -> Finding:
    """No pair stands between an INT8 convolution and the Add it could be fused with."""
    for add in _of(network, "Add"):
        if any(name in network.constants for name in add.input):
            continue
        behind = [_convolution_behind_pair(network, name) for name in add.input]
        direct = [_int8_convolution(network, network.producer.get(name)) for name in add.input]
        # Of two convolutions one is fused, the other one's output is the quantised residual.
        if any(behind) and not any(direct):
            yield add.name, f"a pair separates it from {next(name for name in behind if name)}"


def _outputs(network: Network) -> Finding:
    """Graph outputs come out of no pair."""
    for name in network.outputs:
        if _dequantised(network, name):
            yield network.producer[name].name, f"it makes the graph output {name}"


def _batch_norm(network: Network) -> Finding:
    """BatchNormalization is folded into the convolution before it."""
    for node in _of(network, "BatchNormalization"):
        yield node.name, "left in the graph"


RULES: dict[str, Callable[[Network], Finding]] = {
    "opset": _opset,
    "matching pairs": _pairs,
    "symmetric int8": _symmetric,
    "constant positive scales": _scales,
    "per-tensor activations": _per_tensor,
    "per-channel weights": _per_channel,
    "whole layers": _whole_layers,
    "float biases": _float_bias,
    "quantised residual": _residual,
    "no pair between convolution and Add": _between,
    "no pair before outputs": _outputs,
    "folded BatchNorm": _batch_norm,
}
"""Rule by name; each function's docstring states it."""


def violations(model: onnx.ModelProto) -> list[Violation]:
    """Everything in a Q/DQ graph that breaks one of :data:`RULES`."""
    network = Network(model)
    return [Violation(name, node, detail) for name, rule in RULES.items() for node, detail in rule(network)]


def check(model: onnx.ModelProto) -> None:
    """Refuse a graph TensorRT would not run as meant.

    Raises:
        ExportError: a rule is broken; the message names rule and node.
    """
    found = violations(model)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ExportError(f"the INT8 graph breaks TensorRT's rule '{found[0]}'{more}; please report this")


def _of(network: Network, kind: str) -> list[onnx.NodeProto]:
    return [node for node in network.graph.node if node.op_type == kind]


def _layers(network: Network) -> list[onnx.NodeProto]:
    return [node for node in network.graph.node if node.op_type in WEIGHTED and len(node.input) > 1]


def _value(network: Network, node: onnx.NodeProto, index: int) -> np.ndarray | None:
    if index >= len(node.input) or node.input[index] not in network.constants:
        return None
    return numpy_helper.to_array(network.constants[node.input[index]])


def _dequantised(network: Network, tensor: str) -> bool:
    node = network.producer.get(tensor)
    return node is not None and node.op_type == "DequantizeLinear"


def _int8_convolution(network: Network, node: onnx.NodeProto | None) -> bool:
    return node is not None and node.op_type == "Conv" and all(_dequantised(network, n) for n in node.input[:2])


def _fused_adds(network: Network) -> Iterator[tuple[onnx.NodeProto, list[str]]]:
    """Adds directly behind an INT8 convolution that nobody else reads, with their other operands."""
    for add in _of(network, "Add"):
        if any(name in network.constants for name in add.input):
            continue
        direct = [
            name
            for name in add.input
            if _int8_convolution(network, network.producer.get(name)) and len(network.consumers[name]) == 1
        ]
        if direct:
            yield add, [name for name in add.input if name != direct[0]]


def _convolution_behind_pair(network: Network, tensor: str) -> str | None:
    restored = network.producer.get(tensor)
    if restored is None or restored.op_type != "DequantizeLinear":
        return None
    quantised = network.producer.get(restored.input[0])
    if quantised is None:
        return None
    source = network.producer.get(quantised.input[0])
    return source.name if source is not None and _int8_convolution(network, source) else None

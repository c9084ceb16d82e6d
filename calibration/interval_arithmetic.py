"""How large a tensor can become whatever is put in: interval arithmetic over a graph, without running it.

A pair of QuantizeLinear and DequantizeLinear clips, a sigmoid saturates, and pixels are bytes. From there on, a
layer multiplies by the sum of its weights' magnitudes at most. In an INT8 graph that bounds nearly every tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import NodeProto, TensorProto

from edgedet.onnx_graph.network import Array, Network, attributes

UNKNOWN = float("inf")
"""Magnitude of a tensor that nothing bounds."""

SATURATING = frozenset(["Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Erf"])
"""Never above one."""
NO_LARGER = frozenset(
    [
        *("Relu", "HardSwish", "Gelu", "Mish", "Identity", "Cast", "Floor", "Ceil", "Abs", "Neg"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "RoiAlign"),
        *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile", "Slice", "Split"),
        *("DepthToSpace", "SpaceToDepth", "Gather", "GatherElements", "GatherND"),
    ]
)
"""Give nothing larger than their first input."""
LARGEST_OF_ALL = frozenset(["Concat", "Max", "Min"])
"""Give nothing larger than the largest of their inputs."""
BYTES = {TensorProto.UINT8: 255.0, TensorProto.INT8: 128.0}


def magnitudes(network: Network, known: Mapping[str, float]) -> dict[str, float]:
    """The largest absolute value that every tensor can have.

    Args:
        network: a graph, float or with Q/DQ pairs.
        known: of the graph's inputs, where more is known than their type.

    Returns:
        By tensor, real numbers where they are integers of a pair; :data:`UNKNOWN` where nothing bounds it.
    """
    found = {
        value.name: known.get(value.name, BYTES.get(value.type.tensor_type.elem_type, UNKNOWN))
        for value in network.graph.input
        if value.name not in network.constants
    }
    for node in network.graph.node:
        reach = _of(network, found, node)
        found.update(dict.fromkeys((name for name in node.output if name), reach))
    return found


def _of(network: Network, found: dict[str, float], node: NodeProto) -> float:
    """Largest magnitude of everything that a node gives."""

    def reach(index: int) -> float:
        if index >= len(node.input) or not node.input[index]:
            return 0.0
        name = node.input[index]
        return _largest(network, name) if name in network.constants else found.get(name, UNKNOWN)

    kind = node.op_type
    if kind in SATURATING:
        return 1.0
    if kind in NO_LARGER:
        return reach(0)
    if kind in LARGEST_OF_ALL:
        return max(reach(index) for index in range(len(node.input)))
    rule = RULES.get(kind)
    return UNKNOWN if rule is None else rule(network, node, reach)


Reach = Callable[[int], float]
"""The largest magnitude of a node's input, by its number; 0 where there is none."""


def _layer(network: Network, node: NodeProto, reach: Reach) -> float:
    """A convolution or a product: every output is a sum of inputs, each times a weight."""
    magnitude = _weight_magnitude(network, node.input[1])
    settings = attributes(node)
    if magnitude is None or settings.get("transA", 0):
        return UNKNOWN
    if node.op_type == "Conv" or (node.op_type == "Gemm" and settings.get("transB", 0)):
        summed = magnitude.reshape(len(magnitude), -1).sum(axis=1, dtype=np.float64)
    elif magnitude.ndim == 2:
        summed = magnitude.sum(axis=0, dtype=np.float64)
    else:
        return UNKNOWN
    scales = (abs(settings.get("alpha", 1.0)), abs(settings.get("beta", 1.0))) if node.op_type == "Gemm" else (1, 1)
    # Without this, a tensor of zeros through unbounded inputs is not a number.
    products = float(summed.max(initial=0.0)) * reach(0) if summed.any() else 0.0
    return scales[0] * products + scales[1] * reach(2)


def _dequantised(network: Network, node: NodeProto, reach: Reach) -> float:
    zero = node.input[2] if len(node.input) > 2 else ""
    kind = network.constants[zero].data_type if zero in network.constants else TensorProto.UINT8
    if kind == TensorProto.INT32 or node.input[1] not in network.constants:
        return UNKNOWN
    symmetric = kind == TensorProto.INT8 and not network.constant(zero).any()
    return _largest(network, node.input[1]) * (128 if symmetric else 255)


def _sum(network: Network, node: NodeProto, reach: Reach) -> float:
    return sum(reach(index) for index in range(len(node.input)))


def _product(network: Network, node: NodeProto, reach: Reach) -> float:
    first, second = reach(0), reach(1)
    return first * second if first and second else 0.0


def _quotient(network: Network, node: NodeProto, reach: Reach) -> float:
    divisor = network.constant(node.input[1]) if node.input[1] in network.constants else None
    if divisor is None or not divisor.size or not np.abs(divisor).min():
        return UNKNOWN
    return reach(0) / float(np.abs(divisor).min())


def _clipped(network: Network, node: NodeProto, reach: Reach) -> float:
    """Limits cut off what lies beyond them, and move what lies wholly beyond: Clip(40, 50) makes 40 of 0."""
    given = [name in network.constants for name in node.input[1:3] if name]
    limits = [reach(index) for index in (1, 2) if index < len(node.input) and node.input[index]]
    if len(given) < 2 or not all(given):
        return max([reach(0), *limits])
    low, high = (float(network.constant(name)) for name in node.input[1:3])
    return min(max(reach(0), low, -high), max(limits))


def _leaky(network: Network, node: NodeProto, reach: Reach) -> float:
    return max(1.0, abs(attributes(node).get("alpha", 0.01))) * reach(0)


def _parametric(network: Network, node: NodeProto, reach: Reach) -> float:
    return max(1.0, reach(1)) * reach(0)


def _exponential(network: Network, node: NodeProto, reach: Reach) -> float:
    return max(abs(attributes(node).get("alpha", 1.0)), reach(0))


def _resized(network: Network, node: NodeProto, reach: Reach) -> float:
    """Cubic interpolation overshoots; outside the image stands a number of its own."""
    settings = attributes(node)
    outside = abs(settings.get("extrapolation_value", 0.0))
    return UNKNOWN if settings.get("mode", b"nearest") == b"cubic" else max(reach(0), outside)


def _padded(network: Network, node: NodeProto, reach: Reach) -> float:
    return max(reach(0), reach(2))


def _chosen(network: Network, node: NodeProto, reach: Reach) -> float:
    return max(reach(1), reach(2))


def _rounded(network: Network, node: NodeProto, reach: Reach) -> float:
    """What the integers stand for; they are read by DequantizeLinear alone."""
    return reach(0)


RULES: dict[str, Callable[[Network, NodeProto, Reach], float]] = {
    "Conv": _layer,
    "Gemm": _layer,
    "MatMul": _layer,
    "DequantizeLinear": _dequantised,
    "QuantizeLinear": _rounded,
    "Add": _sum,
    "Sub": _sum,
    "Mul": _product,
    "Div": _quotient,
    "Clip": _clipped,
    "LeakyRelu": _leaky,
    "PRelu": _parametric,
    "Elu": _exponential,
    "Resize": _resized,
    "Pad": _padded,
    "Where": _chosen,
}


def _largest(network: Network, name: str) -> float:
    value = network.constant(name)
    if value.dtype.kind not in "fiu" or not value.size:
        return UNKNOWN if value.size else 0.0
    largest = float(np.abs(value.astype(np.float64)).max())
    return largest if np.isfinite(largest) else UNKNOWN


def _weight_magnitude(network: Network, name: str) -> Array | None:
    """Magnitudes of a layer's weights, in float32 also from a pair of Q/DQ; None where they are no constant."""
    if name in network.constants:
        return np.abs(network.constant(name).astype(np.float32, copy=False))
    restored = network.producer.get(name)
    if restored is None or restored.op_type != "DequantizeLinear" or restored.input[0] not in network.constants:
        return None
    # float32 holds whole numbers below 2**24 exactly.
    magnitude = network.constant(restored.input[0]).astype(np.float32)
    scale = network.constant(restored.input[1]).astype(np.float32)
    axis = attributes(restored).get("axis", 1)
    along = [-1 if i == axis % magnitude.ndim else 1 for i in range(magnitude.ndim)]
    zero = network.constant(restored.input[2]) if len(restored.input) > 2 else np.zeros(1)
    if zero.any():
        magnitude -= zero.astype(np.float32).reshape(along) if zero.ndim else np.float32(zero)
    np.abs(magnitude, out=magnitude)
    magnitude *= scale.reshape(along) if scale.ndim else scale
    return magnitude

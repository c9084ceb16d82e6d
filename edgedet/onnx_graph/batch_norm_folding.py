"""BatchNormalization into the convolution before it, where TensorRT's INT8 kernels want it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.onnx_graph.network import Array, Network


def fold_batch_norm(model: onnx.ModelProto) -> None:
    """Remove every inference-time BatchNormalization with constant statistics from ``model``, in place.

    Behind a convolution that nothing else reads it is folded into weights and bias; elsewhere it becomes the
    multiplication and addition that it is.
    """
    graph, network = model.graph, Network(model)
    constants, producer = network.constants, network.producer
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "BatchNormalization" or any(name not in constants for name in node.input[1:5]):
            nodes.append(node)
            continue
        factor, offset = _line(node, [numpy_helper.to_array(constants[name]) for name in node.input[1:5]])
        before = producer.get(node.input[0])
        if before is not None and network.only_reader(node.input[0]) is not None and _foldable(before, constants):
            _into_convolution(graph, before, constants, factor, offset)
            before.output[0] = node.output[0]
            producer[node.output[0]] = before
        else:
            nodes += _as_arithmetic(graph, node, factor, offset)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _line(node: onnx.NodeProto, statistics: list[Array]) -> tuple[Array, Array]:
    gamma, beta, mean, variance = (value.astype(np.float64) for value in statistics)
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    factor = gamma / np.sqrt(variance + epsilon)
    return factor.astype(np.float32), (beta - mean * factor).astype(np.float32)


def _foldable(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    grouped = any(a.name == "group" and a.i > 1 for a in node.attribute)
    return (
        (node.op_type == "Conv" or (node.op_type == "ConvTranspose" and not grouped))
        and node.input[1] in constants
        and (len(node.input) < 3 or not node.input[2] or node.input[2] in constants)
    )


def _into_convolution(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    factor: Array,
    offset: Array,
) -> None:
    weight = numpy_helper.to_array(constants[node.input[1]])
    axis = 0 if node.op_type == "Conv" else 1
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    old = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 and node.input[2] else 0.0
    # New names: the old constants may be shared with other layers.
    for role, value in (("weight", weight * factor.reshape(shape)), ("bias", old * factor + offset)):
        name = f"{node.output[0]}_folded_{role}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name)
        graph.initializer.append(tensor)
        constants[name] = tensor
    stem = f"{node.output[0]}_folded"
    source = node.input[0]
    del node.input[:]
    node.input.extend([source, f"{stem}_weight", f"{stem}_bias"])


def _as_arithmetic(
    graph: onnx.GraphProto, node: onnx.NodeProto, factor: Array, offset: Array
) -> list[onnx.NodeProto]:
    result = node.output[0]
    for role, value in (("factor", factor), ("offset", offset)):
        graph.initializer.append(numpy_helper.from_array(value.reshape(-1, 1, 1), f"{result}_{role}"))
    return [
        helper.make_node("Mul", [node.input[0], f"{result}_factor"], [f"{result}_scaled"], f"{node.name}/scale"),
        helper.make_node("Add", [f"{result}_scaled", f"{result}_offset"], [result], f"{node.name}/shift"),
    ]

"""Shapes and types of a graph's tensors, inferred without copying its weights."""

from __future__ import annotations

import math

import onnx

LARGEST_READ = 4096
"""Values of a constant up to which inference may want to read them: shapes, sizes, axes, indices."""


def inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the types and shapes of its tensors; its long constants are among its inputs."""
    return onnx.shape_inference.infer_shapes(without_weights(model), data_prop=True).graph


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which long constants are inputs, at the end of the list: what onnx does copies them all.

    Inference and conversion read the values of short ones only.
    """
    light = without_constants(model)
    light.ir_version = max(model.ir_version, 4)
    graph = light.graph
    listed = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= LARGEST_READ:
            graph.initializer.append(tensor)
        elif tensor.name not in listed:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return light


def without_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of everything but the graph's constants."""
    light = onnx.ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        metadata_props=model.metadata_props,
        functions=model.functions,
    )
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    return light

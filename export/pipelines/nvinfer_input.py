"""A graph whose input DeepStream's nvinfer can fill: float32 colour planes of whole grey levels, and its card.

nvinfer gives ``net-scale-factor * (pixel - offset)`` as float32 [N, 3, H, W], with one factor for all colours. The
graphs of edgedet take interleaved pixels, as bytes or floats, and normalise inside. So the factor stays 1, there
are no offsets, and what lies between planes and the network is put into the graph, where it changes no number:
integers up to 255 are the same in uint8, float16 and float32.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import InputSpec, ModelCard
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.cleaning import remove_dead
from edgedet.preprocess import normalisation

TO_PLANES, TO_PIXELS = [0, 3, 1, 2], [0, 2, 3, 1]
PIXELS = "nvinfer/pixels"
"""The input as interleaved pixels, where something still wants them."""


def with_planar_input(model: onnx.ModelProto, card: ModelCard) -> ModelCard:
    """Give ``model``, in place, an input that nvinfer can fill, and ``count`` a second dimension.

    nvinfer splits the first dimension off every output as the batch, and makes no room for one that has no other.

    Returns:
        The card that goes with it: of the same detections for the same frames.

    Raises:
        ArtifactError: the graph reads bytes otherwise than by a cast, or has another input than its card says.
    """
    spec, graph = card.input, model.graph
    given = _require_input(graph, spec)
    if spec.dtype == "uint8":
        _require_cast(graph, spec.name)
    planes = [spec.batch, 3, spec.height, spec.width]
    given.CopyFrom(helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, planes))
    start = _arithmetic(graph, spec)
    planar = start[-1].output[0] if start else spec.name
    if spec.layout == "NCHW":
        _read(graph, spec.name, planar)
    else:
        start.append(helper.make_node("Transpose", [planar], [PIXELS], "nvinfer/to_pixels", perm=TO_PIXELS))
        _read(graph, spec.name, PIXELS)
        start += _joined(graph, planar)
    nodes = [*start, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    _widen_count(graph, spec.batch)
    remove_dead(graph)
    del graph.value_info[:]  # of the old input's type and order
    return replace(card, input=_planar_spec(spec))


def _require_input(graph: onnx.GraphProto, spec: InputSpec) -> onnx.ValueInfoProto:
    shape = [spec.batch, spec.height, spec.width, 3]
    if spec.layout == "NCHW":
        shape = [shape[index] for index in TO_PLANES]
    kind = TensorProto.UINT8 if spec.dtype == "uint8" else TensorProto.FLOAT
    for value in graph.input:
        tensor = value.type.tensor_type
        found = tensor.elem_type, [size.dim_value for size in tensor.shape.dim]
        if value.name == spec.name and found == (kind, shape):
            return value
    raise ArtifactError(
        f"the graph has no input {spec.name} of {spec.dtype} {shape}, which its card promises; export it again"
    )


def _require_cast(graph: onnx.GraphProto, name: str) -> None:
    """Bytes become floats, which makes no difference to what moves them about and what casts them."""
    moved = {name}
    for node in graph.node:
        if node.op_type == "Cast" or not moved & set(node.input):
            continue
        if node.op_type not in ("Transpose", "Reshape", "Identity"):
            raise ArtifactError(
                f"the graph computes with bytes ({node.op_type} {node.name}), but nvinfer feeds floats; export it "
                "again with --input-dtype float32"
            )
        moved |= set(node.output)


def _planar_spec(spec: InputSpec) -> InputSpec:
    """What the new input is. Bytes remain bytes: "host" with a factor of 1 rounds pixels and leaves them alone."""
    planar = replace(spec, dtype="float32", layout="NCHW")
    if spec.dtype == "float32" and spec.normalise == "graph":
        return planar
    none, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return replace(planar, trained_colour=spec.colour, normalise="host", scale=1.0, mean=none, std=one)


def _arithmetic(graph: onnx.GraphProto, spec: InputSpec) -> list[onnx.NodeProto]:
    """What the host did to pixels, in its own order, so that no bit changes."""
    nodes: list[onnx.NodeProto] = []
    if spec.normalise != "host":
        return nodes
    name = spec.name
    for kind, values in zip(("Sub", "Div"), normalisation(spec), strict=True):
        constant = numpy_helper.from_array(values.reshape(1, 3, 1, 1), f"nvinfer/{kind.lower()}")
        graph.initializer.append(constant)
        nodes.append(
            helper.make_node(kind, [name, constant.name], [f"nvinfer/{kind.lower()}_out"], f"nvinfer/{kind}")
        )
        name = nodes[-1].output[0]
    return nodes


def _read(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let all nodes read ``new`` where they read ``old``."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def _joined(graph: onnx.GraphProto, planar: str) -> list[onnx.NodeProto]:
    """Pass by the transposition that undoes the one at the start; returns the casts that lay between, of planes."""
    planes, casts = {PIXELS: planar}, []
    for node in graph.node:
        source = planes.get(node.input[0]) if node.input else None
        if source is None:
            continue
        options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "Cast" and options["to"] == TensorProto.FLOAT:
            planes[node.output[0]] = source
        elif node.op_type == "Cast":
            name = planes[node.output[0]] = f"{node.output[0]}/planes"
            casts.append(helper.make_node("Cast", [source], [name], name, to=options["to"]))
        elif node.op_type == "Transpose" and list(options["perm"]) == TO_PLANES:
            _read(graph, node.output[0], source)
    return casts


def _widen_count(graph: onnx.GraphProto, batch: int) -> None:
    """``count`` [N] becomes [N, 1]."""
    value = next((value for value in graph.output if value.name == "count"), None)
    if value is None or len(value.type.tensor_type.shape.dim) != 1:
        return
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == "count":
                node.output[index] = "nvinfer/count"
    _read(graph, "count", "nvinfer/count")
    shape = numpy_helper.from_array(np.array([batch, 1], np.int64), "nvinfer/count_shape")
    graph.initializer.append(shape)
    graph.node.append(helper.make_node("Reshape", ["nvinfer/count", shape.name], ["count"], "nvinfer/widen"))
    value.CopyFrom(helper.make_tensor_value_info("count", value.type.tensor_type.elem_type, [batch, 1]))

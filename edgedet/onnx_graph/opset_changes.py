"""Operators whose meaning or spelling changed after our opset, written as they were before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgedet.onnx_graph.builder import OPSET


class UnlowerableError(Exception):
    """A node that has no exact equivalent in the older opset; says why."""


class Context:
    """What a rewriting may need to know: constants and static shapes, and a place for constants of its own."""

    def __init__(self, graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._graph = graph
        self._known = {tensor.name: tensor for tensor in graph.initializer}
        self._shapes = shapes
        self._taken = {name for node in graph.node for name in (*node.input, *node.output)} | set(self._known)

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any] | None:
        """The value of an input, None where it is left out."""
        if len(node.input) <= index or not node.input[index]:
            return None
        tensor = self._known.get(node.input[index])
        if tensor is None:
            raise UnlowerableError(f"{node.input[index]} is computed, expected a constant")
        return numpy_helper.to_array(tensor)

    def shape(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Static shape of the first input."""
        shape = self._shapes.get(node.input[0])
        if shape is None:
            raise UnlowerableError(f"the shape of {node.input[0]} is not static")
        return shape

    def add(self, value: NDArray[Any]) -> str:
        """A new constant's name."""
        name = self.name("constant")
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        self._known[name] = self._graph.initializer[-1]
        return name

    def name(self, stem: str) -> str:
        """A tensor name that nothing else has."""
        count = 1
        while (name := f"opset{OPSET}/{stem}_{count}") in self._taken:
            count += 1
        self._taken.add(name)
        return name


def same_use(node: onnx.NodeProto, old: Any, new: Any) -> onnx.NodeProto:
    """The node itself, where all it uses existed before: newer versions of most operators only took in types."""
    if len(node.input) > old.max_input or len(node.output) > old.max_output:
        raise UnlowerableError(f"it has {len(node.input)} inputs, of which {old.max_input} existed then")
    kept = []
    for item in node.attribute:
        if item.name in old.attributes:
            kept.append(item)
        elif helper.get_attribute_value(item) != _default(new, item.name):
            raise UnlowerableError(f"its attribute {item.name} did not exist")
    return _with_attributes(node, kept)


def _default(schema: Any, name: str) -> Any:
    default = schema.attributes[name].default_value
    return helper.get_attribute_value(default) if default.name else None


def _with_attributes(node: onnx.NodeProto, attributes: list[onnx.AttributeProto]) -> onnx.NodeProto:
    attributes = [onnx.AttributeProto.FromString(item.SerializeToString()) for item in attributes]
    del node.attribute[:]
    node.attribute.extend(attributes)
    return node


def _split(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    """Parts of equal size are a matter of ``num_outputs`` since, the last one smaller where they do not divide."""
    settings = _settings(node)
    if len(node.input) < 2 or not node.input[1]:
        shape, parts, axis = context.shape(node), len(node.output), int(settings.get("axis", 0))
        part = -(-shape[axis] // parts)
        sizes = np.diff(np.minimum(np.arange(parts + 1) * part, shape[axis])).astype(np.int64)
        inputs = [node.input[0], context.add(sizes)]
        del node.input[:]
        node.input.extend(inputs)
    return [_with_attributes(node, [item for item in node.attribute if item.name == "axis"])]


def _reduce(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    """Axes were an attribute."""
    settings = _settings(node)
    axes = context.constant(node, 1)
    kept = [item for item in node.attribute if item.name == "keepdims"]
    if axes is None or not axes.size:
        if settings.get("noop_with_empty_axes", 0):
            return [helper.make_node("Identity", node.input[:1], list(node.output), node.name)]
    else:
        kept.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
    inputs = list(node.input[:1])
    del node.input[:]
    node.input.extend(inputs)
    return [_with_attributes(node, kept)]


def _resize(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    """Some axes only, antialiasing and kept proportions came later."""
    settings = _settings(node)
    for name, plain in (("antialias", 0), ("keep_aspect_ratio_policy", b"stretch")):
        if settings.get(name, plain) != plain:
            raise UnlowerableError(f"its attribute {name} did not exist")
    if settings.get("coordinate_transformation_mode") == b"half_pixel_symmetric":
        raise UnlowerableError("half_pixel_symmetric did not exist")
    axes = settings.get("axes")
    if axes is not None:
        shape = context.shape(node)
        for index, whole in ((2, np.ones(len(shape), np.float32)), (3, np.array(shape, np.int64))):
            given = context.constant(node, index)
            if given is not None and given.size:
                whole[list(axes)] = given
                node.input[index] = context.add(whole)
    later = ("antialias", "keep_aspect_ratio_policy", "axes")
    return [_with_attributes(node, [item for item in node.attribute if item.name not in later])]


def _pad(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    """Padding of some axes only came later."""
    if _settings(node).get("mode") == b"wrap":
        raise UnlowerableError("mode wrap did not exist")
    axes = context.constant(node, 3)
    if axes is not None:
        pads, rank = context.constant(node, 1), len(context.shape(node))
        assert pads is not None
        whole = np.zeros((2, rank), np.int64)
        whole[:, [int(axis) for axis in axes]] = pads.reshape(2, -1)
        node.input[1] = context.add(whole.reshape(-1))
    inputs = list(node.input[:3])
    del node.input[:]
    node.input.extend(inputs)
    return [node]


def _scatter(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    if _settings(node).get("reduction", b"none") in (b"min", b"max"):
        raise UnlowerableError("its reductions min and max did not exist")
    return [node]


def _grid_sample(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    """The modes have other names since."""
    if len(context.shape(node)) != 4:
        raise UnlowerableError("only pictures could be sampled")
    settings = _settings(node)
    mode = {b"linear": "bilinear", b"cubic": "bicubic"}.get(settings.get("mode", b"linear"), "nearest")
    kept = [item for item in node.attribute if item.name != "mode"]
    return [_with_attributes(node, [*kept, helper.make_attribute("mode", mode)])]


def _average_pool(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    """A window that reaches beyond the padding is divided by fewer pixels since."""
    settings = _settings(node)
    if set(settings.get("dilations", [1])) != {1}:
        raise UnlowerableError("its dilations did not exist")
    if settings.get("ceil_mode", 0) and settings.get("count_include_pad", 0):
        raise UnlowerableError("ceil_mode with count_include_pad meant something else")
    return [_with_attributes(node, [item for item in node.attribute if item.name != "dilations"])]


def _cast(node: onnx.NodeProto, context: Context) -> list[onnx.NodeProto]:
    """What came later speaks of 8-bit floats only."""
    return [_with_attributes(node, [item for item in node.attribute if item.name == "to"])]


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


REWRITTEN: dict[str, Callable[[onnx.NodeProto, Context], list[onnx.NodeProto]]] = {
    "AveragePool": _average_pool,
    "Cast": _cast,
    "GridSample": _grid_sample,
    "Pad": _pad,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Split": _split,
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
         "ReduceProd", "ReduceSumSquare"),
        _reduce,
    ),
}  # fmt: skip
"""Operators whose meaning or spelling changed after our opset. Of all others, later versions took in types."""

"""Graphs of any opset brought to ours, without a change of what they compute.

Exporters write opset 18 and later today, while edgedet's graphs are opset 17, so that TensorRT 10.3 and the ONNX
Runtime of JetPack 6 read them. Of what changed since, detectors use few operators, and these have exact
equivalents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import defs, helper, numpy_helper

from edgedet.errors import ArtifactError
from edgedet.export.graph import IR_VERSION, OPSET
from edgedet.export.simplify import simplify, static_shapes

MAIN = ("", "ai.onnx")
NESTED_BODIES = 8
"""Function bodies within function bodies: more would be a definition by itself."""


class UnlowerableError(Exception):
    """A node that has no exact equivalent in the older opset; says why."""


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the main operator set, 0 where none is named."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in MAIN), 0)


def to_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Bring ``model`` to edgedet's opset and IR version and clean it; ``path`` names it in messages.

    Raises:
        ArtifactError: an operator that this opset cannot express, or an opset this onnx package does not know.
    """
    version = opset_of(model)
    del model.graph.value_info[:]  # Exporters are known to write wrong ones.
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    if version < OPSET:
        try:
            model = onnx.version_converter.convert_version(model, OPSET)
        except Exception as error:  # the converter raises bare RuntimeErrors and its own ConvertError
            raise ArtifactError(
                f"{path} uses opset {version}, which cannot be raised to {OPSET} "
                f"({' '.join(str(error).split())[:160]}); export it again with an opset from 13 to 22"
            ) from error
    elif version > OPSET:
        if version > defs.onnx_opset_version():
            raise ArtifactError(
                f"{path} uses opset {version}, onnx {onnx.__version__} knows {defs.onnx_opset_version()} and "
                "older; update onnx (pip install -U onnx), or export it again with an opset from 13 to 22"
            )
        model = _lowered(_written_out(simplify(model), version, path), version, path)
    model.ir_version = IR_VERSION
    del model.graph.value_info[:]  # What the converter could not tell, it notes as unknown.
    return simplify(model)


def _written_out(model: onnx.ModelProto, version: int, path: Path) -> onnx.ModelProto:
    """Operators that did not exist, written out; what their definitions compute of constants is folded."""
    for _ in range(NESTED_BODIES):
        if all(_schema(node.op_type, OPSET) is not None for node in model.graph.node):
            break
        model = simplify(_each(model, version, path, _write_out))
    return model


def _lowered(model: onnx.ModelProto, version: int, path: Path) -> onnx.ModelProto:
    model = _each(model, version, path, _lower)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    return model


def _each(
    model: onnx.ModelProto,
    version: int,
    path: Path,
    change: Callable[[onnx.NodeProto, int, _Context], list[onnx.NodeProto]],
) -> onnx.ModelProto:
    """Exchange every node for what ``change`` makes of it."""
    graph = model.graph
    context = _Context(graph, static_shapes(model))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        try:
            nodes.extend(change(node, version, context))
        except UnlowerableError as reason:
            raise ArtifactError(
                f"{path} uses opset {version}, and its {node.op_type} {node.name or node.output[0]} has no "
                f"equivalent in opset {OPSET} ({reason}); export it again with opset {OPSET}"
            ) from None
    del graph.node[:]
    graph.node.extend(nodes)
    return model


class _Context:
    """What a rewriting may need to know: constants and static shapes, and a place for constants of its own."""

    def __init__(self, graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._graph = graph
        self._known = {tensor.name: tensor for tensor in graph.initializer}
        self._shapes = shapes
        self._count = 0

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray[Any] | None:
        """The value of an input, None where it is left out."""
        if len(node.input) <= index or not node.input[index]:
            return None
        tensor = self._known.get(node.input[index])
        if tensor is None:
            raise UnlowerableError(f"{node.input[index]} is computed, expected a constant")
        return numpy_helper.to_array(tensor)

    def shape(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Of the first input."""
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
        self._count += 1
        return f"opset{OPSET}/{stem}_{self._count}"


def _lower(node: onnx.NodeProto, version: int, context: _Context) -> list[onnx.NodeProto]:
    """Nodes of our opset that compute what ``node`` of opset ``version`` does."""
    new, old = _schemas(node, version)
    if old is None:
        raise UnlowerableError("it did not exist")
    if old.since_version == new.since_version:
        return [node]
    if node.op_type in REWRITTEN:
        return REWRITTEN[node.op_type](node, context)
    return [_same_use(node, old, new)]


def _write_out(node: onnx.NodeProto, version: int, context: _Context) -> list[onnx.NodeProto]:
    """The definition of an operator that our opset has not."""
    new, old = _schemas(node, version)
    return [node] if old is not None else _definition(node, new, version, context)


def _schemas(node: onnx.NodeProto, version: int) -> tuple[Any, Any]:
    """Of the operator in opset ``version``, and in ours, None where it did not exist."""
    if node.domain not in MAIN:
        raise UnlowerableError(f"it is an operator of {node.domain}")
    new = _schema(node.op_type, version)
    if new is None:
        raise UnlowerableError(f"opset {version} has no such operator")
    return new, _schema(node.op_type, OPSET)


def _schema(op_type: str, version: int) -> Any:
    try:
        return defs.get_schema(op_type, version, "")
    except Exception:  # SchemaError, which onnx keeps in a private module
        return None


def _same_use(node: onnx.NodeProto, old: Any, new: Any) -> onnx.NodeProto:
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


def _definition(node: onnx.NodeProto, schema: Any, version: int, context: _Context) -> list[onnx.NodeProto]:
    """An operator as ONNX itself defines it, in nodes of opset ``version``."""
    if not (schema.has_function or schema.has_context_dependent_function):
        raise UnlowerableError("it did not exist")
    if schema.has_function:
        function = schema.function_body
    else:
        kind = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None).SerializeToString()
        body = schema.get_context_dependent_function(node.SerializeToString(), [kind] * len(node.input))
        function = onnx.FunctionProto.FromString(body)
    given = {item.name: item for item in node.attribute}
    defaults = {name: spec.default_value for name, spec in schema.attributes.items() if spec.default_value.name}
    inputs = [*node.input, *([""] * (len(function.input) - len(node.input)))]
    names = dict(zip(function.input, inputs, strict=True)) | dict(zip(function.output, node.output, strict=False))
    since = next((int(entry.version) for entry in function.opset_import if entry.domain in MAIN), version)
    written = []
    for inner in function.node:
        copy = onnx.NodeProto.FromString(inner.SerializeToString())
        for places in (copy.input, copy.output):
            for index, name in enumerate(places):
                if name and name not in names:
                    names[name] = context.name(f"{node.op_type}/{name}")
                places[index] = names.get(name, "")
        for item in copy.attribute:
            if item.ref_attr_name:
                value = given.get(item.ref_attr_name, defaults.get(item.ref_attr_name))
                if value is None:
                    raise UnlowerableError(f"its attribute {item.ref_attr_name} is missing")
                name = item.name
                item.CopyFrom(value)
                item.name = name
        if copy.op_type == "Constant" and copy.attribute[0].name != "value":
            value = np.asarray(helper.get_attribute_value(copy.attribute[0]))
            value = value.astype(np.int64 if value.dtype.kind == "i" else np.float32)
            copy = helper.make_node("Constant", [], copy.output, value=numpy_helper.from_array(value))
        was, now = _schema(copy.op_type, since), _schema(copy.op_type, version)
        if was is not None and now is not None and was.since_version != now.since_version:
            _same_use(onnx.NodeProto.FromString(copy.SerializeToString()), now, was)
        written.append(copy)
    return written


def _split(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
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


def _reduce(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
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


def _resize(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
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


def _pad(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
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


def _scatter(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
    if _settings(node).get("reduction", b"none") in (b"min", b"max"):
        raise UnlowerableError("its reductions min and max did not exist")
    return [node]


def _grid_sample(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
    """The modes have other names since."""
    if len(context.shape(node)) != 4:
        raise UnlowerableError("only pictures could be sampled")
    settings = _settings(node)
    mode = {b"linear": "bilinear", b"cubic": "bicubic"}.get(settings.get("mode", b"linear"), "nearest")
    kept = [item for item in node.attribute if item.name != "mode"]
    return [_with_attributes(node, [*kept, helper.make_attribute("mode", mode)])]


def _average_pool(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
    """A window that reaches beyond the padding is divided by fewer pixels since."""
    settings = _settings(node)
    if set(settings.get("dilations", [1])) != {1}:
        raise UnlowerableError("its dilations did not exist")
    if settings.get("ceil_mode", 0) and settings.get("count_include_pad", 0):
        raise UnlowerableError("ceil_mode with count_include_pad meant something else")
    return [_with_attributes(node, [item for item in node.attribute if item.name != "dilations"])]


def _cast(node: onnx.NodeProto, context: _Context) -> list[onnx.NodeProto]:
    """What came later speaks of 8-bit floats only."""
    return [_with_attributes(node, [item for item in node.attribute if item.name == "to"])]


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


REWRITTEN: dict[str, Callable[[onnx.NodeProto, _Context], list[onnx.NodeProto]]] = {
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

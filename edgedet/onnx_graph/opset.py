"""Graphs of any opset brought to ours, without a change of what they compute.

Exporters write opset 18 and later today, while edgedet's graphs are opset 17, so that TensorRT 10.3 and the ONNX
Runtime of JetPack 6 read them. Of what changed since, detectors use few operators, and these have exact
equivalents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import defs, helper, numpy_helper

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import IR_VERSION, OPSET
from edgedet.onnx_graph.cleaning import keep_constants, simplify, static_shapes
from edgedet.onnx_graph.opset_changes import REWRITTEN, Context, UnlowerableError, same_use
from edgedet.onnx_graph.shape_inference import without_weights

MAIN = ("", "ai.onnx")
NESTED_BODIES = 8
"""Function bodies within function bodies: more would be a definition by itself."""


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the main operator set, 0 where none is named."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in MAIN), 0)


class UnraisableError(Exception):
    """onnx's converter cannot bring a graph to any opset that would do; the message is its own."""


def raise_opset(model: onnx.ModelProto, targets: Sequence[int]) -> onnx.ModelProto:
    """Bring ``model``, in place, to the first of ``targets`` that onnx's converter manages, and return it.

    The converter never sees the weights, which stay where they are: it copies every constant several times.

    Raises:
        UnraisableError: in none of them.
    """
    failure: Exception | None = None
    light = without_weights(model)
    kept = {tensor.name for tensor in light.graph.initializer}
    listed = {value.name for value in model.graph.input}
    for target in targets:
        try:
            raised: onnx.ModelProto = onnx.version_converter.convert_version(light, target)
            onnx.checker.check_model(raised)
        except Exception as error:  # the converter raises bare RuntimeErrors and its own ConvertError
            failure = error
            continue
        graph = model.graph
        keep_constants(graph, {tensor.name for tensor in graph.initializer} - kept)
        graph.initializer.extend(raised.graph.initializer)
        del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:], model.opset_import[:]
        graph.node.extend(raised.graph.node)
        graph.input.extend(value for value in raised.graph.input if value.name in listed)
        graph.output.extend(raised.graph.output)
        graph.value_info.extend(raised.graph.value_info)
        model.opset_import.extend(raised.opset_import)
        model.ir_version = max(model.ir_version, raised.ir_version)
        return model
    raise UnraisableError(str(failure)) from failure


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
    change: Callable[[onnx.NodeProto, int, Context], list[onnx.NodeProto]],
) -> onnx.ModelProto:
    """Exchange every node for what ``change`` makes of it."""
    graph = model.graph
    context = Context(graph, static_shapes(model))
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


def _lower(node: onnx.NodeProto, version: int, context: Context) -> list[onnx.NodeProto]:
    """Nodes of our opset that compute what ``node`` of opset ``version`` does."""
    new, old = _schemas(node, version)
    if old is None:
        raise UnlowerableError("it did not exist")
    if old.since_version == new.since_version:
        return [node]
    if node.op_type in REWRITTEN:
        return REWRITTEN[node.op_type](node, context)
    return [same_use(node, old, new)]


def _write_out(node: onnx.NodeProto, version: int, context: Context) -> list[onnx.NodeProto]:
    """The definition of an operator that our opset has not."""
    new, old = _schemas(node, version)
    return [node] if old is not None else _definition(node, new, version, context)


def _schemas(node: onnx.NodeProto, version: int) -> tuple[Any, Any]:
    """Schemas of the operator in opset ``version`` and in ours; None where it did not exist."""
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


def _definition(node: onnx.NodeProto, schema: Any, version: int, context: Context) -> list[onnx.NodeProto]:
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
            same_use(onnx.NodeProto.FromString(copy.SerializeToString()), now, was)
        written.append(copy)
    return written

"""Taking out of a graph what does nothing: identities, arithmetic on constants, equal constants, dead nodes."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.shape_inference import inferred

UNFOLDED = ("QuantizeLinear", "DequantizeLinear")
SHAPE_READERS = ("Shape", "Size")
UNTRUE_MODES = {b"tf_crop_and_resize", b"tf_half_pixel_for_nn"}
"""Modes of Resize that move pixels even where the size stays."""
LARGEST_FOLDED = 1 << 20
"""Elements. Folding an expansion into a larger constant would only make the file grow."""
LARGEST_FILLED = 1 << 10
"""Elements of what ConstantOfShape fills: pads and shapes are made of it, and those are short."""


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Clean ``model`` in place and return it. The graph's inputs and outputs keep their names.

    Constant nodes become initialisers, initialisers cease to be graph inputs (older exporters list them), nodes
    come before their readers, identities, inference-time dropouts and resizing to the same size go, shapes of
    static tensors and what is computed from constants alone becomes constant, equal constants are stored once, dead
    nodes and constants go.

    Folding is repeated until nothing changes: a constant found in one pass gives shapes to the next.
    """
    graph = model.graph
    _sort_nodes(graph)
    constants_to_initializers(graph)
    unlist_constants(graph)
    remove_identities(model)
    while _fold_constants(model):
        pass
    if _idle_resizes_to_identities(model):
        remove_identities(model)
    _share_constants(graph)
    remove_dead(graph)
    return model


def _sort_nodes(graph: onnx.GraphProto) -> None:
    """ONNX wants it so, but ONNX Runtime's own converter to float16 appends its nodes at the end."""
    made = {name for node in graph.node for name in node.output if name}
    placed: set[str] = set()
    ordered: list[onnx.NodeProto] = []
    waiting = list(graph.node)
    while waiting:
        later = []
        for node in waiting:
            if all(name in placed or name not in made for name in _reads(node)):
                placed.update(node.output)
                ordered.append(node)
            else:
                later.append(node)
        if len(later) == len(waiting):
            return  # A cycle is for the checker to name.
        waiting = later
    del graph.node[:]
    graph.node.extend(ordered)


def _reads(node: onnx.NodeProto) -> list[str]:
    """Names a node reads, those inside its branches and loops included."""
    names = list(node.input)
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            names.extend(name for child in inner.node for name in _reads(child))
            names.extend(value.name for value in inner.output)
    return names


def unlist_constants(graph: onnx.GraphProto) -> None:
    """Take initialisers off the list of inputs, where exporters up to opset 11 put them."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Turn ``Constant`` nodes that hold a tensor into initialisers."""
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def remove_identities(model: onnx.ModelProto) -> None:
    """Turn identities and dropouts into wires; those between an input or a constant and a graph output stay."""
    graph, network = model.graph, Network(model)
    outputs, fixed = set(network.outputs), {*network.outputs, *network.inputs, *network.constants}
    source: dict[str, str] = {}

    def resolve(name: str) -> str:
        while name in source:
            name = source[name]
        return name

    kept = []
    for node in graph.node:
        if node.op_type in ("Identity", "Dropout"):
            origin, result = resolve(node.input[0]), node.output[0]
            if result not in outputs:
                source[result] = origin
                continue
            # An identity that names a graph output: let the producer write under that name instead.
            maker = network.producer.get(origin)
            if maker is not None and origin not in fixed and len(network.consumers[node.input[0]]) == 1:
                for index, name in enumerate(maker.output):
                    if name == origin:
                        maker.output[index] = result
                source[origin] = result
                continue
        kept.append(node)
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = resolve(name)
    del graph.node[:]
    graph.node.extend(kept)


def _fold_constants(model: onnx.ModelProto) -> bool:
    """Whether there was something to fold. Everything that had no shape may have one then."""
    graph = model.graph
    shapes = static_shapes(model)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    outputs = {value.name for value in graph.output}
    known = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        value: np.ndarray | None = None
        if len(node.output) == 1 and node.output[0] not in outputs:
            if node.op_type in SHAPE_READERS and node.input[0] in shapes:
                value = _of_shape(node, shapes[node.input[0]])
            elif node.op_type == "ConstantOfShape" and _filled_size(node, known) > LARGEST_FILLED:
                value = None
            elif node.input and node.op_type not in UNFOLDED:
                value = _evaluate(node, known, opset)
        if value is None:
            kept.append(node)
            continue
        known[node.output[0]] = numpy_helper.from_array(value, node.output[0])
        graph.initializer.append(known[node.output[0]])
    found = len(kept) < len(graph.node)
    del graph.node[:]
    graph.node.extend(kept)
    return found


def _of_shape(node: onnx.NodeProto, shape: tuple[int, ...]) -> np.ndarray:
    """What Shape (since opset 15 also of some axes) or Size gives for a tensor of ``shape``."""
    if node.op_type == "Size":
        return np.array(np.prod(shape, dtype=np.int64), np.int64)
    limits = {attribute.name: attribute.i for attribute in node.attribute}
    return np.array(shape[limits.get("start", 0) : limits.get("end")], np.int64)


def _idle_resizes_to_identities(model: onnx.ModelProto) -> bool:
    """Pyramids enlarge each level to the next one's size, which backbones without a stride between them share."""
    resizes = [node for node in model.graph.node if node.op_type == "Resize" and len(node.input) > 2]
    if not resizes:
        return False
    shapes = static_shapes(model)
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    found = False
    for node in resizes:
        shape = shapes.get(node.input[0])
        scales, sizes = (known.get(name) for name in (*node.input[2:4], "")[:2])
        modes = {attribute.s for attribute in node.attribute if attribute.name == "coordinate_transformation_mode"}
        if shape is None or modes & UNTRUE_MODES or any(a.name == "axes" for a in node.attribute):
            continue
        if len(node.input) > 3 and node.input[3]:
            idle = sizes is not None and tuple(numpy_helper.to_array(sizes)) == shape
        else:
            idle = scales is not None and bool((numpy_helper.to_array(scales) == 1).all())
        if idle:
            identity = onnx.helper.make_node("Identity", node.input[:1], list(node.output), name=node.name)
            node.CopyFrom(identity)
            found = True
    return found


def static_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes without unknowns, of every tensor that inference can give one."""
    graph = inferred(model)
    shapes: dict[str, tuple[int, ...]] = {}
    for info in (*graph.value_info, *graph.input, *graph.output):
        sizes = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            shapes[info.name] = tuple(size.dim_value for size in sizes)
    return shapes


def _evaluate(node: onnx.NodeProto, known: dict[str, onnx.TensorProto], opset: int) -> np.ndarray | None:
    """The result of a node whose inputs are all known and small."""
    if any(name and name not in known for name in node.input) or any(a.HasField("g") for a in node.attribute):
        return None
    inputs = {name: numpy_helper.to_array(known[name]) for name in node.input if name}
    if sum(array.size for array in inputs.values()) > LARGEST_FOLDED:
        return None
    copy = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node],
            "one",
            [onnx.helper.make_tensor_value_info(name, known[name].data_type, None) for name in inputs],
            [onnx.helper.make_empty_tensor_value_info(node.output[0])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", opset)],
    )
    try:
        (result,) = ReferenceEvaluator(copy).run(None, inputs)
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # An operator the evaluator does not know simply stays.
    value = np.asarray(result)
    return value if value.size <= LARGEST_FOLDED else None


def _filled_size(node: onnx.NodeProto, known: dict[str, onnx.TensorProto]) -> int:
    """Elements of what a ConstantOfShape of a known shape makes."""
    shape = known.get(node.input[0])
    return LARGEST_FILLED + 1 if shape is None else int(np.prod(numpy_helper.to_array(shape), dtype=np.float64))


def _share_constants(graph: onnx.GraphProto) -> None:
    """Only small ones: shapes, axes and scalars are what exporters repeat by the dozen."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    same: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.size <= 64:
            key = (tensor.data_type, tuple(array.shape), array.tobytes())
            if key in first:
                same[tensor.name] = first[key]
                continue
            first[key] = tensor.name
        kept.append(tensor)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = same.get(name, name)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def remove_dead(graph: onnx.GraphProto) -> None:
    """Take out nodes and constants that no output of the graph needs, in place."""
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in wanted for name in node.output):
            wanted.update(_reads(node))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    keep_constants(graph, wanted)


def keep_constants(graph: onnx.GraphProto, wanted: Container[str]) -> None:
    """Take out the constants that are not in ``wanted``, in place: those that stay are not copied."""
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in wanted:
            del graph.initializer[index]

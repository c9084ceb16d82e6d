"""YOLOv5's and v7's heads: the best class of every box found level by level, before the levels are joined.

Such a head joins box, objectness and class scores of every level, and the levels, to [N, A, 85]; what follows takes
that apart, multiplies 80 scores of each of 25,200 boxes, and asks for the largest and its class. On a CPU every one
of these steps copies 8 MB. Here each level gives its boxes, the largest of its class scores times objectness, and
its class. The largest product is the product of the largest, to the last bit, since rounding keeps the order and
neither is below 0: heads whose numbers are no sigmoid's stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.onnx_graph.network import Network, attributes
from edgedet.onnx_graph.rewriting import with_nodes

BOX = 4
PREFIX = "levels"


def choose_by_level(model: onnx.ModelProto) -> onnx.ModelProto:
    """Find the best class before levels are joined, in place; graphs that join nothing stay as they are.

    The shapes of ``model`` must be inferred and static.
    """
    network = Network(model)
    shapes = network.shapes()
    head = next(filter(None, (_head(network, shapes, node) for node in model.graph.node)), None)
    if head is None:
        return model
    made = _Made()
    boxes: list[str] = []
    scores: list[str] = []
    labels: list[str] = []
    for number, level in enumerate(head.levels):
        place = f"{PREFIX}/{number}"
        batch, count = shapes[level.reshaped][:2]
        last = len(level.shape) - 1
        sure, classes = f"{place}/objectness", f"{place}/classes"
        # What takes the box numbers apart takes these apart, too.
        source, before, widths = level.likely, list[str](), list[int]()
        if level.split is not None:
            source, before = level.split.input[0], list(level.split.output[:-1])
            widths = [shapes[name][-1] for name in before]
        made.ints(f"{place}/parts", (*widths, 1, head.classes))
        made.node("Split", [source, f"{place}/parts"], [*before, sure, classes], name=f"{place}/apart", axis=last)
        best = made.node("ReduceMax", [classes], [f"{place}/best"], axes=[last], keepdims=1)
        score = made.node("Mul", [best, sure], [f"{place}/score"])
        label = made.node("ArgMax", [classes], [f"{place}/label"], axis=last, keepdims=0)
        box = made.node("Concat", level.box, [f"{place}/box"], axis=last)
        for value, found, sizes in (
            (box, boxes, (batch, count, BOX)), (score, scores, (batch, 1, count)), (label, labels, (batch, count))
        ):  # fmt: skip
            made.ints(f"{value}/shape", sizes)
            found.append(made.node("Reshape", [value, f"{value}/shape"], [f"{value}/flat"]))
    for parts, output, axis in ((boxes, head.boxes, 1), (scores, head.scores, 2), (labels, head.labels, 1)):
        made.node("Concat", parts, [output], name=f"{PREFIX}/joined/{output}", axis=axis)
    model.graph.initializer.extend(made.constants)
    kept = [node for node in model.graph.node if not head.replaced.intersection(node.output)]
    return with_nodes(model, [*kept, *made.nodes])


@dataclass
class _Made:
    """Nodes and constants that are added."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def node(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], *, name: str = "", **settings: Any
    ) -> str:
        """Add a node, called as its first output unless ``name`` is given; returns that output."""
        self.nodes.append(
            helper.make_node(op_type, list(inputs), list(outputs), name=name or outputs[0], **settings)
        )
        return outputs[0]

    def ints(self, name: str, values: Sequence[int]) -> None:
        """Add an int64 constant."""
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))


@dataclass(frozen=True)
class _Level:
    """``box``: what its boxes are joined of; ``likely``: objectness and classes, which ``split`` gives last where
    it is not None; ``shape``: of all numbers, which become ``reshaped`` [N, A, 5 + C]."""

    box: tuple[str, ...]
    likely: str
    split: onnx.NodeProto | None
    shape: tuple[int, ...]
    reshaped: str


@dataclass(frozen=True)
class _Head:
    """Names of the tensors that stay, and of the ``replaced`` ones, with ``boxes``, ``scores`` and ``labels``."""

    levels: tuple[_Level, ...]
    classes: int
    boxes: str
    scores: str
    labels: str
    replaced: frozenset[str]


def _head(network: Network, shapes: dict[str, tuple[int, ...]], parts: onnx.NodeProto) -> _Head | None:
    """What ``parts`` takes apart, where it is such a head and nothing else reads what lies between."""
    if parts.op_type != "Split" or len(parts.output) != 3:
        return None
    box, one, classes = (_numbers(shapes, output) for output in parts.output)
    if (box, one) != (BOX, 1) or not classes:
        return None
    product = network.only_reader(parts.output[2])
    if product is None or product.op_type != "Mul" or set(product.input) != set(parts.output[1:]):
        return None
    turned = network.only_reader(product.output[0])
    if turned is None or turned.op_type != "Transpose" or attributes(turned).get("perm") != [0, 2, 1]:
        return None
    readers = {node.op_type: node for node in network.consumers.get(turned.output[0], [])}
    if set(readers) != {"ReduceMax", "ArgMax"} or len(network.consumers[turned.output[0]]) != 2:
        return None
    largest, label = attributes(readers["ReduceMax"]), attributes(readers["ArgMax"])
    if (largest.get("axes"), largest.get("keepdims", 1)) != ([1], 1):
        return None
    if (label.get("axis"), label.get("keepdims", 1), label.get("select_last_index", 0)) != (1, 0, 0):
        return None
    joined = network.producer.get(parts.input[0])
    if joined is None or joined.op_type != "Concat" or network.only_reader(parts.input[0]) is not parts:
        return None
    if attributes(joined).get("axis") not in (1, -2) or len(shapes.get(parts.input[0], ())) != 3:
        return None
    levels = tuple(_levels(network, shapes, joined, classes))
    if len(levels) != len(joined.input):
        return None
    between = [parts, product, turned, *readers.values(), joined]
    for level in levels:
        reshape = network.producer[level.reshaped]
        between += [reshape, network.producer[reshape.input[0]], *([level.split] if level.split else [])]
    return _Head(
        levels,
        classes,
        parts.output[0],
        readers["ReduceMax"].output[0],
        readers["ArgMax"].output[0],
        frozenset(name for node in between for name in node.output),
    )


def _levels(
    network: Network, shapes: dict[str, tuple[int, ...]], joined: onnx.NodeProto, classes: int
) -> Iterator[_Level]:
    """Levels among those ``joined`` that are box numbers followed by objectness and classes."""
    for name in joined.input:
        reshape = network.producer.get(name)
        if reshape is None or reshape.op_type != "Reshape" or network.only_reader(name) is not joined:
            continue
        source = network.producer.get(reshape.input[0])
        if source is None or source.op_type != "Concat" or network.only_reader(reshape.input[0]) is not reshape:
            continue
        shape = shapes.get(reshape.input[0], ())
        # The last axis is what is joined, and stays what it is.
        if attributes(source).get("axis") not in (-1, len(shape) - 1) or shape[-1:] != shapes.get(name, ())[-1:]:
            continue
        widths = [_numbers(shapes, each) for each in source.input]
        right = sum(widths[:-1]) == BOX and widths[-1] == 1 + classes and all(shape)
        if right and _is_sigmoid(network, source.input[-1]):
            split = network.producer.get(source.input[-1])
            if split is not None and not _gives_last(network, split, source, len(shape) - 1):
                split = None
            yield _Level(tuple(source.input[:-1]), source.input[-1], split, shape, name)


def _numbers(shapes: dict[str, tuple[int, ...]], name: str) -> int:
    """The size of a tensor's last axis; 0 where it is not known."""
    return (shapes.get(name) or (0,))[-1]


def _is_sigmoid(network: Network, name: str) -> bool:
    """Whether a tensor is what a sigmoid gives, or a part of that."""
    node = network.producer.get(name)
    while node is not None and node.op_type in ("Split", "Slice"):
        node = network.producer.get(node.input[0])
    return node is not None and node.op_type == "Sigmoid"


def _gives_last(network: Network, split: onnx.NodeProto, reader: onnx.NodeProto, axis: int) -> bool:
    """Whether ``split`` takes the last axis apart, and ``reader`` alone reads the last part."""
    return (
        split.op_type == "Split"
        and attributes(split).get("axis") in (-1, axis)
        and split.output[-1] == reader.input[-1]
        and network.only_reader(split.output[-1]) is reader
    )

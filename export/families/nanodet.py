"""NanoDet and NanoDet-Plus (github.com/RangiLyu/nanodet) from their authors' ONNX export: one output [N, A, D].

A row holds C class scores and, for each side of the box, a distribution over 0..R cells as logits (generalised
focal loss, arXiv:2006.04388): D = C + 4 (R + 1). Cells' places are their corners in NanoDet-Plus, their middles in
NanoDet before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgedet.artifacts.card import ResizeRule
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.onnx_graph.network import Network, attributes
from edgedet.outputs.plausible_values import SCORE_SLACK

from ..foreign import ForeignGraph, only_output
from ..training.assumptions import Assumption
from .base import ForeignExport, ForeignFamily, GraphOptions, output_spec
from .boxes import clip_boxes
from .dense_heads import CAFFE_MEAN, CAFFE_STD, cells, finished, require_names
from .network_input import add_network, picture_spec
from .trial import finite, observe

SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.05, 0.6, 100
"""NanoDet's own, in ``get_bboxes``."""
STRIDES = ((8, 16, 32, 64), (8, 16, 32))
MIN_BINS = 2


@dataclass(frozen=True)
class Kind:
    """``offset``: of a cell's place from its corner, in cells. ``levels``, ``window``: number of strides, and side
    of the head's depthwise convolutions, of all published ones."""

    title: str
    family: str
    offset: float
    resize: ResizeRule
    resizing: str
    levels: int
    window: int


PLUS = Kind(
    "NanoDet-Plus", "nanodet-plus", 0.0, ResizeRule("stretch"), "stretched (keep_ratio: False)", levels=4, window=5
)
FIRST = Kind(
    "NanoDet",
    "nanodet",
    0.5,
    ResizeRule("letterbox", pad=(0.0, 0.0, 0.0), place="center"),
    "letterbox, the picture in the middle, padded with black (keep_ratio: True)",
    levels=3,
    window=3,
)


def _export(foreign: ForeignGraph, options: GraphOptions, named: int | None, *, kind: Kind) -> ForeignExport:
    name, strides = _output(foreign, kind)
    of_kind = _require_kind(foreign, len(strides), kind)
    seen = finite(foreign, observe(foreign, scale=1 / 57, colour="BGR")[name])
    _, anchors, columns = foreign.outputs[name]
    classes = _count(foreign, seen.reshape(-1, columns), named, kind)
    require_names(foreign, classes, named)
    spec = picture_spec(foreign, options, CAFFE_MEAN, CAFFE_STD, scale=1.0, trained_colour="BGR")
    output = output_spec(options, SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS)
    graph = GraphBuilder("nanodet")
    (raw,) = add_network(graph, only_output(foreign.model, name), spec)
    bins = (columns - classes) // 4
    scores, sides = graph.ops("Split", raw, graph.ints(classes, 4 * bins), name="decode/parts", outputs=2, axis=-1)
    places, steps = cells(foreign, strides, offset=kind.offset)
    distances = _expected(graph, sides, bins, (foreign.batch, anchors))
    distances = graph.op("Mul", distances, graph.constant(steps), name="decode/distances")
    near, far = graph.ops("Split", distances, graph.ints(2, 2), name="decode/sides", outputs=2, axis=-1)
    middle = graph.constant(places)
    low = graph.op("Sub", middle, near, name="decode/low")
    high = graph.op("Add", middle, far, name="decode/high")
    boxes = graph.op("Concat", low, high, name="decode/corners", axis=-1)
    boxes = clip_boxes(graph, boxes, height=foreign.height, width=foreign.width, name="decode/clip")
    return finished(
        foreign,
        graph,
        boxes,
        graph.op("Transpose", scores, name="scores/by_class", perm=[0, 2, 1]),
        options=options,
        spec=spec,
        output=output,
        resize=kind.resize,
        anchors=anchors,
        classes=classes,
        family="nanodet",
        architecture=kind.title,
        assumed=(
            Assumption("pixels", "BGR, ImageNet's mean and standard deviation, as NanoDet trains", "its .yml"),
            Assumption("resizing", kind.resizing, "its .yml"),
            *of_kind,
        ),
    )


def _require_kind(foreign: ForeignGraph, levels: int, kind: Kind) -> tuple[Assumption, ...]:
    """Hold the kind that is stated against what the file is built like: nothing in its numbers tells the two apart.

    Returns what of it the file leaves open.

    Raises:
        ArtifactError: it is built like the other.
    """
    other = FIRST if kind is PLUS else PLUS
    window = _head_window(foreign.model)
    looks = (
        [each for each in (kind, other) if each.levels == levels],
        [each for each in (kind, other) if each.window == window],
    )
    if all(found == [other] for found in looks):
        raise ArtifactError(
            f"{foreign.path} is built like {other.title}, with {levels} strides and depthwise convolutions of "
            f"{window}x{window} in its head, not like {kind.title} ({kind.levels}, {kind.window}x{kind.window}); "
            f"their cells lie half a cell apart: say --family {other.family}"
        )
    if all(found == [kind] for found in looks):
        return ()
    how = "a head without depthwise convolutions" if window is None else f"a head of {window}x{window} windows"
    said = f"of their cells, as {kind.title}'s, though {levels} strides and {how} are not all its own"
    place = "corners" if kind is PLUS else "middles"
    return (Assumption("places", f"{place} {said}", "its .yml"),)


def _head_window(model: onnx.ModelProto) -> int | None:
    """Side of the last depthwise convolutions before the outputs, None where there are none."""
    network, found = Network(model), []
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    waiting, seen = list(network.outputs), set[str]()
    while waiting:
        name = waiting.pop()
        node = network.producer.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "Conv" and attributes(node).get("group", 1) > 1:
            found.append(shapes.get(node.input[1], (0,))[-1])
            continue
        waiting.extend(filter(None, node.input[:1] if node.op_type == "Conv" else node.input))
    return found[0] if found and len(set(found)) == 1 else None


def _expected(graph: GraphBuilder, sides: str, bins: int, rows: tuple[int, int]) -> str:
    """The expected distance to each side, in cells: [N, A, 4 * bins] logits to [N, A, 4]."""
    sides = graph.op("Reshape", sides, graph.ints(*rows, 4, bins), name="decode/bins")
    shares = graph.op("Softmax", sides, name="decode/softmax", axis=-1)
    weighted = graph.op("Mul", shares, graph.constant(np.arange(bins)), name="decode/weighted")
    return graph.op("ReduceSum", weighted, graph.ints(-1), name="decode/expected", keepdims=0)


def _output(foreign: ForeignGraph, kind: Kind) -> tuple[str, tuple[int, ...]]:
    """The output [N, A, D], and the strides of its A cells.

    Raises:
        ArtifactError: no such output.
    """
    counts = {len(cells(foreign, strides, offset=0.0)[0]): strides for strides in STRIDES}
    rows = {name: shape for name, shape in foreign.outputs.items() if len(shape) == 3 and shape[1] in counts}
    if len(rows) != 1:
        wanted = " or ".join(f"{count} (strides {strides})" for count, strides in counts.items())
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are not {kind.title}'s; expected one [N, cells, classes + "
            f"4 * bins], with {wanted} cells"
        )
    ((name, shape),) = rows.items()
    return name, counts[shape[1]]


def _count(foreign: ForeignGraph, rows: NDArray[Any], named: int | None, kind: Kind) -> int:
    """How many classes rows [R, D] hold: the leading columns are probabilities, those behind are logits.

    Raises:
        ArtifactError: rows that do not look so.
    """
    columns = rows.shape[1]
    inside = (rows.min(axis=0) >= -SCORE_SLACK) & (rows.max(axis=0) <= 1 + SCORE_SLACK)
    leading = columns if inside.all() else int(inside.argmin())
    classes = leading if named is None else named
    bins, rest = divmod(columns - classes, 4)
    if not 0 < classes <= leading or rest or bins < MIN_BINS or leading - classes >= 4:
        raise ArtifactError(
            f"{foreign.path} gives {columns} numbers per cell, of which the first {leading} are from 0 to 1; "
            f"{kind.title} gives a probability for each class{'' if named is None else f' (here {named})'}, then "
            "logits of four distributions of equal length; this is another detector, or --classes names others"
        )
    return classes


NANODET_PLUS = ForeignFamily("nanodet-plus", partial(_export, kind=PLUS))
NANODET = ForeignFamily("nanodet", partial(_export, kind=FIRST))

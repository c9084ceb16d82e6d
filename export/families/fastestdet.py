"""FastestDet (github.com/dog-qiuqiu/FastestDet) from its author's ONNX export: one map [N, 5 + C, H, W].

A cell holds objectness, four numbers of its box, and a softmax over the classes. The score is objectness to the 0.6
times the best class's probability to the 0.4, and only the best class is a detection.
"""

from __future__ import annotations

import numpy as np

from edgedet.artifacts.card import ResizeRule
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.outputs.plausible_values import SUM_SLACK, score_range

from ..foreign import ForeignGraph, only_output
from ..training.assumptions import Assumption
from .base import ForeignExport, ForeignFamily, GraphOptions, output_spec
from .dense_heads import cells, finished, require_names
from .head_layout import centred_corners
from .network_input import add_network, picture_spec
from .trial import finite, observe

SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.25, 0.45, 300
"""Limits of ``handle_preds``, which has no limit of its own."""
SURE, LIKELY = 0.6, 0.4
"""Powers of objectness and of the class's probability in the score."""


def _export(foreign: ForeignGraph, options: GraphOptions, named: int | None) -> ForeignExport:
    name, stride = _output(foreign)
    _, channels, rows, columns = foreign.outputs[name]
    classes = channels - 5
    _require_head(foreign, name)
    require_names(foreign, classes, named)
    spec = picture_spec(foreign, options, trained_colour="BGR")
    output = output_spec(options, SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS, label_mode="best")
    graph = GraphBuilder("fastestdet")
    (raw,) = add_network(graph, only_output(foreign.model, name), spec)
    anchors = rows * columns
    flat = graph.op("Reshape", raw, graph.ints(foreign.batch, channels, anchors), name="decode/flat")
    sure, sides, likely = graph.ops(
        "Split", flat, graph.ints(1, 4, classes), name="decode/parts", outputs=3, axis=1
    )
    sides = graph.op("Transpose", sides, name="decode/rows", perm=[0, 2, 1])
    offset, size = graph.ops("Split", sides, graph.ints(2, 2), name="decode/sides", outputs=2, axis=-1)
    places, _ = cells(foreign, (stride,), offset=0.0)
    step = graph.constant([foreign.width / columns, foreign.height / rows])
    offset = graph.op("Tanh", offset, name="decode/offset")
    offset = graph.op("Mul", offset, step, name="decode/offset_pixels")
    centre = graph.op("Add", offset, graph.constant(places), name="decode/centre")
    size = graph.op("Sigmoid", size, name="decode/share")
    size = graph.op("Mul", size, graph.constant([foreign.width, foreign.height]), name="decode/size")
    sure = graph.op("Pow", sure, graph.constant(SURE), name="scores/sure")
    likely = graph.op("Pow", likely, graph.constant(LIKELY), name="scores/likely")
    return finished(
        foreign,
        graph,
        centred_corners(graph, centre, size),
        graph.op("Mul", sure, likely, name="scores/product"),
        options=options,
        spec=spec,
        output=output,
        resize=ResizeRule("stretch"),
        anchors=anchors,
        classes=classes,
        family="fastestdet",
        architecture="FastestDet",
        assumed=(
            Assumption("pixels", "BGR, 0 to 1, as FastestDet trains", "nothing, for FastestDet"),
            Assumption("resizing", "stretched", "nothing, for FastestDet"),
        ),
    )


def _output(foreign: ForeignGraph) -> tuple[str, int]:
    """The map, and its stride.

    Raises:
        ArtifactError: no such output.
    """
    maps = {name: shape for name, shape in foreign.outputs.items() if len(shape) == 4}
    if len(maps) == 1 == len(foreign.outputs):
        ((name, (_, channels, rows, columns)),) = maps.items()
        stride = foreign.height // rows
        if channels > 5 and (rows * stride, columns * stride) == (foreign.height, foreign.width):
            return name, stride
    raise ArtifactError(
        f"{foreign.path}: outputs {foreign.outputs} are not FastestDet's; expected one map [N, 5 + classes, "
        "H / 16, W / 16]"
    )


def _require_head(foreign: ForeignGraph, name: str) -> None:
    """Check that the numbers are objectness, four of a box, and a softmax.

    Raises:
        ArtifactError: they are not.
    """
    seen = finite(foreign, observe(foreign, scale=1 / 255, colour="BGR")[name])
    sums = seen[:, 5:].sum(axis=1)
    if score_range(seen[:, 0]) is not None or score_range(seen[:, 5:]) is not None:
        said = "its objectness and class scores are not from 0 to 1"
    elif np.abs(sums - 1).max() > SUM_SLACK:
        said = f"its class scores sum to {sums.min():.3g} to {sums.max():.3g} in a cell, not to 1"
    elif score_range(seen[:, 1:5]) is None:
        said = "the numbers of its boxes are from 0 to 1, as if they were decoded"
    else:
        return
    raise ArtifactError(f"{foreign.path} has FastestDet's shape, but {said}: it is another detector")


FASTESTDET = ForeignFamily("fastestdet", _export)

"""What the heads of NanoDet, FastestDet and MMDetection share: a box for every cell, scores for it, NMS behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import Family, InputSpec, OutputSpec, ResizeRule
from edgedet.errors import CheckpointError
from edgedet.onnx_graph.builder import GraphBuilder

from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .base import Exported, ForeignExport, GraphOptions
from .yolo import add_candidates_or_nms

CAFFE_MEAN, CAFFE_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
"""ImageNet's mean and standard deviation of pixels 0..255, in the order blue, green, red."""


def require_names(foreign: ForeignGraph, classes: int, named: int | None) -> None:
    """Check that as many names were given as there are classes.

    Raises:
        CheckpointError: another number.
    """
    if named is not None and named != classes:
        raise CheckpointError(
            f"{foreign.path} has {classes} classes, but {named} names were given; one name per class"
        )


def cells(foreign: ForeignGraph, strides: Sequence[int], *, offset: float) -> tuple[NDArray[np.float32], ...]:
    """Places (x, y) in canvas pixels [A, 2] and strides [A, 1] of every cell, row by row, stride by stride.

    ``offset``: of a cell's place from its corner, in cells. Maps are rounded up, as padded convolutions make them.
    """
    places, steps = [], []
    for stride in strides:
        rows, columns = -(-foreign.height // stride), -(-foreign.width // stride)
        y, x = np.mgrid[:rows, :columns]
        places.append((np.stack([x, y], -1).reshape(-1, 2) + offset) * stride)
        steps.append(np.full((rows * columns, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(steps).astype(np.float32)


def finished(
    foreign: ForeignGraph,
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    *,
    options: GraphOptions,
    spec: InputSpec,
    output: OutputSpec,
    resize: ResizeRule,
    anchors: int,
    classes: int,
    family: Family,
    architecture: str,
    assumed: Sequence[Assumption],
) -> ForeignExport:
    """The export whose ``graph`` has ``boxes`` [N, A, 4], corners in canvas pixels, and ``scores`` [N, C, A]."""
    side = max(foreign.height, foreign.width)
    add_candidates_or_nms(
        graph,
        boxes,
        scores,
        output,
        spec=spec,
        anchors=anchors,
        classes=classes,
        nms=options.nms,
        # Boxes reach half a canvas beyond it at most; float32 keeps a hundredth of a pixel there.
        class_step=4.0 * side,
        per_class=foreign.nms.per_class if foreign.nms else None,
    )
    return ForeignExport(
        Exported(graph.model(), spec, resize, output),
        family=family,
        architecture=architecture,
        classes=classes,
        assumed=tuple(assumed),
        notes=foreign.notes,
    )

"""YOLOX (arXiv:2107.08430) from its authors' ONNX export."""

from __future__ import annotations

import numpy as np

from edgedet.card import InputSpec, ResizeRule
from edgedet.errors import ArtifactError
from edgedet.export.family import Exported, GraphOptions, output_spec
from edgedet.export.foreign import ForeignGraph
from edgedet.export.graph import GraphBuilder
from edgedet.export.image_input import add_image_input
from edgedet.export.yolo import add_candidates_or_nms, corners

STRIDES = (8, 16, 32)
SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.25, 0.65, 300
"""YOLOX's own for its demo and its evaluation."""


def num_classes(foreign: ForeignGraph) -> int | None:
    """How many classes a YOLOX graph has, or None when the outputs are not YOLOX's."""
    places = sum((foreign.height // stride) * (foreign.width // stride) for stride in STRIDES)
    shapes = list(foreign.outputs.values())
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == places and shapes[0][2] > 5:
        return shapes[0][2] - 5
    return None


def export(foreign: ForeignGraph, options: GraphOptions) -> Exported:
    """Put pixels in front of a YOLOX graph, and decoding and NMS behind it.

    The network's output [N, A, 5 + C] holds grid offsets, log sizes, objectness and class scores (both already
    through a sigmoid).

    Raises:
        ArtifactError: the outputs are not YOLOX's.
    """
    classes = num_classes(foreign)
    if classes is None:
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are not YOLOX's; expected one of shape [N, A, 5 + classes] "
            f"with A the grid cells at strides {STRIDES}, not decoded (export without --decode_in_inference)"
        )
    spec = InputSpec(
        height=foreign.height,
        width=foreign.width,
        batch=foreign.batch,
        dtype=options.input_dtype or "uint8",
        trained_colour="BGR",
    )
    output = output_spec(options, SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS)
    graph = GraphBuilder("yolox")
    (raw,) = graph.inline(foreign.model, {"images": add_image_input(graph, spec)}, prefix="network")
    offset, log_size, objectness, class_scores = _split(graph, raw, classes)
    grid, stride = _grid(foreign.height, foreign.width)
    strides = graph.constant(stride)
    centre = graph.op("Add", offset, graph.constant(grid), name="decode/cell")
    centre = graph.op("Mul", centre, strides, name="decode/centre")
    size = graph.op("Exp", log_size, name="decode/scale")
    size = graph.op("Mul", size, strides, name="decode/size")
    boxes = corners(graph, centre, size)
    scores = graph.op("Mul", class_scores, objectness, name="scores/product")
    by_class = graph.op("Transpose", scores, name="scores/by_class", perm=[0, 2, 1])
    add_candidates_or_nms(
        graph, boxes, by_class, output, spec=spec, anchors=len(stride), classes=classes, nms=options.nms
    )
    return Exported(
        graph.model(), spec, ResizeRule("letterbox", pad=(114.0, 114.0, 114.0), place="top_left"), output
    )


def _split(graph: GraphBuilder, raw: str, classes: int) -> tuple[str, ...]:
    sizes = graph.ints(2, 2, 1, classes)
    return graph.ops("Split", raw, sizes, name="decode/parts", outputs=4, axis=-1)


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cell indices (x, y) [A, 2] and strides [A, 1], in the order of the network's rows."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = np.mgrid[:rows, :columns]
        cells.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)

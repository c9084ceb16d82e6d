"""YOLOX (arXiv:2107.08430) from its authors' ONNX export, decoded inside (``--decode_in_inference``) or not."""

from __future__ import annotations

import numpy as np

from edgedet.artifacts.card import ResizeRule
from edgedet.artifacts.grid_cells import STRIDES, cell_count
from edgedet.errors import ArtifactError, CheckpointError
from edgedet.onnx_graph.builder import GraphBuilder

from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .base import Exported, ForeignExport, ForeignFamily, GraphOptions, chosen_label_mode, output_spec
from .head_layout import Layout, add_boxes_and_scores, add_product, centred_corners
from .network_input import add_network, picture_spec
from .trial import is_decoded, judged, judged_scores, observe
from .yolo import add_candidates_or_nms

SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.25, 0.65, 300
"""YOLOX's own for its demo and its evaluation."""

UNSAID = (
    Assumption("pixels", "BGR, 0 to 255, as YOLOX trains since 0.1.1", "nothing, for YOLOX"),
    Assumption("resizing", "letterbox, the picture at the top left, padded with 114", "nothing, for YOLOX"),
)
"""No YOLOX file says these, so that they are taken from its authors' code."""
COLOURS = Assumption("colours", "BGR, as YOLOX trains since 0.1.1", "nothing, for YOLOX")
"""What is left of the first where the file does the arithmetic itself."""


def num_classes(foreign: ForeignGraph) -> int | None:
    """How many classes a YOLOX graph has, or None when the outputs are not YOLOX's."""
    shapes = list(foreign.outputs.values())
    cells = cell_count(foreign.height, foreign.width)
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == cells and shapes[0][2] > 5:
        return shapes[0][2] - 5
    return None


def export(
    foreign: ForeignGraph, options: GraphOptions
) -> tuple[Exported, Layout, tuple[Assumption, ...], tuple[str, ...]]:
    """Put pixels in front of a YOLOX graph, and what is missing of decoding and NMS behind it.

    The network's output [N, A, 5 + C] holds grid offsets and log sizes, or centres and sizes, then objectness and
    class scores. Also returns what it turned out to be, what was said nowhere, and notes for the report.

    Raises:
        ArtifactError: the outputs are not YOLOX's, or cannot be told.
    """
    classes = num_classes(foreign)
    if classes is None:
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are not YOLOX's; expected one of shape [N, A, 5 + classes] "
            f"with A the grid cells at strides {STRIDES}, {cell_count(foreign.height, foreign.width)} here"
        )
    (seen,) = observe(foreign, scale=1.0, colour="BGR").values()
    if seen[..., 4].min() == seen[..., 4].max() == 1:
        raise ArtifactError(
            f"{foreign.path}: objectness is 1 everywhere, as YOLOv6 writes it, not YOLOX; say --family yolov5"
        )
    decoded = is_decoded(foreign, seen)
    grid, stride = _grid(foreign.height, foreign.width)
    layout = Layout("rows", classes, objectness=True)
    layout, assumed = judged(foreign, layout, seen, known=True) if decoded else judged_scores(foreign, layout, seen)
    if layout.background is not None:
        raise ArtifactError(
            f"{foreign.path}: objectness and class scores sum to 1 in every box, as the softmax of another head "
            "than YOLOX's; say --family yolo"
        )
    if not decoded and layout.scores == "logits" and seen[..., :2].min() >= 0 and seen[..., :2].max() <= 1:
        raise ArtifactError(
            f"{foreign.path} has YOLOX's shape, but gives numbers from 0 to 1 first and logits last, as NanoDet "
            "does (probabilities of classes, then distributions); say --family nanodet or --family nanodet-plus"
        )
    spec = picture_spec(foreign, options, scale=1.0, trained_colour="BGR")
    # YOLOX's own post-processing keeps the best class of a box; every class that scores is worth 0.004 of mAP more
    # (YOLOX-Nano on 128 pictures of COCO: 0.343 against 0.339).
    mode = chosen_label_mode(options, "all")
    output = output_spec(options, SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS, label_mode=mode)
    graph = GraphBuilder("yolox")
    (raw,) = add_network(graph, foreign.model, spec)
    if decoded:
        boxes, scores = add_boxes_and_scores(graph, raw, layout, height=foreign.height, width=foreign.width)
    else:
        parts = graph.ints(2, 2, 1, classes)
        offset, log_size, sure, likely = graph.ops("Split", raw, parts, name="decode/parts", outputs=4, axis=-1)
        strides = graph.constant(stride)
        centre = graph.op("Add", offset, graph.constant(grid), name="decode/cell")
        centre = graph.op("Mul", centre, strides, name="decode/centre")
        size = graph.op("Exp", log_size, name="decode/scale")
        size = graph.op("Mul", size, strides, name="decode/size")
        boxes, scores = centred_corners(graph, centre, size), add_product(graph, sure, likely, layout)
    add_candidates_or_nms(
        graph, boxes, scores, output, spec=spec, anchors=len(stride), classes=classes, nms=options.nms
    )
    resize = ResizeRule("letterbox", pad=(114.0, 114.0, 114.0), place="top_left")
    notes = ("its boxes are decoded inside (--decode_in_inference), as a trial run shows",) if decoded else ()
    unsaid = UNSAID if foreign.pixel_settings is None else (COLOURS, *UNSAID[1:])
    return Exported(graph.model(), spec, resize, output), layout, (*unsaid, *assumed), notes


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cell indices (x, y) [A, 2] and strides [A, 1], in the order of the network's rows."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = np.mgrid[:rows, :columns]
        cells.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _export_foreign(foreign: ForeignGraph, options: GraphOptions, classes: int | None) -> ForeignExport:
    exported, layout, assumed, notes = export(foreign, options)
    if classes is not None and classes != layout.classes:
        raise CheckpointError(
            f"{foreign.path} has {layout.classes} classes, but {classes} names were given; one name per class"
        )
    return ForeignExport(exported, "yolox", "yolox", layout.classes, assumed=assumed, notes=notes)


YOLOX = ForeignFamily("yolox", _export_foreign)

"""All a family has to be: here of graphs that give centres and sizes [N, 4, A], and probabilities [N, C, A]."""

from __future__ import annotations

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.export.families.base import Exported, ForeignExport, ForeignFamily, GraphOptions, output_spec
from edgedet.export.families.head_layout import centred_corners
from edgedet.export.families.image_input import add_image_input
from edgedet.export.families.yolo import add_candidates_or_nms
from edgedet.export.foreign import ForeignGraph
from edgedet.onnx_graph.builder import GraphBuilder


def export(foreign: ForeignGraph, options: GraphOptions, classes: int | None) -> ForeignExport:
    """Pixels in front, corners and NMS behind."""
    _, count, anchors = foreign.outputs["confidences"]
    spec = InputSpec(foreign.height, foreign.width, foreign.batch, trained_colour="BGR")
    output = output_spec(options, 0.25, 0.5, 10, label_mode="best")
    graph = GraphBuilder("split")
    image = graph.op("Gather", add_image_input(graph, spec), graph.ints(2, 1, 0), name="input/rgb", axis=1)
    image = graph.op("Mul", image, graph.constant(1 / 255), name="input/scale")
    boxes, scores = graph.inline(foreign.model, {"images": image}, prefix="network")
    rows = graph.op("Transpose", boxes, name="boxes/rows", perm=[0, 2, 1])
    boxes = centred_corners(
        graph, *graph.ops("Split", rows, graph.ints(2, 2), name="boxes/parts", outputs=2, axis=-1)
    )
    add_candidates_or_nms(graph, boxes, scores, output, spec=spec, anchors=anchors, classes=count, nms=options.nms)
    resize = ResizeRule("letterbox", place="center", rounding="round")
    return ForeignExport(Exported(graph.model(), spec, resize, output), "yolo", "split", count)


SPLIT = ForeignFamily("split", export)

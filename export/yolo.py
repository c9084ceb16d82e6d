"""Ultralytics YOLO heads (YOLOv8, YOLO11 and later) from their ONNX export; what all one-stage heads share."""

from __future__ import annotations

from typing import Any, Literal

from edgedet.card import InputSpec, OutputSpec, ResizeRule
from edgedet.errors import ArtifactError
from edgedet.export.family import Exported, GraphOptions, output_spec
from edgedet.export.foreign import ForeignGraph, literal
from edgedet.export.graph import GraphBuilder
from edgedet.export.image_input import add_image_input
from edgedet.export.nms import add_all_labels_nms, add_best_label_nms
from edgedet.export.torch_graph import scale_first_convolution, swap_colours

SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.25, 0.7, 300
"""What Ultralytics' predict uses when nothing is said."""

CLASS_STEP = 7680.0
"""Pixels by which Ultralytics moves boxes of different classes apart before its one NMS. float32 keeps 0.06 px
there, at 80 classes, which can decide which of two boxes survives: only the same step gives always the same."""


def is_ultralytics(foreign: ForeignGraph) -> bool:
    """Whether Ultralytics wrote the graph, by its metadata."""
    return isinstance(literal(foreign.metadata.get("names")), dict) and "stride" in foreign.metadata


def class_names(foreign: ForeignGraph) -> tuple[str, ...]:
    """The class names in Ultralytics' metadata, empty when there are none."""
    names = literal(foreign.metadata.get("names"))
    return tuple(str(names[index]) for index in sorted(names)) if isinstance(names, dict) else ()


def num_classes(foreign: ForeignGraph) -> int | None:
    """How many classes an Ultralytics detection graph [N, 4 + C, A] has, or None when it is something else."""
    shapes = list(foreign.outputs.values())
    if len(shapes) == 1 and len(shapes[0]) == 3 and 4 < shapes[0][1] < shapes[0][2]:
        return shapes[0][1] - 4
    return None


def export(foreign: ForeignGraph, options: GraphOptions) -> Exported:
    """Put pixels in front of an Ultralytics graph, and NMS behind it.

    The network's output [N, 4 + C, A] holds cx, cy, w, h in canvas pixels and class scores.

    Raises:
        ArtifactError: another task than detection, or a head edgedet does not know.
    """
    task = foreign.metadata.get("task", "detect")
    if task != "detect":
        raise ArtifactError(
            f"{foreign.path} is an Ultralytics model for {task}; edgedet runs detection models only"
        )
    classes = num_classes(foreign)
    if classes is None:
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are not of shape [N, 4 + classes, anchors]; export it from "
            "Ultralytics without nms=True (NMS-free and NMS-carrying graphs run as they are: edgedet detect)"
        )
    names = class_names(foreign)
    if names and len(names) != classes:
        raise ArtifactError(f"{foreign.path} names {len(names)} classes, but its output has {classes}")
    anchors = next(iter(foreign.outputs.values()))[2]
    spec = InputSpec(
        height=foreign.height,
        width=foreign.width,
        batch=foreign.batch,
        dtype=options.input_dtype or "uint8",
        # Scale and channel order are in the first convolution's weights.
        trained_colour="BGR",
    )
    output = output_spec(options, SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS, label_mode="best")
    network = swap_colours(scale_first_convolution(foreign.model, 1 / 255))
    graph = GraphBuilder("yolo")
    (raw,) = graph.inline(network, {"images": add_image_input(graph, spec)}, prefix="network")
    shape, scores = graph.ops("Split", raw, graph.ints(4, classes), name="decode/parts", outputs=2, axis=1)
    shape = graph.op("Transpose", shape, name="decode/rows", perm=[0, 2, 1])
    centre, size = graph.ops("Split", shape, name="decode/centre_size", outputs=2, axis=-1)
    boxes = corners(graph, centre, size)
    add_candidates_or_nms(
        graph, boxes, scores, output, spec=spec, anchors=anchors, classes=classes, nms=options.nms
    )
    return Exported(graph.model(), spec, ResizeRule("letterbox", place="center", rounding="round"), output)


def corners(graph: GraphBuilder, centre: str, size: str) -> str:
    """Centres and sizes [..., 2] to corner boxes [..., 4]."""
    half = graph.op("Mul", size, graph.constant(0.5), name="decode/half")
    low = graph.op("Sub", centre, half, name="decode/low")
    high = graph.op("Add", centre, half, name="decode/high")
    return graph.op("Concat", low, high, name="decode/corners", axis=-1)


def add_candidates_or_nms(
    graph: GraphBuilder,
    boxes: str,
    scores: str,
    output: OutputSpec,
    *,
    spec: InputSpec,
    anchors: int,
    classes: int,
    nms: Literal["graph", "runtime"],
) -> None:
    """Finish a graph of ``boxes`` [N, A, 4] and ``scores`` [N, C, A] with the outputs ``output.format`` names."""
    if nms == "runtime":
        rows = graph.op("Transpose", scores, name="candidates/scores", perm=[0, 2, 1])
        graph.output(boxes, "boxes", "float32", (spec.batch, anchors, 4))
        graph.output(rows, "scores", "float32", (spec.batch, anchors, classes))
        return
    common: dict[str, Any] = {
        "batch": spec.batch,
        "anchors": anchors,
        "conf": output.score_threshold,
        "iou": output.iou_threshold,
        "max_detections": output.max_detections,
    }
    if output.label_mode == "best":
        add_best_label_nms(graph, boxes, scores, class_step=CLASS_STEP, **common)
    else:
        add_all_labels_nms(graph, boxes, scores, classes=classes, **common)

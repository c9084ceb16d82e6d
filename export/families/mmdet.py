"""RTMDet and other one-stage detectors of MMDetection, as MMDeploy exports them: with its NMS inside, or without.

With it, ``dets`` [N, K, 5] and ``labels`` [N, K] come out; the NMS is cut out (:mod:`..adoption.nms_inside`), and
what it took is read. Without, boxes [N, A, 4] and scores [N, A, C] come out. How pictures become pixels is nowhere
in the file: RTMDet trains on BGR, the rest on RGB, with the same mean and standard deviation.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import onnx

from edgedet.artifacts.card import ResizeRule
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.outputs.plausible_values import score_range

from ..adoption.nms_inside import HEAD, end_at_joined
from ..foreign import ForeignGraph, only_output
from ..training.assumptions import Assumption
from .base import ForeignExport, ForeignFamily, GraphOptions, output_spec
from .dense_heads import CAFFE_MEAN, CAFFE_STD, finished, require_names
from .head_layout import Layout, add_boxes_and_scores
from .network_input import Triple, add_network, picture_spec
from .trial import judged, observe

SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.05, 0.5, 100
"""MMDeploy's own for detection, where the file has no NMS that says others."""


def _export(foreign: ForeignGraph, options: GraphOptions, named: int | None, *, rtmdet: bool) -> ForeignExport:
    foreign = _joined(foreign)
    ((name, shape),) = foreign.outputs.items()
    classes = shape[2] - 4
    require_names(foreign, classes, named)
    seen = observe(foreign, scale=1 / 57, colour="BGR" if rtmdet else "RGB")[name]
    layout, assumed = judged(foreign, Layout("rows", classes, form="corners"), seen, known=True)
    if layout.form != "corners" or layout.scores != "probabilities" or layout.background is not None:
        raise ArtifactError(
            f"{foreign.path} gives {layout.form} boxes and {layout.scores}, expected corners and probabilities of "
            "classes, as MMDeploy writes them"
        )
    inner = foreign.nms
    output = output_spec(
        options,
        SCORE_THRESHOLD if inner is None else inner.score,
        IOU_THRESHOLD if inner is None else inner.iou,
        MAX_DETECTIONS if inner is None or inner.most is None else inner.most,
    )
    mean, std = (CAFFE_MEAN, CAFFE_STD) if rtmdet else (_turned(CAFFE_MEAN), _turned(CAFFE_STD))
    colour = "BGR" if rtmdet else "RGB"
    spec = picture_spec(foreign, options, mean, std, scale=1.0, trained_colour="BGR" if rtmdet else "RGB")
    graph = GraphBuilder("mmdet")
    (raw,) = add_network(graph, only_output(foreign.model, name), spec)
    boxes, scores = add_boxes_and_scores(graph, raw, layout, height=foreign.height, width=foreign.width)
    title, grey = ("RTMDet", 114.0) if rtmdet else ("MMDetection's", 0.0)
    said = "its MMDetection config"
    return finished(
        foreign,
        graph,
        boxes,
        scores,
        options=options,
        spec=spec,
        output=output,
        resize=ResizeRule("letterbox", pad=(grey, grey, grey), rounding="half_up"),
        anchors=shape[1],
        classes=classes,
        family="mmdet",
        architecture=title,
        assumed=(
            Assumption("pixels", f"{colour}, ImageNet's mean and standard deviation, as {title} trains", said),
            Assumption("resizing", f"letterbox, the picture at the top left, padded with {grey:g}", said),
            *assumed,
        ),
    )


def _turned(values: Triple) -> Triple:
    blue, green, red = values
    return red, green, blue


def _joined(foreign: ForeignGraph) -> ForeignGraph:
    """The graph with boxes and scores in one output [N, A, 4 + C].

    Raises:
        ArtifactError: outputs that are neither.
    """
    if foreign.nms is not None and foreign.nms.joined:
        return foreign
    rows = {name: shape for name, shape in foreign.outputs.items() if len(shape) == 3}
    boxes = [name for name, shape in rows.items() if shape[2] == 4]
    if len(boxes) == 2:
        # As many classes as a box has numbers: those of a box go beyond 1.
        seen = observe(foreign, scale=1 / 57, colour="BGR")
        boxes = [name for name in boxes if score_range(seen[name]) is not None]
    scores = [name for name in rows if name not in boxes]
    if len(rows) != 2 or len(boxes) != 1 or rows[boxes[0]][:2] != rows[scores[0]][:2]:
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are not of MMDeploy; expected its NMS inside (dets, "
            "labels), or boxes [N, A, 4] and scores [N, A, classes]"
        )
    batch, anchors, classes = rows[scores[0]]
    models = [onnx.ModelProto.FromString(part.SerializeToString()) for part in (foreign.model, foreign.original)]
    for model in models:
        end_at_joined(model, boxes[0], scores[0])
    return replace(foreign, model=models[0], original=models[1], outputs={HEAD: (batch, anchors, 4 + classes)})


RTMDET = ForeignFamily("rtmdet", partial(_export, rtmdet=True), inner_nms="by_class")
MMDET = ForeignFamily("mmdet", partial(_export, rtmdet=False), inner_nms="by_class")

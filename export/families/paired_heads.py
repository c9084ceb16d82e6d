"""Detectors that give boxes and scores of all anchors apart: YOLO-NAS, DAMO-YOLO and PP-YOLOE.

Boxes [N, A, 4] are corners in canvas pixels, scores [N, A, C] (or [N, C, A]) probabilities, in either order of the
outputs. The three differ in what they do with the picture and in their thresholds, which no file of theirs says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import onnx
from onnx import helper

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.artifacts.foreign_cards import CENTRED
from edgedet.errors import ArtifactError, CheckpointError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.onnx_graph.cleaning import simplify
from edgedet.outputs.plausible_values import score_range

from ..adoption.nms_inside import HEAD, end_at_joined
from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .base import Exported, ForeignExport, ForeignFamily, GraphOptions, chosen_label_mode, output_spec
from .head_layout import Layout, add_boxes_and_scores
from .network_input import add_network, picture_spec
from .paddle_settings import PaddleSettings, read_settings
from .trial import judged, observe
from .yolo import add_candidates_or_nms

NAS_BORDER = 2
"""Pixels on every side: YOLO-NAS fits pictures into 636x636 and puts that in the middle of 640x640."""


@dataclass(frozen=True)
class Habits:
    """What a framework does with the picture and the boxes.

    ``score``, ``iou``, ``most``: its own prediction's. ``border``: pixels left free around the fitted picture.
    """

    name: str
    score: float
    iou: float
    most: int
    resize: ResizeRule
    scale: float
    pixels: str
    resizing: str
    border: int = 0
    labels: Literal["all", "best"] = "all"


NAS = Habits(
    "yolo-nas", 0.25, 0.7, 300, CENTRED, 1 / 255,
    "RGB, 0 to 1, as YOLO-NAS was trained on COCO",
    f"letterbox in the middle, {NAS_BORDER} pixels left free at every side, padded with 114, as YOLO-NAS on COCO",
    border=NAS_BORDER,
)  # fmt: skip
DAMO = Habits(
    "damo-yolo", 0.05, 0.7, 500, ResizeRule("stretch"), 1.0,
    "RGB, 0 to 255, as DAMO-YOLO trains", "stretched to the canvas, as DAMO-YOLO trains",
)  # fmt: skip
PPYOLOE = Habits(
    "pp-yoloe", 0.25, 0.7, 300, ResizeRule("stretch"), 1 / 255,
    "RGB, 0 to 1, as PP-YOLOE+ trains (PP-YOLOE without the plus: mean and deviation of ImageNet)",
    "stretched to the canvas, bilinear (PP-YOLOE stretches bicubic)",
)  # fmt: skip


def paired(foreign: ForeignGraph) -> tuple[str, str, bool, tuple[int, ...]] | None:
    """Names of boxes and scores, whether the scores are [N, C, A], and the boxes' shape; None where there are no
    two such outputs."""
    boxes = [(name, shape) for name, shape in foreign.outputs.items() if len(shape) == 3 and shape[2] == 4]
    for box, shape in boxes:
        for name, other in foreign.outputs.items():
            if name == box or len(other) != 3 or other[0] != shape[0]:
                continue
            if other[1] == shape[1]:
                return box, name, False, shape
            if other[2] == shape[1]:
                return box, name, True, shape
    return None


def joined(foreign: ForeignGraph) -> ForeignGraph:
    """``foreign`` with its two outputs as one, [N, A, 4 + C].

    Raises:
        ArtifactError: it has other outputs.
    """
    if foreign.nms is not None and foreign.nms.joined:
        return foreign
    found = paired(foreign)
    if found is None:
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are not boxes [N, anchors, 4] and scores "
            "[N, anchors, classes]; export it again with decoded boxes"
        )
    box, score, turned, shape = found
    if foreign.outputs[score] == shape:
        box, score = _told_apart(foreign, box, score)
    classes = foreign.outputs[score][1 if turned else 2]
    models = []
    for model in (foreign.model, foreign.original):
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        end_at_joined(copied, box, score, turn_scores=turned)
        models.append(copied)
    outputs: dict[str, tuple[int, ...]] = {HEAD: (shape[0], shape[1], 4 + classes)}
    return replace(foreign, model=simplify(models[0]), original=models[1], outputs=outputs)


def _told_apart(foreign: ForeignGraph, *names: str) -> tuple[str, str]:
    """Boxes and scores among two outputs of one shape, of four classes: scores alone are from 0 to 1.

    Raises:
        ArtifactError: both are, or none is.
    """
    seen = observe(foreign, scale=1 / 255, colour="RGB")
    scores = [name for name in names if score_range(seen[name]) is None]
    if len(scores) != 1:
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are of one shape, and a trial run does not show which are "
            "the scores, from 0 to 1; state it with --outputs"
        )
    (boxes,) = [name for name in names if name not in scores]
    return boxes, scores[0]


def _export(foreign: ForeignGraph, options: GraphOptions, classes: int | None, *, habits: Habits) -> ForeignExport:
    said = read_settings(foreign.path) if habits is PPYOLOE else None
    foreign = joined(foreign)
    form = foreign.nms.form if foreign.nms else None
    layout = Layout("rows", foreign.outputs[HEAD][2] - 4, form=form or "corners")
    if classes is not None and classes != layout.classes:
        raise CheckpointError(
            f"{foreign.path} has {layout.classes} classes, but {classes} names were given; one name per class"
        )
    border = habits.border
    spec = _image_spec(foreign, options, habits, said)
    colour: Literal["RGB"] = "RGB"
    seen = observe(foreign, scale=spec.scale, colour=colour)[HEAD]
    layout, assumed = judged(foreign, layout, seen, known=True, form_stated=foreign.nms is not None)
    inner = foreign.nms
    output = output_spec(
        options,
        habits.score if inner is None else inner.score,
        habits.iou if inner is None else inner.iou,
        (inner.most if inner else None) or habits.most,
        label_mode=chosen_label_mode(options, inner.labels if inner else habits.labels),
    )
    graph = GraphBuilder(habits.name)
    network = bordered(foreign.model, border) if border else foreign.model
    (raw,) = add_network(graph, network, spec)
    boxes, scores = add_boxes_and_scores(graph, raw, layout, height=foreign.height, width=foreign.width)
    if border:
        boxes = graph.op("Sub", boxes, graph.constant(float(border)), name="decode/inner")
    add_candidates_or_nms(
        graph, boxes, scores, output, spec=spec, anchors=layout.anchors(seen.shape), classes=layout.classes,
        nms=options.nms,
    )  # fmt: skip
    return ForeignExport(
        Exported(graph.model(), spec, habits.resize, output),
        "yolo",
        habits.name,
        layout.classes,
        assumed=(*_unsaid(foreign, habits, said), *assumed),
        notes=foreign.notes,
    )


def _unsaid(foreign: ForeignGraph, habits: Habits, said: PaddleSettings | None) -> tuple[Assumption, ...]:
    where = "infer_cfg.yml beside the file" if habits is PPYOLOE else f"nothing, for {habits.name}"
    pixels = () if said or foreign.pixel_settings else (Assumption("pixels", habits.pixels, where),)
    return (*pixels, Assumption("resizing", habits.resizing, f"nothing, for {habits.name}"))


def _image_spec(
    foreign: ForeignGraph, options: GraphOptions, habits: Habits, said: PaddleSettings | None
) -> InputSpec:
    mean, std = ((0.0,) * 3, (1.0,) * 3) if said is None else (said.mean, said.std)
    spec = picture_spec(foreign, options, mean, std, scale=habits.scale)
    return replace(spec, height=spec.height - 2 * habits.border, width=spec.width - 2 * habits.border)


def bordered(model: onnx.ModelProto, border: int) -> onnx.ModelProto:
    """``model`` on an image smaller by ``border`` pixels at every side, which it surrounds with grey (114 / 255).

    The border comes before the network's first layer, so that factor and colours stay where they are: grey is the
    same in every order, and the factor is part of it.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    (image,) = copied.graph.input
    sizes = image.type.tensor_type.shape.dim
    for axis in (2, 3):
        sizes[axis].dim_value -= 2 * border
    for node in copied.graph.node:
        for index, name in enumerate(node.input):
            if name == image.name:
                node.input[index] = f"{image.name}/bordered"
    pads = [0, 0, border, border] * 2
    copied.graph.initializer.extend(
        [
            helper.make_tensor(f"{image.name}/pads", onnx.TensorProto.INT64, [8], pads),
            helper.make_tensor(f"{image.name}/grey", onnx.TensorProto.FLOAT, [], [114 / 255]),
        ]
    )
    names = [image.name, f"{image.name}/pads", f"{image.name}/grey"]
    pad = helper.make_node("Pad", names, [f"{image.name}/bordered"], name="input/border")
    copied.graph.node.insert(0, pad)
    return copied


YOLO_NAS = ForeignFamily("yolo-nas", partial(_export, habits=NAS), inner_nms="by_class")
DAMO_YOLO = ForeignFamily("damo-yolo", partial(_export, habits=DAMO), inner_nms="by_class")
PP_YOLOE = ForeignFamily("pp-yoloe", partial(_export, habits=PPYOLOE), inner_nms="by_class")

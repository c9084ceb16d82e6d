"""ONNX files of DETRs as their own repositories export them: boxes as shares of the canvas, nothing to suppress.

RT-DETR, D-FINE, DEIM and DEIMv2 rank their answers inside the graph; RF-DETR gives every query's box and logits.
Which output is which is told by types, shapes and numbers; names may only agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgedet.artifacts.card import ResizeRule
from edgedet.errors import ArtifactError, CheckpointError, UsageError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.onnx_graph.cleaning import simplify, static_shapes
from edgedet.onnx_graph.network import Network, attributes
from edgedet.outputs.plausible_values import ALL, MIN_ROWS, ordered_share, score_range, sums_to_one, unit_of

from ..adoption.second_inputs import FLOATS
from ..foreign import ForeignGraph
from ..training.assumptions import Assumption
from .base import Exported, ForeignExport, ForeignFamily, GraphOptions
from .detr import Head, choice_spec, export
from .end_to_end_trial import PASSED_ON, counts_from_zero
from .network_input import Triple, add_network, picture_spec
from .nms import add_ranked
from .trial import finite, observe

Array = NDArray[Any]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
SMALLEST_PATCH = 8
"""Side of a convolution's window, as large as its stride, from which on it cuts the picture into patches."""
COCO_COLUMNS = 91
"""Columns of COCO's own ids, 0 to 90, of which 80 are objects."""
NO_CLASS = {"background", "__background__", "_background_", "bg", "n/a", "no-object", "no_object"}
"""Names of columns that are no class."""


def _export_ranked(foreign: ForeignGraph, options: GraphOptions, classes: int | None) -> ForeignExport:
    boxes, scores, labels = _ranked_outputs(foreign)
    seen = observe(foreign, scale=1 / 255, colour="RGB")
    count = _counted(foreign, scores, classes)
    shares = _require_choice(foreign, seen[boxes], seen[scores], seen[labels], count)
    rows = foreign.outputs[scores][1]
    patches = _cuts_patches(foreign.model)
    spec = picture_spec(foreign, options, *((IMAGENET_MEAN, IMAGENET_STD) if patches else ()))
    output = choice_spec(options, rows)
    graph = GraphBuilder("detr")
    corners, ranked, numbers = add_network(graph, _with_outputs(foreign, boxes, scores, labels), spec)
    if shares:
        canvas = graph.constant([foreign.width, foreign.height] * 2)
        corners = graph.op("Mul", corners, canvas, name="decode/pixels")
    numbers = graph.op("Cast", numbers, name="decode/labels", to=TensorProto.INT64)
    most = output.max_detections
    conf = output.score_threshold
    add_ranked(graph, corners, ranked, numbers, batch=spec.batch, rows=rows, conf=conf, max_detections=most)
    pixels = "RGB, 0 to 1, as RT-DETR, D-FINE and DEIM train"
    if patches:
        pixels = "RGB, ImageNet's mean and standard deviation, as DEIMv2 trains what cuts pictures into patches"
    assumed = [
        Assumption("pixels", pixels, "nothing, for these"),
        Assumption("resizing", "stretched, antialiased, as Pillow does for them", "nothing, for these"),
    ]
    if not (seen[labels] == 0).any() and not counts_from_zero(foreign.model, labels):
        assumed.append(Assumption("class numbers", "counted from 0, though a trial run gives none", "nothing"))
    if not shares:
        assumed.append(Assumption("boxes", "pixels of the canvas, as a trial run shows", "orig_target_sizes"))
    return ForeignExport(
        Exported(graph.model(), spec, ResizeRule("stretch", antialias=True), output),
        family="detr",
        architecture="RT-DETR or kin",
        classes=count,
        chosen=True,
        assumed=tuple(assumed),
        notes=foreign.notes,
    )


def _ranked_outputs(foreign: ForeignGraph) -> tuple[str, str, str]:
    """Names of boxes [N, K, 4], scores [N, K] and whole numbers [N, K] of classes.

    Raises:
        ArtifactError: there are no such outputs, or their names say otherwise.
    """
    kinds = {value.name: value.type.tensor_type.elem_type in FLOATS for value in foreign.model.graph.output}
    shapes = foreign.outputs
    boxes = [name for name, shape in shapes.items() if len(shape) == 3 and shape[2] == 4 and kinds[name]]
    flat = [name for name, shape in shapes.items() if len(shape) == 2]
    scores, labels = [name for name in flat if kinds[name]], [name for name in flat if not kinds[name]]
    found = boxes, scores, labels
    if [len(names) for names in found] != [1, 1, 1] or len({shapes[names[0]][:2] for names in found}) != 1:
        raise ArtifactError(
            f"{foreign.path}: outputs {shapes} are not those of RT-DETR, D-FINE and DEIM; expected whole numbers "
            "[N, K] (labels), boxes [N, K, 4] and scores [N, K]"
        )
    for what, (name,) in zip(("boxes", "scores", "labels"), found, strict=True):
        if name != what and name in ("boxes", "scores", "labels"):
            raise ArtifactError(
                f"{foreign.path}: by type and shape its output {name!r} holds {what}; the names of its outputs are "
                "mixed up: export it again"
            )
    return boxes[0], scores[0], labels[0]


def _counted(foreign: ForeignGraph, scores: str, named: int | None) -> int:
    """How many classes the ranking inside is over: its TopK reads all queries' scores [N, Q * C] of [N, Q, C]."""
    network = Network(foreign.model)
    shapes = static_shapes(foreign.model)
    tensor, found = scores, None
    while tensor in network.producer and found is None:
        node = network.producer[tensor]
        if node.op_type not in (*PASSED_ON, "TopK", "Sigmoid"):
            break
        shape = shapes.get(node.input[0], ())
        found = shape[2] if len(shape) == 3 and shape[2] > 0 else None
        tensor = node.input[0]
    if found is not None and named is not None and found != named:
        raise CheckpointError(
            f"{foreign.path} has {found} classes, but {named} names were given; one name per class"
        )
    if found is None and named is None:
        raise UsageError(
            f"{foreign.path} gives class numbers without saying how many there are; add --classes NAMES"
        )
    return found or named or 0


def _require_choice(foreign: ForeignGraph, boxes: Array, scores: Array, labels: Array, classes: int) -> bool:
    """Whether the boxes ``[F, K, 4]`` are shares of the canvas; else they are pixels.

    Raises:
        ArtifactError: no probabilities, no corners, class numbers that there are none of, or sizes that were folded
            and are not what boxes were multiplied by.
    """
    beyond = score_range(finite(foreign, scores))
    if beyond is not None:
        raise ArtifactError(
            f"{foreign.path} gives scores from {beyond[0]:.3g} to {beyond[1]:.3g}, expected 0 to 1; export it "
            "again with its own post-processing"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ArtifactError(
            f"{foreign.path} gives the class number {labels.max()}, expected 0 to {classes - 1}; give all names "
            "with --classes"
        )
    rows = finite(foreign, boxes).reshape(-1, 4)
    ordered = ordered_share(rows)
    if len(rows) >= MIN_ROWS and ordered < ALL:
        raise ArtifactError(
            f"{foreign.path} gives boxes of which {ordered:.0%} have x1 < x2 and y1 < y2, expected corners; export "
            "it again with its own post-processing"
        )
    shares = unit_of(rows, chosen=True) == "shares"
    if foreign.unit_sizes and not shares:
        raise ArtifactError(
            f"{foreign.path} gives boxes up to {np.abs(rows).max():.4g} for a picture of size 1x1: it does not "
            "multiply shares of the canvas by its second input, as RT-DETR does"
        )
    return shares


def _cuts_patches(model: onnx.ModelProto) -> bool:
    """Whether a vision transformer reads the picture: by a convolution that has no two windows in common."""
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] == model.graph.input[0].name:
            said = attributes(node)
            window, stride = list(said.get("kernel_shape", [])), list(said.get("strides", []))
            if window == stride and window and min(window) >= SMALLEST_PATCH:
                return True
    return False


def _with_outputs(foreign: ForeignGraph, *names: str) -> onnx.ModelProto:
    """The graph with these outputs only, in this order."""
    model = onnx.ModelProto()
    model.CopyFrom(foreign.model)
    values = {value.name: onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(values[name] for name in names)
    return simplify(model)


def _export_queries(foreign: ForeignGraph, options: GraphOptions, classes: int | None) -> ForeignExport:
    seen = observe(foreign, scale=1 / 255, colour="RGB")
    boxes, logits = _query_outputs(foreign, seen)
    _, queries, columns = foreign.outputs[logits]
    objects, names, assumed = _objects(foreign, columns, options.names)
    spec = picture_spec(foreign, options, IMAGENET_MEAN, IMAGENET_STD, dtype="float32")
    head = Head(queries, columns, None if objects == tuple(range(columns)) else objects)
    resize = ResizeRule("stretch", coordinates="half_pixel_float32")
    exported = export(_with_outputs(foreign, logits, boxes), head, spec, resize, options)
    said = "nothing, for RF-DETR"
    return ForeignExport(
        exported,
        family="detr",
        architecture="RF-DETR",
        classes=len(objects),
        chosen=True,
        names=names,
        assumed=(
            Assumption("pixels", "RGB, ImageNet's mean and standard deviation, as RF-DETR trains", said),
            Assumption("resizing", "stretched, not rounded, without antialiasing, as RF-DETR predicts", said),
            *assumed,
        ),
        notes=foreign.notes,
    )


def _query_outputs(foreign: ForeignGraph, seen: dict[str, Array]) -> tuple[str, str]:
    """Names of boxes [N, Q, 4] and logits [N, Q, C].

    Raises:
        ArtifactError: there are no such outputs, or their numbers or names say otherwise.
    """
    rows = {name: shape for name, shape in foreign.outputs.items() if len(shape) == 3}
    boxes = [name for name, shape in rows.items() if shape[2] == 4 and _are_shares(finite(foreign, seen[name]))]
    logits = [name for name in rows if name not in boxes and score_range(finite(foreign, seen[name])) is not None]
    if len(boxes) != 1 or len(logits) != 1 or rows[boxes[0]][:2] != rows[logits[0]][:2]:
        raise ArtifactError(
            f"{foreign.path}: outputs {foreign.outputs} are not RF-DETR's; expected boxes [N, Q, 4] as centres and "
            "sizes in shares of the canvas, and logits [N, Q, columns] of the same queries"
        )
    if boxes[0] == "labels" or logits[0] == "dets":
        raise ArtifactError(
            f"{foreign.path}: by its numbers the output {boxes[0]!r} holds boxes and {logits[0]!r} logits; the "
            "names of its outputs are mixed up: export it again"
        )
    return boxes[0], logits[0]


def _are_shares(boxes: Array) -> bool:
    """Whether ``boxes`` [F, Q, 4] are centres and sizes as shares of the canvas: no corners, and no softmax."""
    rows = boxes.reshape(-1, 4)
    inside = bool((rows > -0.5).all() and (rows < 1.5).all() and (rows[:, 2:] >= 0).all())
    return inside and not sums_to_one(rows) and not (len(rows) >= MIN_ROWS and ordered_share(rows) >= ALL)


def _objects(
    foreign: ForeignGraph, columns: int, names: tuple[str, ...]
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[Assumption, ...]]:
    """Columns that are classes, their names (empty: to be invented), and what was assumed of them.

    Raises:
        CheckpointError: names in another number than columns.
        UsageError: one name too few, with nothing that tells which column is none.
    """
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    # By id; 0 is the background.
    coco: Sequence[str] = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:]
    coco_ids = tuple(index for index, name in enumerate(coco, start=1) if name.lower() not in NO_CLASS)
    if columns == COCO_COLUMNS and not names:
        said = Assumption("class names", f"COCO's by their ids, because there are {columns} columns", "--classes")
        return coco_ids, tuple(coco[index - 1] for index in coco_ids), (said,)
    if not names:
        return tuple(range(columns)), (), ()
    if columns == COCO_COLUMNS and len(names) == len(coco_ids):
        return coco_ids, names, (Assumption("class names", "in the order of COCO's ids", "91 names"),)
    if columns == COCO_COLUMNS and len(names) == len(coco):
        names = ("background", *names)
    if len(names) == columns:
        objects = tuple(index for index, name in enumerate(names) if name.lower() not in NO_CLASS)
        return objects, tuple(names[index] for index in objects), ()
    if len(names) == columns - 1:
        several = ",".join((*names[:2], "..."))
        raise UsageError(
            f"{foreign.path} gives {columns} columns of scores for {len(names)} names, and does not say which "
            "is the background: the last, or, of RF-DETRs trained on COCO files by older versions, the first; "
            f"name it where it is: --classes {several},background or --classes background,{several}"
        )
    raise CheckpointError(
        f"{foreign.path} gives {columns} columns of scores, but {len(names)} names were given; one name per "
        "column, 'background' for one that is no class"
    )


RTDETR = ForeignFamily("rtdetr", _export_ranked)
RFDETR = ForeignFamily("rfdetr", _export_queries)

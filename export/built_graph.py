"""A float graph as it comes from its source, with its card, and what every kind of source makes it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from edgedet.artifacts.card import Family, ModelCard
from edgedet.artifacts.class_lists import LISTS, class_list

from .families.base import Exported, FrameworkReference, GraphOptions, Pooling
from .options import ExportOptions
from .training.assumptions import Assumption

if TYPE_CHECKING:
    from torch import nn

    from .segmentation.reference import SegmentationReference

POOLING: dict[str, Pooling] = {
    "cpu": "products",
    "tensorrt": "operator",
    "tensorrt-rtx": "plain",
    "ncnn": "operator",
}
"""How RoIAlign is written, by target."""
COCO = {"coco": "COCO's"}
DEFAULT_FRAME = (640, 480)
"""(width, height): 4:3, what most camera modules give."""


@dataclass(frozen=True)
class BuiltGraph:
    """A float graph, cleaned and shape-checked by nobody yet, and the card that goes with it.

    ``reference``: the framework's own inference, or why there is none to compare with. ``assumed``: what the
    source left unsaid. ``module``: the trained network with its normalisation layers, where the source is one.
    """

    model: onnx.ModelProto
    card: ModelCard
    reference: FrameworkReference | SegmentationReference | str
    notes: tuple[str, ...] = ()
    assumed: tuple[Assumption, ...] = ()
    module: nn.Module | None = None


def graph_options(options: ExportOptions) -> GraphOptions:
    """The part of the options that every family understands."""
    return GraphOptions(
        batch=options.batch,
        conf=options.conf,
        iou=options.iou,
        max_detections=options.max_detections,
        nms=options.nms,
        label_mode=options.label_mode,
        input_dtype=options.input_dtype,
        pooling=POOLING[options.target],
        outside_proposals=options.outside_proposals,
    )


def card_of(exported: Exported, family: Family, architecture: str, names: tuple[str, ...]) -> ModelCard:
    return ModelCard(
        family=family,
        architecture=architecture,
        names=names,
        input=exported.input,
        resize=exported.resize,
        output=exported.output,
        provenance=dict(exported.said),
    )


def invented_names(classes: int, usual: Mapping[str, str] = COCO) -> tuple[tuple[str, ...], Assumption]:
    for name, whose in usual.items():
        if classes == LISTS[name]:
            said = f"{whose}, because there are {classes} classes"
            return class_list(name), Assumption("class names", said, "--classes")
    names = tuple(f"class_{index}" for index in range(classes))
    return names, Assumption("class names", f"invented ({names[0]} to {names[-1]})", "--classes")

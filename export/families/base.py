"""What every family's exporter takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edgedet.artifacts.card import Family, InputSpec, OutputSpec, ResizeRule
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.detections import Detections
from edgedet.errors import UsageError

from ..foreign import ForeignGraph
from ..training.assumptions import Assumption

if TYPE_CHECKING:
    from torch import nn

Pooling = Literal["operator", "products", "plain"]
LabelMode = Literal["best", "all"]


@dataclass(frozen=True)
class GraphOptions:
    """How a graph shall differ from what the framework does by default; None keeps its own setting.

    ``conf``, ``iou``: of the final NMS. ``nms``: in the graph, or left to the runtime.
    ``label_mode``: whether a box is found under its best class, or under every one that scores.
    ``names``: of the classes of a foreign graph, by its user or itself; empty where nobody says them.
    ``pooling``: RoIAlign as ONNX's operator, which TensorRT has a plugin for; as matrix products where they are
    quicker on a CPU; or without the operator wherever that can be (``plain``), for libraries without the plugin.
    ``input_dtype``: pixels as uint8, or as unrounded float32 (docs/decisions/001).
    ``outside_proposals``: how many proposals come with an image, where a two-stage detector does not make them.
    ``skeleton``: what the keypoints of a detector with a keypoint branch are.
    """

    batch: int = 1
    conf: float | None = None
    iou: float | None = None
    max_detections: int | None = None
    nms: Literal["graph", "runtime"] = "graph"
    label_mode: LabelMode | None = None
    input_dtype: Literal["uint8", "float32"] | None = None
    pooling: Pooling = "operator"
    outside_proposals: int | None = None
    names: tuple[str, ...] = ()
    skeleton: Skeleton | None = None


def output_spec(options: GraphOptions, conf: float, iou: float, max_detections: int, **rules: Any) -> OutputSpec:
    """What comes out, with the framework's own thresholds where the options keep them.

    Who lets the options choose between a box's classes puts that into ``rules``: :func:`chosen_label_mode`.
    """
    settings: dict[str, Any] = {
        "format": "detections" if options.nms == "graph" else "candidates",
        "score_threshold": conf if options.conf is None else options.conf,
        "iou_threshold": iou if options.iou is None else options.iou,
        "max_detections": options.max_detections or max_detections,
    }
    return OutputSpec(**(settings | rules))


def chosen_label_mode(options: GraphOptions, usual: LabelMode) -> LabelMode:
    """The option's, or the framework's ``usual``."""
    return options.label_mode or usual


@dataclass(frozen=True)
class Exported:
    """A graph without its model card, and what the card must say of its input and output.

    ``said``: more for the card's provenance.
    """

    model: ModelProto
    input: InputSpec
    resize: ResizeRule
    output: OutputSpec
    said: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedFamily:
    """A family whose detectors come as modules of torchvision's kind.

    Args:
        name: on the card.
        override: (module, input size (height, width) or None, proposals or None) sets what the user asked for in
            the module; raises UsageError for what the family has no use for.
        export: (module, options, shape of frames (width, height)) builds the graph.
        final_nms: the part of the module that holds ``score_thresh``, ``nms_thresh`` and ``detections_per_img``.
        shaped_by_frames: whether the canvas takes its shape from the frames, in place of a size of training.
        two_stages: whether there is a second stage that proposals from outside can be given to.
    """

    name: Family
    override: Callable[[Any, tuple[int, int] | None, int | None], None]
    export: Callable[[Any, GraphOptions, tuple[int, int]], Exported]
    final_nms: Callable[[Any], Any]
    shaped_by_frames: bool = False
    two_stages: bool = False


@dataclass(frozen=True)
class ForeignExport:
    """A graph made of another tool's, and what it turned out to be.

    Args:
        exported: the graph.
        family: on the card.
        architecture: where the file names none.
        classes: how many.
        chosen: whether the head makes its choice itself, so that there is no NMS.
        names: of the classes, where they are fewer than were given (one of those was the background), or known.
        assumed: what was said nowhere.
        notes: for the report.
    """

    exported: Exported
    family: Family
    architecture: str
    classes: int
    chosen: bool = False
    names: tuple[str, ...] = ()
    assumed: tuple[Assumption, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignFamily:
    """A family whose detectors come as ONNX files of another tool's.

    Args:
        name: what ``--family`` calls it.
        export: (graph, options, number of classes where names say it) makes the graph.
        with_metadata: whether files that carry metadata of a known tool can be of it.
        inner_nms: which NMS inside a file it takes the thresholds of: none, one of every class for itself, or one
            that lets all classes suppress each other, too.
    """

    name: str
    export: Callable[[ForeignGraph, GraphOptions, int | None], ForeignExport]
    with_metadata: bool = False
    inner_nms: Literal["none", "by_class", "any"] = "none"

    def require_inner_nms(self, foreign: ForeignGraph) -> None:
        """Make sure that what suppressed inside ``foreign`` is taken over.

        Raises:
            UsageError: this family would do without, or otherwise.
        """
        if foreign.nms is None or self.inner_nms == "any":
            return
        if self.inner_nms == "none":
            raise UsageError(
                f"{foreign.path} has NMS inside ({foreign.nms.operator}), which is not --family {self.name}'s; "
                "leave --family out, say --family yolo, or export it again without NMS"
            )
        if foreign.nms.apart == 0:
            raise UsageError(
                f"the NMS inside {foreign.path} ({foreign.nms.operator}) lets all classes suppress each other, "
                f"which --family {self.name} does not; say --family yolo, or export it again without NMS"
            )


class FrameworkReference(Protocol):
    """The framework's own inference with the model a graph was made of: what the graph is compared with.

    ``module``: that model.
    """

    module: nn.Module

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """What it finds in a BGR frame, in pixels of the frame."""

    def candidates(self, frame: NDArray[np.uint8]) -> Detections:
        """What it would find were there no score threshold."""

    def graph_from(self, conf: float) -> ModelProto:
        """The graph that goes with another score threshold."""

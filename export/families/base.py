"""What every family's exporter takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from torch import nn

from edgedet.artifacts.card import InputSpec, OutputSpec, ResizeRule
from edgedet.detections import Detections


@dataclass(frozen=True)
class GraphOptions:
    """How a graph shall differ from what the framework does by default; None keeps its own setting.

    ``conf``, ``iou``: of the final NMS. ``nms``: in the graph, or left to the runtime.
    ``pooling``: RoIAlign as ONNX's operator, which TensorRT has a kernel for, or as matrix products where they are
    quicker on a CPU.
    ``input_dtype``: pixels as uint8, or as unrounded float32 (docs/decisions/001).
    """

    batch: int = 1
    conf: float | None = None
    iou: float | None = None
    max_detections: int | None = None
    nms: Literal["graph", "runtime"] = "graph"
    input_dtype: Literal["uint8", "float32"] | None = None
    pooling: Literal["operator", "products"] = "operator"


def output_spec(options: GraphOptions, conf: float, iou: float, max_detections: int, **rules: Any) -> OutputSpec:
    """What comes out, with the framework's own thresholds where the options keep them."""
    settings: dict[str, Any] = {
        "format": "detections" if options.nms == "graph" else "candidates",
        "score_threshold": conf if options.conf is None else options.conf,
        "iou_threshold": iou if options.iou is None else options.iou,
        "max_detections": options.max_detections or max_detections,
    }
    return OutputSpec(**(settings | rules))


@dataclass(frozen=True)
class Exported:
    """A graph without its model card, and what the card must say of its input and output."""

    model: ModelProto
    input: InputSpec
    resize: ResizeRule
    output: OutputSpec


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

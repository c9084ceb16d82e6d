"""What Ultralytics' heads give beside boxes and scores, by the file's metadata or its outputs: masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgedet.artifacts.card import OutputSpec
from edgedet.artifacts.foreign_cards import SEGMENT, is_ultralytics, is_yolov5
from edgedet.artifacts.foreign_outputs import prototypes_of
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.postprocess import COEFFICIENTS, PROTOTYPES

from ..foreign import ForeignGraph
from .further_numbers import Further, add_numbers
from .nms import Chosen

DRAWN = (
    "as Ultralytics' predict draws them (process_mask, without retina_masks): pixels of the canvas above 0 within "
    "the box, brought to the frame as scale_masks does, above 0.5; objects without a pixel are left out"
)


@dataclass(frozen=True)
class Task:
    """``further``: how many numbers follow the scores of an anchor, or the class number of a chosen box.
    ``prototypes``: the output that masks are drawn of; empty where there are none."""

    further: int = 0
    prototypes: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of the file that are kept beside that with the boxes."""
        return (self.prototypes,) if self.prototypes else ()

    def described(self, output: OutputSpec) -> OutputSpec:
        """For the card."""
        return replace(output, masks="prototypes") if self.prototypes else output

    @property
    def said(self) -> dict[str, Any]:
        """For the card's provenance."""
        return {"masks": DRAWN} if self.prototypes else {}

    def add(
        self, graph: GraphBuilder, further: Further | None, kept: Mapping[str, str], chosen: Chosen | None, *,
        foreign: ForeignGraph, anchors: int,
    ) -> None:  # fmt: skip
        """What the card promises beside boxes, scores and labels, as outputs of the graph.

        ``kept``: tensors of :attr:`outputs`; ``anchors``: how many rows there are where nothing is ``chosen``.
        """
        if further is None:
            return
        batch, rows = foreign.batch, anchors if chosen is None else chosen.count
        numbers = add_numbers(graph, further, chosen, batch=batch, name=COEFFICIENTS)
        graph.output(numbers, COEFFICIENTS, "float32", (batch, rows, further.width))
        graph.output(kept[self.prototypes], PROTOTYPES, "float32", foreign.outputs[self.prototypes])


BOXES_ALONE = Task()


def task_of(foreign: ForeignGraph) -> Task:
    """What ``foreign`` gives, by its metadata, else by the names and shapes of its outputs.

    Raises:
        ArtifactError: metadata of a task whose outputs are not there.
    """
    stated = foreign.metadata.get("task") if is_ultralytics(foreign.metadata) else None
    if is_yolov5(foreign.metadata) or stated not in (None, SEGMENT):
        return BOXES_ALONE
    name = prototypes_of(foreign.outputs, (foreign.height, foreign.width))
    if name is None:
        if stated is None:
            return BOXES_ALONE
        raise ArtifactError(
            f"{foreign.path} is an Ultralytics model for {stated!r}, which gives boxes with coefficients beside "
            f"prototypes [N, masks, height / 4, width / 4], but it gives {foreign.outputs}; export it again"
        )
    return Task(foreign.outputs[name][1], name)

"""What Ultralytics' heads give beside boxes and scores, by the file's metadata or its outputs: masks, keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgedet.artifacts.card import KeypointSpec, OutputSpec
from edgedet.artifacts.foreign_cards import POSE, SEGMENT, is_ultralytics, is_yolov5
from edgedet.artifacts.foreign_outputs import prototypes_of
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON, Skeleton, named_skeleton
from edgedet.errors import ArtifactError
from edgedet.onnx_graph.builder import GraphBuilder
from edgedet.postprocess import COEFFICIENTS, KEYPOINTS, PROTOTYPES

from ..foreign import ForeignGraph, literal
from ..training.assumptions import Assumption
from .nms import Chosen
from .per_anchor_outputs import Further, add_output, add_rows

DRAWN = (
    "as Ultralytics' predict draws them (process_mask, without retina_masks): pixels of the canvas above 0 within "
    "the box, brought to the frame as scale_masks does, above 0.5; objects without a pixel are left out"
)
MAX_KEYPOINTS = 1000


@dataclass(frozen=True)
class Points:
    """Keypoints of every anchor: ``count`` times x, y and, with ``numbers`` 3, a score.

    ``skeleton``: what they are; ``assumed``: what of that nothing says.
    """

    count: int
    numbers: int
    skeleton: Skeleton
    assumed: tuple[Assumption, ...] = ()


@dataclass(frozen=True)
class Task:
    """``further``: how many numbers follow the scores of an anchor, or the class number of a chosen box.
    ``prototypes``: the output that masks are drawn of; empty where there are none. ``points``: the keypoints that
    the numbers are; None where there are none."""

    further: int = 0
    prototypes: str = ""
    points: Points | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of the file that are kept beside that with the boxes."""
        return (self.prototypes,) if self.prototypes else ()

    @property
    def wanted(self) -> str:
        """Shapes of its outputs, in words."""
        shapes = f"[N, {4 + self.further} + classes, anchors] or [N, boxes, {6 + self.further}]"
        return shapes + (" beside prototypes" if self.prototypes else "")

    @property
    def assumed(self) -> tuple[Assumption, ...]:
        """What nothing says."""
        return () if self.points is None else self.points.assumed

    @property
    def said(self) -> dict[str, Any]:
        """For the card's provenance."""
        return {"masks": DRAWN} if self.prototypes else {}

    def described(self, output: OutputSpec) -> OutputSpec:
        """For the card."""
        if self.points is not None:
            return replace(output, keypoints=KeypointSpec("points", self.points.skeleton))
        return replace(output, masks="prototypes") if self.prototypes else output

    def add(
        self,
        graph: GraphBuilder,
        further: Further | None,
        kept: Mapping[str, str],
        chosen: Chosen | None,
        *,
        foreign: ForeignGraph,
        anchors: int,
    ) -> None:
        """What the card promises beside boxes, scores and labels, as outputs of the graph.

        ``kept``: tensors of :attr:`outputs`; ``anchors``: how many rows there are where nothing is ``chosen``.
        """
        if further is None:
            return
        batch, count = foreign.batch, anchors if chosen is None else chosen.count
        if self.points is None:
            rows = add_rows(graph, further, chosen, batch=batch, name=COEFFICIENTS)
            add_output(graph, rows, chosen, (batch, count, further.width), name=COEFFICIENTS)
            graph.output(kept[self.prototypes], PROTOTYPES, "float32", foreign.outputs[self.prototypes])
            return
        rows = add_rows(graph, further, chosen, batch=batch, name=KEYPOINTS)
        parts = graph.ints(batch, count, self.points.count, self.points.numbers)
        points = graph.op("Reshape", rows, parts, name=f"{KEYPOINTS}/points")
        if self.points.numbers == 2:
            sure = graph.constant(np.ones((batch, count, self.points.count, 1), np.float32))
            points = graph.op("Concat", points, sure, name=f"{KEYPOINTS}/sure", axis=-1)
        add_output(graph, points, chosen, (batch, count, self.points.count, 3), name=KEYPOINTS)


BOXES_ALONE = Task()


def task_of(foreign: ForeignGraph, names: Sequence[str] = ()) -> Task:
    """What ``foreign`` gives, by its metadata, else by the names and shapes of its outputs.

    ``names``: of its classes.

    Raises:
        ArtifactError: metadata of a task whose outputs are not there, or which says not enough of it.
    """
    stated = foreign.metadata.get("task") if is_ultralytics(foreign.metadata) else None
    if stated in (SEGMENT, POSE) and foreign.nms is not None:
        raise ArtifactError(
            f"{foreign.path} is an Ultralytics model for {stated!r} with NMS inside, which edgedet takes over of "
            "detectors alone; export it again with nms=False"
        )
    if stated == POSE:
        points = _points(foreign, names)
        return Task(points.count * points.numbers, points=points)
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


def _points(foreign: ForeignGraph, names: Sequence[str]) -> Points:
    shape = literal(foreign.metadata.get("kpt_shape"))
    fine = isinstance(shape, list | tuple) and len(shape) == 2 and all(isinstance(size, int) for size in shape)
    if not fine or not 1 <= shape[0] <= MAX_KEYPOINTS or shape[1] not in (2, 3):
        raise ArtifactError(
            f"{foreign.path} is an Ultralytics model for {POSE!r} whose metadata kpt_shape is {shape!r}, expected "
            "[keypoints, 2 or 3]; export it again with a current Ultralytics"
        )
    skeleton, assumed = _skeleton(foreign, shape[0], tuple(names))
    return Points(shape[0], shape[1], skeleton, assumed)


def _skeleton(foreign: ForeignGraph, count: int, names: tuple[str, ...]) -> tuple[Skeleton, tuple[Assumption, ...]]:
    """The names of the keypoints, which Ultralytics keeps for each class, and what of them nothing says."""
    by_class = literal(foreign.metadata.get("kpt_names"))
    lists = list(by_class.values()) if isinstance(by_class, dict) else []
    named = [tuple(map(str, each)) for each in lists if isinstance(each, list | tuple) and len(each) == count]
    numbered = tuple(str(number) for number in range(count))
    if named and named[0] != numbered and all(each == named[0] for each in named):
        return named_skeleton(count, named[0]), ()
    stated_by = "kpt_names in the metadata, by training with them in the data.yaml"
    if count == len(COCO_PERSON.names) and names == ("person",):
        said = f"COCO's {count} of a person, because there are {count}"
        return COCO_PERSON, (Assumption("names of keypoints", said, stated_by),)
    invented = tuple(f"keypoint {number}" for number in range(1, count + 1))
    said = f"invented ({invented[0]} to {invented[-1]})"
    return Skeleton(invented), (Assumption("names of keypoints", said, stated_by),)

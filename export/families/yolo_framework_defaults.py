"""What YOLO's frameworks, or the NMS that was in a file, do with pixels and thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.artifacts.card import OutputSpec
from edgedet.artifacts.foreign_cards import YOLOV5_DETECTIONS, YOLOV5_IOU
from edgedet.errors import UsageError

from ..foreign import ForeignGraph
from .base import GraphOptions, LabelMode, chosen_label_mode, output_spec
from .head_layout import Layout

SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.25, 0.7, 300
"""What Ultralytics' predict uses when nothing is said."""

CLASS_STEP = 7680.0
"""Pixels by which Ultralytics moves boxes of different classes apart before its one NMS. float32 keeps 0.06 px
there, at 80 classes, which can decide which of two boxes survives: only the same step gives always the same."""


@dataclass(frozen=True)
class Thresholds:
    """What a file's own NMS did, or what its framework does when nothing is said."""

    score: float
    iou: float
    most: int
    labels: LabelMode = "best"
    apart: float = CLASS_STEP
    candidates: int | None = None

    @staticmethod
    def of(foreign: ForeignGraph, layout: Layout) -> Thresholds:
        """Those of ``foreign``, whose head is ``layout``."""
        iou, most = (YOLOV5_IOU, YOLOV5_DETECTIONS) if layout.objectness else (IOU_THRESHOLD, MAX_DETECTIONS)
        inner = foreign.nms
        if inner is None:
            return Thresholds(SCORE_THRESHOLD, iou, most)
        return Thresholds(
            inner.score,
            inner.iou,
            inner.most or most,
            inner.labels,
            CLASS_STEP if inner.apart is None else inner.apart,
            inner.candidates,
        )

    def output(self, options: GraphOptions) -> OutputSpec:
        """For the card.

        Raises:
            UsageError: every class of a box, where all classes suppress each other.
        """
        mode = chosen_label_mode(options, self.labels)
        if mode == "all" and self.apart == 0:
            raise UsageError(
                "this file's NMS lets all classes suppress each other, which leaves every box its best class; "
                "leave out --label-mode all"
            )
        return output_spec(options, self.score, self.iou, self.most, label_mode=mode)

"""Right and wrong detections: the Pascal VOC devkit's matching, image by image.

Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV 2015, section 4.1. A
detection's fate does not depend on weaker ones, so what is matched once holds at every score threshold.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from edgedet.box_overlap import overlap
from edgedet.datasets.dataset import ImageRecord
from edgedet.detections import Detections

MIN_IOU = 0.5


class State(IntEnum):
    """A detection's fate. ``IGNORED``: on a difficult object or in a crowd, neither right nor wrong."""

    FALSE = 0
    TRUE = 1
    IGNORED = 2


def counted_objects(record: ImageRecord) -> NDArray[np.bool_]:
    """The objects that have to be found: not difficult, not crowds; bool [N]."""
    return ~(record.difficult | record.crowd)


def match_image(
    record: ImageRecord, detections: Detections, *, min_iou: float = MIN_IOU
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """States of the detections (uint8 [D]) and which objects were found (bool [N]); labels of one vocabulary.

    Best score first, every detection goes to the object of its class that it overlaps most; an object that is
    taken already makes it a duplicate, and false.
    """
    states, finds = match_objects(record, detections, min_iou=min_iou)
    return states, finds >= 0


def match_objects(
    record: ImageRecord, detections: Detections, *, min_iou: float = MIN_IOU
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """As :func:`match_image`, with the detection that found each object, int64 [N], -1 where none did."""
    states = np.zeros(len(detections), np.uint8)
    finds = np.full(len(record), -1, np.int64)
    boxes = detections.boxes.astype(np.float64)
    # Boxes of a class that the picture has no object of are false, and stay so.
    for label in np.intersect1d(detections.labels, record.labels):
        mine = np.flatnonzero(detections.labels == label)
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")]
        objects = np.flatnonzero((record.labels == label) & ~record.crowd)
        crowds = np.flatnonzero((record.labels == label) & record.crowd)
        iou = overlap(boxes[mine], record.boxes[objects], over="union")
        covered = overlap(boxes[mine], record.boxes[crowds], over="first").max(axis=1, initial=0.0)
        for row, detection in enumerate(mine):
            best = int(iou[row].argmax()) if len(objects) else -1
            if best >= 0 and iou[row, best] >= min_iou:
                target = objects[best]
                if record.difficult[target]:
                    states[detection] = State.IGNORED
                elif finds[target] < 0:
                    states[detection], finds[target] = State.TRUE, detection
            elif covered[row] >= min_iou:
                states[detection] = State.IGNORED
    return states, finds

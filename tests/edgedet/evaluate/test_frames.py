"""Detector and dataset understand each other by class names."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.evaluate.frames import relabel, shared_classes


def test_labels_follow_the_datasets_names() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7]), np.array([2, 0, 1]), ("Cell_phone", "ufo", "cat"), (9, 9))
    spoken = relabel(found, ("cat", "cell phone"))
    assert spoken.names == ("cat", "cell phone")
    assert spoken.labels.tolist() == [0, 1]
    assert spoken.boxes.tolist() == [[0, 0, 1, 1], [0, 0, 2, 2]]


def test_no_class_in_common_names_both_sides() -> None:
    with pytest.raises(UsageError, match="the detector finds a, b, c, d, e and 1 more, the dataset has x"):
        shared_classes(("x",), tuple("abcdef"))

"""Class maps: what they count, where a class is, and how they are shown and written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgedet import ClassMap
from edgedet.errors import UsageError
from edgedet.masks.run_lengths import decompressed, from_run_lengths
from edgedet.pictures.drawing import class_colour

NAMES = ("background", "road", "car")


def some() -> ClassMap:
    labels = np.zeros((4, 6), np.uint8)
    labels[1:3, 1:4] = 2
    labels[0, 5] = 2
    return ClassMap(labels, NAMES)


def test_classes_are_counted_and_found() -> None:
    found = some()
    assert found.areas() == {"background": 17, "car": 7} and len(found) == 2
    assert found.present.tolist() == [0, 2] and found.frame_size == (4, 6)
    assert found.mask("car").sum() == found.mask(2).sum() == 7
    assert repr(found) == "ClassMap(70.8% background, 29.2% car; frame 6x4)"
    parts = sorted((part.left, part.top, part.values.shape) for part in found.parts([2]))
    assert parts == [(1, 1, (2, 3)), (5, 0, (1, 1))]


def test_unknown_classes_and_other_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="no class 'bus'; expected one of background, road, car"):
        some().mask("bus")
    with pytest.raises(UsageError, match="no class number 3"):
        some().mask(3)
    with pytest.raises(UsageError, match="the frame is 5x4, the map 6x4"):
        some().plot(np.zeros((4, 5, 3), np.uint8))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros((2, 2), np.int64), "expected uint8 or uint16"),
        (np.zeros(4, np.uint8), "expected uint8 or uint16"),
        (np.full((2, 2), 3, np.uint8), "a label is 3, but there are 3 names"),
    ],
)
def test_what_is_no_map_is_refused(labels: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ClassMap(labels, NAMES)
    with pytest.raises(ValueError, match="scores are"):
        ClassMap(np.zeros((2, 2), np.uint8), NAMES, np.zeros((2, 3), np.float32))


def test_only_classes_that_are_something_are_coloured() -> None:
    frame = np.full((4, 6, 3), 100, np.uint8)
    shown = some().plot(frame)
    assert (shown[0, 0] == 100).all() and (frame == 100).all()
    np.testing.assert_allclose(shown[1, 1], np.array(class_colour(2)) / 2 + 50, atol=1)
    everything = some().plot(frame, hidden=["car"])
    assert (everything[1, 1] == 100).all() and (everything[0, 0] != 100).any()


def test_rows_hold_every_pixel_of_a_class() -> None:
    rows = json.loads(some().to_json())
    assert rows["frame_size"] == [4, 6]
    assert [(row["name"], row["area"], row["share"]) for row in rows["segments"]] == [
        ("background", 17, 0.70833),
        ("car", 7, 0.29167),
    ]
    cells = from_run_lengths(decompressed(rows["segments"][1]["segmentation"]["counts"]), (4, 6))
    np.testing.assert_array_equal(cells, some().mask("car"))

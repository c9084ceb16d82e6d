"""Windows around boxes, and one object of the frame for what several crops show of it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edgedet.box_overlap import overlap
from edgedet.crops import COVERED, ROWS_AT_ONCE, TOUCHES, crop_windows, join_crops
from edgedet.detections import Detections

SIZE = (100, 200)
NAMES = ("hand", "face")


def outer(*boxes: list[float]) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes))
    return Detections(np.array(boxes), scores, np.arange(len(boxes)) % 2, ("person", "dog"), SIZE)


def inner(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = ([row[part] for row in rows] for part in range(3))
    return Detections(np.array(boxes), np.array(scores), np.array(labels), NAMES, (1, 1))


def joined(found: list[Detections], within: Detections, *, limit: int = 10) -> Detections:
    return join_crops(found, crop_windows(within.boxes, *SIZE, 0.0), within, iou=0.5, max_detections=limit)


@pytest.mark.parametrize(
    ("box", "margin", "window"),
    [
        ([10, 10, 30, 50], 0.0, [10, 10, 30, 50]),
        ([10.4, 10.6, 29.2, 49.9], 0.0, [10, 10, 30, 50]),
        ([10, 10, 30, 50], 0.5, [0, 0, 40, 70]),
        ([150, 60, 200, 100], 0.2, [140, 52, 200, 100]),
        ([200, 100, 200, 100], 0.1, [199, 99, 200, 100]),
    ],
)
def test_windows_hold_their_box_and_stay_in_the_frame(box: list[float], margin: float, window: list[int]) -> None:
    assert crop_windows(np.array([box], np.float32), *SIZE, margin).tolist() == [window]


def test_boxes_come_back_to_the_frame_with_what_they_were_found_in() -> None:
    within = outer([20, 10, 60, 90], [120, 30, 160, 80])
    found = joined([inner(([5, 5, 15, 20], 0.6, 0)), inner(([1, 2, 9, 8], 0.8, 1))], within)
    assert found.boxes.tolist() == [[121, 32, 129, 38], [25, 15, 35, 30]]
    assert found.labels.tolist() == [1, 0] and found.names == NAMES and found.frame_size == SIZE
    assert found.data["within"].tolist() == within.boxes[::-1].tolist()
    assert found.data["within_label"].tolist() == [1, 0]
    np.testing.assert_allclose(found.data["within_score"], [0.5, 0.9])


def test_an_object_that_two_crops_show_is_one_the_better() -> None:
    within = outer([0, 0, 60, 100], [20, 0, 80, 100])
    both = [inner(([30, 30, 50, 50], 0.6, 0)), inner(([11, 30, 31, 50], 0.7, 0))]
    found = joined(both, within)
    assert len(found) == 1 and found.scores[0] == np.float32(0.7)
    assert found.data["within"][0].tolist() == [20, 0, 80, 100]
    other_class = [both[0], inner(([11, 30, 31, 50], 0.7, 1))]
    assert len(joined(other_class, within)) == 2


def test_a_part_that_its_crop_cuts_off_gives_way_to_the_whole_however_it_scores() -> None:
    """The hand of one person in another's crop: an IoU of 0.2 with itself."""
    within = outer([0, 0, 60, 100], [40, 0, 120, 100])
    whole, part = inner(([10, 30, 60, 50], 0.5, 0)), inner(([49, 30, 60, 50], 0.9, 0))
    found = joined([part, whole], within)
    assert found.boxes.tolist() == [[50, 30, 100, 50]]
    # At the frame's own edge nothing is cut off by a crop.
    edge = joined([inner(([0, 30, 15, 50], 0.9, 0)), inner()], within)
    assert len(edge) == 1
    # A small object before a large one, both whole, are two.
    small = [inner(([45, 32, 55, 40], 0.9, 0)), whole]
    assert len(joined(small, within)) == 2


def test_boxes_of_one_crop_are_left_to_the_detector_that_gave_them() -> None:
    within = outer([0, 0, 60, 100])
    found = joined([inner(([1, 1, 20, 20], 0.6, 0), ([1, 1, 21, 20], 0.7, 0))], within)
    assert len(found) == 2


def test_the_limit_is_of_the_frame() -> None:
    within = outer([0, 0, 60, 100], [100, 0, 160, 100])
    found = [inner(([1, 1, 9, 9], 0.3, 0)), inner(([1, 1, 9, 9], 0.9, 0), ([20, 20, 30, 30], 0.5, 0))]
    assert joined(found, within, limit=2).scores.tolist() == [np.float32(0.9), np.float32(0.5)]


def crowd(persons: int, hands: int) -> tuple[list[Detections], Detections]:
    """Hands in the crops of persons that stand over one another."""
    random = np.random.default_rng(0)
    corners = random.uniform(0, [140, 40], (persons, 2))
    within = outer(*np.concatenate([corners, corners + 60], axis=1).tolist())
    found = []
    for _ in range(persons):
        low = random.uniform(0, 50, (hands, 2))
        boxes = np.concatenate([low, np.minimum(low + random.uniform(2, 20, (hands, 2)), 60)], axis=1)
        found.append(Detections(boxes, random.random(hands), random.integers(0, 2, hands), NAMES, (60, 60)))
    return found, within


def test_a_crowd_is_joined_as_box_by_box() -> None:
    found, within = crowd(20, 30)
    windows = crop_windows(within.boxes, *SIZE, 0.0)
    assert sum(map(len, found)) > 4 * ROWS_AT_ONCE
    rows = [
        (number, box + np.tile(window[:2], 2).astype(np.float32), score, label)
        for number, (each, window) in enumerate(zip(found, windows, strict=True))
        for box, score, label, _ in each
    ]
    edges = np.array([0, 0, SIZE[1], SIZE[0]])
    inner_edge = [(windows[row[0]] != edges) & (np.abs(row[1] - windows[row[0]]) < TOUCHES) for row in rows]
    cut = [bool(each.any()) for each in inner_edge]
    kept: list[int] = []
    for index in sorted(range(len(rows)), key=lambda one: (cut[one], -rows[one][2])):
        number, box, _, label = rows[index]
        others = [rows[one][1] for one in kept if rows[one][0] != number and rows[one][3] == label]
        if others:
            of_union = overlap(box[None], np.array(others), over="union").max()
            of_own = overlap(box[None], np.array(others), over="first").max()
            if of_union > 0.5 or (cut[index] and of_own >= COVERED):
                continue
        kept.append(index)
    expected = sorted((float(rows[index][2]) for index in kept), reverse=True)
    assert 50 < len(kept) < len(rows) - 50
    assert joined(found, within, limit=1000).scores.tolist() == expected


def test_a_crowd_takes_no_memory_of_all_pairs() -> None:
    found, within = crowd(40, 100)
    tracemalloc.start()
    try:
        joined(found, within, limit=100)
        assert tracemalloc.get_traced_memory()[1] < 60e6  # 16 million pairs, of float64 128 MB
    finally:
        tracemalloc.stop()

"""The Pascal VOC devkit's matching."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedet.datasets import ImageRecord
from edgedet.datasets.rows import ProblemLog, Row, build_record
from edgedet.detections import Detections
from edgedet.evaluate.matching import State, counted_objects, match_image

Box = tuple[float, float, float, float]


def record(*rows: Row) -> ImageRecord:
    return build_record(Path("a.jpg"), (100, 100), rows, ProblemLog())


def thing(label: int, box: Box, *, crowd: bool = False, difficult: bool = False) -> Row:
    return Row("made", label, *box, crowd=crowd, difficult=difficult)


def found(*entries: tuple[int, float, Box]) -> Detections:
    return Detections(
        np.array([box for _, _, box in entries], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in entries], np.float32),
        np.array([label for label, _, _ in entries], np.int32),
        ("cat", "dog"),
        (100, 100),
    )


def states(truth: ImageRecord, detections: Detections) -> list[State]:
    return [State(value) for value in match_image(truth, detections)[0]]


def test_the_better_score_gets_the_object_and_the_other_is_a_duplicate() -> None:
    detections = found((0, 0.5, (10, 10, 30, 30)), (0, 0.9, (10, 10, 30, 29)))
    assert states(record(thing(0, (10, 10, 30, 30))), detections) == [State.FALSE, State.TRUE]


def test_half_overlap_is_enough_and_less_is_not() -> None:
    truth = record(thing(0, (0, 0, 20, 10)))
    assert states(truth, found((0, 0.9, (0, 0, 10, 10)))) == [State.TRUE]  # 100 of 200
    assert states(truth, found((0, 0.9, (0, 0, 9.9, 10)))) == [State.FALSE]


def test_another_class_is_no_match() -> None:
    assert states(record(thing(1, (0, 0, 9, 9))), found((0, 0.9, (0, 0, 9, 9)))) == [State.FALSE]


def test_a_detection_goes_to_the_object_it_overlaps_most_even_if_that_is_taken() -> None:
    truth = record(thing(0, (0, 0, 10, 10)), thing(0, (0, 0, 10, 18)))
    detections = found((0, 0.9, (0, 0, 10, 10)), (0, 0.8, (0, 0, 10, 11)))
    assert states(truth, detections) == [State.TRUE, State.FALSE]


def test_difficult_objects_and_crowds_are_neither_right_nor_wrong() -> None:
    truth = record(thing(0, (0, 0, 10, 10), difficult=True), thing(0, (50, 50, 90, 90), crowd=True))
    detections = found((0, 0.9, (0, 0, 10, 10)), (0, 0.8, (55, 55, 60, 60)), (0, 0.7, (45, 45, 52, 52)))
    assert states(truth, detections) == [State.IGNORED, State.IGNORED, State.FALSE]
    assert counted_objects(truth).tolist() == [False, False]


def test_nothing_against_nothing() -> None:
    empty, seen = match_image(record(), found())
    assert (len(empty), len(seen)) == (0, 0)
    assert states(record(), found((0, 0.9, (0, 0, 9, 9)))) == [State.FALSE]
    assert match_image(record(thing(0, (0, 0, 9, 9))), found())[1].tolist() == [False]

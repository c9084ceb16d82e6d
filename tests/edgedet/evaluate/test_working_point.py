"""Thresholds, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.evaluate.working_point import (
    Ranking,
    best_f1_threshold,
    false_alarm_threshold,
    threshold_table,
    wilson_interval,
    working_point,
)


def ranking() -> Ranking:
    """Five detections: right 0.9, wrong 0.8, right 0.7, ignored 0.6, wrong 0.2; 4 objects."""
    return Ranking(
        scores=np.array([0.2, 0.9, 0.8, 0.7, 0.6], np.float32),
        states=np.array([0, 1, 0, 1, 2], np.uint8),
        objects=4,
        top_with_objects=np.array([0.9, 0.7, -1], np.float32),
        top_without=np.array([0.8, -1, -1, 0.1], np.float32),
    )


def test_a_working_point_by_hand() -> None:
    at = working_point(ranking(), 0.7)
    assert (at.true, at.false, at.missed_objects) == (2, 1, 2)
    assert (at.precision, at.recall, at.f1) == pytest.approx((2 / 3, 2 / 4, 4 / 7))
    assert (at.misses, at.false_alarms) == pytest.approx((1 / 3, 1 / 4))
    assert (at.images_with_objects, at.images_without_objects) == (3, 4)


def test_an_image_without_any_box_is_a_miss_even_at_threshold_zero() -> None:
    at = working_point(ranking(), 0.0)
    assert (at.misses, at.false_alarms) == pytest.approx((1 / 3, 2 / 4))


def test_nothing_to_judge_is_nan_not_zero() -> None:
    empty = np.zeros(0, np.float32)
    at = working_point(Ranking(empty, empty.astype(np.uint8), 0, empty, empty), 0.5)
    assert all(math.isnan(value) for value in (at.precision, at.recall, at.f1, at.misses, at.false_alarms))


def test_best_f1_by_hand() -> None:
    # F1 at 0.9: 2/5; at 0.8: 2/6; at 0.7: 4/7; at 0.2: 4/8.
    assert best_f1_threshold(ranking()) == pytest.approx(0.7, abs=1e-4)
    assert working_point(ranking(), best_f1_threshold(ranking())).f1 == pytest.approx(4 / 7)


def test_of_thresholds_with_the_same_f1_the_lower_one_is_best() -> None:
    # F1 at 0.9: 2/3; at 0.8: 2/4; at 0.7: 2/5; at 0.5: 4/6. More is found for the same F1.
    scores = np.array([0.9, 0.8, 0.7, 0.5], np.float32)
    equal = Ranking(scores, np.array([1, 0, 0, 1], np.uint8), 2, scores, scores)
    assert best_f1_threshold(equal) == 0.5


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 2)), max_size=30),
    st.integers(0, 10),
)
def test_no_threshold_of_the_table_beats_the_best_f1(detections: list[tuple[float, int]], missed: int) -> None:
    scores = np.array([score for score, _ in detections], np.float32)
    states = np.array([state for _, state in detections], np.uint8)
    many = Ranking(scores, states, int((states == 1).sum()) + missed, scores, scores)
    best = working_point(many, best_f1_threshold(many)).f1
    assert all(not point.f1 > best + 1e-9 for point in threshold_table(many))


def test_a_rounded_threshold_lets_no_other_score_in() -> None:
    scores = np.array([0.380051, 0.380049, 0.38], np.float32)
    close = Ranking(scores, np.array([1, 0, 0], np.uint8), 1, scores, scores)
    assert working_point(close, best_f1_threshold(close)).f1 == 1


@pytest.mark.parametrize(("rate", "expected"), [(0, 0.8001), (0.25, 0.1001), (0.5, 0.0), (1, 0.0)])
def test_the_threshold_for_a_false_alarm_rate_by_hand(rate: float, expected: float) -> None:
    assert false_alarm_threshold(ranking().top_without, rate) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1, width=32).filter(lambda s: s == -1 or s >= 0), min_size=1), st.floats(0, 1))
def test_the_recommended_threshold_keeps_its_promise(tops: list[float], rate: float) -> None:
    top = np.array(tops, np.float32)
    threshold = false_alarm_threshold(top, rate)
    if math.isnan(threshold):
        assert np.mean(top == 1) > rate - 1e-9
        return
    assert np.mean((top >= np.float32(threshold)) & (top >= 0)) <= rate + 1e-9


def test_wilsons_interval() -> None:
    # Newcombe (1998), table I, method 3: 81 of 263 and 15 of 148.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)

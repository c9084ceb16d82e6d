"""Delays, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.evaluate.detection_delay import _drawn, delay_of, delays_of_objects, runs
from edgedet.evaluate.intervals import drawn_again, percentile_interval

TIMES = [0.0, 0.1, 0.2, 0.5, 0.6, 0.7]


def test_rows_of_consecutive_numbers() -> None:
    assert runs([7, 1, 2, 3, 9]) == [(1, 3), (7, 7), (9, 9)]
    assert runs([]) == []


def test_objects_with_marks_are_one_visitor_each_from_first_to_last() -> None:
    sightings = [
        (0, 0, "a", False),
        (2, 0, "a", False),
        # Hidden in 3, and still the same.
        (4, 0, "a", True),
        (1, 0, "b", True),
        (1, 1, "a", False),
        (5, 1, "a", False),
    ]
    assert delays_of_objects(sightings, TIMES) == [0.6, 0.0, math.inf]


def test_without_marks_frames_in_a_row_are_one_visitor_of_a_class() -> None:
    sightings = [
        (0, 0, None, False),
        (1, 0, None, False),
        (1, 0, None, True),  # one of two that are there
        (3, 0, None, False),
        (4, 0, None, False),
        (3, 1, None, False),
        (4, 1, None, True),
    ]
    assert delays_of_objects(sightings, TIMES) == [0.1, math.inf, pytest.approx(0.1)]


def test_a_find_in_one_visit_is_none_in_another() -> None:
    assert delays_of_objects([(0, 0, None, False), (2, 0, None, True)], TIMES) == [math.inf, 0.0]


def test_quantiles_are_of_all_visits_and_those_never_found_take_without_end() -> None:
    delay = delay_of([[0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, 0.9, math.inf]])
    assert (delay.visits, delay.found, delay.p50, delay.p90) == (10, 9, 0.5, 0.9)
    one_more = delay_of([[0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, math.inf, math.inf]])
    assert (one_more.found, one_more.p50, one_more.p90) == (8, 0.5, math.inf)
    assert delay_of([[0.3]]).p90 == 0.3


def test_intervals_of_delays_come_from_whole_clips() -> None:
    by_clip = [[0.1, 0.1, 0.4], [], [0.9], [0.2, math.inf]]
    found = delay_of(by_clip)
    values = []
    for weights in drawn_again(4).tolist():
        drawn = sorted(delay for clip, times in zip(by_clip, weights, strict=True) for delay in clip * times)
        values.append(drawn[-(-len(drawn) // 2) - 1] if drawn else math.nan)
    assert _drawn(np.array([0.1, 0.1, 0.2, 0.4, 0.9, math.inf]), np.array([0, 0, 3, 0, 2, 3]), 4)(50) == (
        percentile_interval(np.array(values))
    )
    assert (found.p50, found.p90) == (0.2, math.inf)
    assert found.method == "the wider of order statistics and a bootstrap of 4 clips"
    assert found.p90_interval[1] == math.inf


def test_the_exact_interval_of_a_quantile_is_that_of_the_tables() -> None:
    # Of the median of ten the second and the ninth (Conover, "Practical Nonparametric Statistics", section 3.2).
    ten = delay_of([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]])
    assert (ten.p50_interval, ten.method) == ((0.2, 0.9), "order statistics")
    # Nine of ten in ten have no upper bound, of 36 they have one: 0.9 ** 36 is less than a fortieth.
    assert ten.p90_interval == (0.7, math.inf)
    counted = [number / 100 for number in range(1, 37)]
    assert delay_of([counted[:-1]]).p90_interval[1] == math.inf
    assert delay_of([counted]).p90_interval[1] == 0.36


def test_clips_that_differ_widen_it() -> None:
    # In each clip all visits take the same time: two clips of thirty say no more than two visits.
    alike = [[0.1] * 30, [0.9] * 30]
    assert delay_of(alike).p50_interval == (0.1, 0.9)
    assert delay_of([[0.1] * 40 + [0.9] * 20]).p50_interval == (0.1, 0.1)


def test_few_visits_bound_little_and_no_visit_has_no_delay() -> None:
    assert delay_of([[0.3], []]).p50_interval == (0.0, math.inf)
    none = delay_of([[], []])
    assert (none.visits, none.found) == (0, 0) and math.isnan(none.p50) and math.isnan(none.p90_interval[1])

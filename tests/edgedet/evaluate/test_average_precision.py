"""scikit-learn's average precision, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.evaluate.average_precision import ranked_average_precision


def test_the_example_of_scikit_learns_documentation() -> None:
    # y_true [0, 0, 1, 1], y_scores [0.1, 0.4, 0.35, 0.8]: 1/2 · 1 + 1/2 · 2/3.
    value = ranked_average_precision(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    assert value == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_equal_scores_are_one_step() -> None:
    # At 0.8 one right of two: P 1/2, R 1/2; at 0.3 two right of four: P 2/4, R 1.
    relevant, scores = np.array([True, False, True, False]), np.array([0.8, 0.8, 0.3, 0.3])
    assert ranked_average_precision(relevant, scores) == pytest.approx(0.5 * 0.5 + 0.5 * 0.5)
    assert ranked_average_precision(relevant[::-1], scores[::-1]) == pytest.approx(0.5)


def test_no_interpolation_unlike_voc() -> None:
    # + - +: 1/2 · 1 + 1/2 · 2/3; the envelope of VOC gives the same here, + - + + does not: P 1, 2/3, 3/4.
    value = ranked_average_precision(np.array([True, False, True, True]), np.array([0.9, 0.8, 0.7, 0.6]))
    assert value == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_objects_nobody_found_earn_nothing() -> None:
    relevant, scores = np.array([True, False]), np.array([0.9, 0.8])
    assert ranked_average_precision(relevant, scores, total=4) == pytest.approx(1 / 4)
    assert ranked_average_precision(np.zeros(0, np.bool_), np.zeros(0), total=4) == 0
    assert math.isnan(ranked_average_precision(np.array([False]), np.array([0.5])))

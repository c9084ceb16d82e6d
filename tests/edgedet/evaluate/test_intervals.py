"""Intervals against published tables and against draws made one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.evaluate.intervals import DRAWS, SEED, drawn_again, garwood_interval, percentile_interval, rate, share
from edgedet.evaluate.working_point import wilson_interval


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # Garwood 1936 and later tables: half the quantiles of chi squared with 2n and 2n + 2 degrees of freedom.
        (0, 0.0, 3.688879454),
        (1, 0.025317808, 5.571643391),
        (2, 0.242209279, 7.224687668),
        (10, 4.795388696, 18.390356042),
        (100, 81.363991250, 121.626793792),
    ],
)
def test_garwoods_interval_is_that_of_the_tables(count: int, low: float, high: float) -> None:
    assert garwood_interval(count) == pytest.approx((low, high), abs=1e-8)


@pytest.mark.parametrize("count", [3, 57, 20_000])
def test_the_ends_leave_a_fortieth_on_either_side(count: int) -> None:
    low, high = garwood_interval(count)
    numbers = np.arange(0, count + 2000)
    logs = np.array([math.lgamma(number + 1) for number in numbers])
    at_high = np.exp(numbers * math.log(high) - high - logs)
    at_low = np.exp(numbers * math.log(low) - low - logs)
    assert at_high[: count + 1].sum() == pytest.approx(0.025, rel=1e-6)
    assert 1 - at_low[:count].sum() == pytest.approx(0.025, rel=1e-6)


def test_one_clip_has_the_exact_interval_alone() -> None:
    one = rate([2], [0.5], unit="clip")
    assert (one.count, one.of, one.value, one.method) == (2, 0.5, 4.0, "Garwood")
    assert one.interval == pytest.approx(tuple(2 * bound for bound in garwood_interval(2)))
    assert share([1], [4], unit="clip").interval == wilson_interval(1, 4)


def test_clips_that_differ_widen_the_interval_and_none_at_all_is_no_certainty() -> None:
    # All thirty alarms in one of forty clips: the next forty may have none, or sixty.
    counts, hours = [30] + [0] * 39, [1 / 60] * 40
    uneven = rate(counts, hours, unit="clip")
    _, high = garwood_interval(30)
    assert uneven.interval[0] == 0 and uneven.interval[1] > high / (40 / 60) > uneven.value
    assert uneven.method == "the wider of Garwood and a bootstrap of 40 clips"
    none = rate([0] * 40, hours, unit="clip")
    assert none.interval == pytest.approx((0, garwood_interval(0)[1] / (40 / 60)))


def test_drawing_kinds_of_units_is_drawing_units() -> None:
    counts, hours = np.array([3, 0, 0, 1, 3]), np.array([1.0, 1.0, 2.0, 1.0, 1.0])
    weights = np.random.default_rng(1).multinomial(5, np.full(5, 0.2), size=20_000)
    expected = np.quantile((weights @ counts) / (weights @ hours), (0.025, 0.975))
    found = rate(counts.tolist(), hours.tolist(), unit="clip").interval
    exact = [bound / 6 for bound in garwood_interval(7)]
    assert found[0] == pytest.approx(min(expected[0], exact[0]), abs=0.05)
    assert found[1] == pytest.approx(max(expected[1], exact[1]), abs=0.05)


def test_pictures_by_themselves_have_wilsons_interval_and_clips_a_wider_one() -> None:
    alike = [10, 0, 10, 0]
    assert share(alike, [10] * 4, unit="image").interval == wilson_interval(20, 40)
    assert share(alike, [10] * 4, unit="clip").interval == (0.0, 1.0)


def test_without_anything_to_count_there_is_no_figure() -> None:
    none = rate([0, 0], [0.0, 0.0], unit="clip")
    assert math.isnan(none.value) and math.isnan(none.interval[0]) and none.method == "no clip"
    assert share([], [], unit="clip").count == 0


def test_the_middle_of_draws_is_of_values_that_were_drawn() -> None:
    values = np.array([math.nan, *range(1, 101), math.inf])
    assert percentile_interval(values) == (3.0, 99.0)
    assert math.isnan(percentile_interval(np.array([math.nan]))[0])


def test_the_same_draws_each_time() -> None:
    assert np.array_equal(drawn_again(7), drawn_again(7))
    assert drawn_again(7).shape == (DRAWS, 7) and (drawn_again(7).sum(axis=1) == 7).all() and SEED == 0

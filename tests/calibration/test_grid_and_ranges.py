"""Grids, ranges and roundings do what their definitions say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.calibration import rounding
from edgedet.calibration.observe import BINS, Observation
from edgedet.calibration.quantisation_grid import grid_for, weight_scales
from edgedet.calibration.ranges import candidates, squared_error

ends = st.floats(-1e4, 1e4, allow_nan=False)


def observation(values: np.ndarray) -> Observation:
    low, high = float(values.min()), float(values.max())
    index = ((values - low) / max(high - low, 1e-30) * BINS).astype(np.int64).clip(0, BINS - 1)
    return Observation(low, high, np.bincount(index, minlength=BINS), np.array([max(-low, high)]))


@given(kind=st.sampled_from(["s8", "u8"]), first=ends, second=ends)
@settings(max_examples=60, deadline=None)
def test_a_grid_keeps_zero_exactly_and_everything_else_within_half_a_step(
    kind: str, first: float, second: float
) -> None:
    low, high = min(first, second), max(first, second)
    grid = grid_for(kind, low, high)  # type: ignore[arg-type]
    values = np.linspace(min(low, 0), max(high, 0), 101).astype(np.float32)
    assert grid.round(np.zeros(1, np.float32))[0] == 0
    assert np.abs(grid.round(values) - values).max() <= grid.scale * 1.001
    assert kind == "u8" or grid.zero_point == 0


@pytest.mark.parametrize("kind", ["s8", "u8"])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 4.0), (-4.0, 1.0), (0.0, 4.0)])
def test_a_widened_range_reaches_further_at_both_ends(kind: str, low: float, high: float) -> None:
    seen = replace(observation(np.linspace(low, high, 1000)), margin=1.2)
    options = candidates(seen, kind)  # type: ignore[arg-type]
    assert list(options) == ["widened"]
    begin, end = options["widened"].range
    step = options["widened"].scale
    assert begin <= 1.2 * low + step and end >= 1.2 * high - step
    assert end - begin == pytest.approx(1.2 * (high - low) if kind == "u8" else 2.4 * max(-low, high), rel=0.02)


@pytest.mark.parametrize("kind", ["s8", "u8"])
def test_one_outlier_does_not_set_the_range_of_the_best_candidate(kind: str) -> None:
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(0, 1, 1_000_000), 60.0)
    seen = observation(values)
    options = candidates(seen, kind)  # type: ignore[arg-type]
    assert next(iter(options)) == "minmax"
    best = min(options.values(), key=lambda grid: squared_error(seen, grid))
    assert best.scale < options["minmax"].scale * 0.8
    measured = {
        name: float(((grid.round(values.astype(np.float32)) - values) ** 2).mean())
        for name, grid in options.items()
    }
    assert squared_error(seen, options["mse"]) == pytest.approx(measured["mse"], rel=0.15)
    assert measured["mse"] == pytest.approx(min(measured.values()), rel=0.15)


@pytest.mark.parametrize("kind", ["s8", "u8"])
@pytest.mark.parametrize("value", [0.0, 7.0, -3e5])
def test_a_constant_tensor_has_ranges_too(kind: str, value: float) -> None:
    for wobble in (0.0, 1e-7):
        values = np.array([value, value * (1 + wobble)], np.float32)
        for grid in candidates(observation(values), kind).values():  # type: ignore[arg-type]
            np.testing.assert_allclose(grid.round(values), values, rtol=0.01)


def test_learned_rounding_beats_nearest_on_inputs_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(48, 48))
    inputs = (rng.normal(size=(2048, 48)) @ mix).astype(np.float32)
    weight = rng.normal(size=(16, 48)).astype(np.float32)
    scales = weight_scales(weight, 0, bits=4)
    seen, unseen = inputs[:1024], inputs[1024:]

    def error(integers: np.ndarray) -> float:
        return float(((unseen @ (integers * scales[:, None] - weight).T) ** 2).mean())

    assert error(rounding.learned(weight, scales, seen, bits=4)) < 0.5 * error(
        rounding.nearest(weight, scales, bits=4)
    )


def test_a_tensor_that_reaches_further_than_was_seen_gets_no_narrower_range() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[BINS // 2] = 1000  # one far outlier, which clipping would cut off
    counts[-1] = 1
    seen = Observation(-1.0, 4.0, counts, np.array([4.0], np.float32), margin=1.25)
    found = candidates(seen, "s8")
    assert list(found) == ["widened"] and found["widened"].range[1] == pytest.approx(5.0)

"""Percentiles that drop nothing, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.bench.statistics import (
    RESAMPLES,
    block_length,
    bootstrap_centre,
    bootstrap_paired_ratio,
    bootstrap_ratio,
    bootstrap_relative_ratio,
    resample,
    summarise,
)


def test_every_sample_counts_and_the_worst_is_kept() -> None:
    samples = [10.0] * 199 + [1000.0]
    summary = summarise(samples)
    assert (summary["frames"], summary["p50"], summary["max"]) == (200, 10.0, 1000.0)
    assert summary["mean"] == pytest.approx(14.95)
    assert summary["jitter"] == pytest.approx(990 / 199, abs=1e-4)


@pytest.mark.parametrize(("frames", "known"), [(9, "p50"), (10, "p90"), (20, "p95"), (100, "p99")])
def test_a_percentile_needs_enough_frames(frames: int, known: str) -> None:
    summary = summarise([float(value) for value in range(frames)])
    ranks = ("p50", "p90", "p95", "p99")
    assert [rank for rank in ranks if summary[rank] is not None] == list(ranks[: ranks.index(known) + 1])


def test_percentiles_are_those_of_their_names() -> None:
    summary = summarise([float(value) for value in np.random.default_rng(0).permutation(201)])
    assert [summary[name] for name in ("min", "p50", "p90", "p95", "p99", "max")] == [0, 100, 180, 190, 198, 200]


@pytest.mark.parametrize("length", [4, 5])
def test_resampling_draws_runs_of_neighbours_and_every_place_alike(length: int) -> None:
    count = 64
    drawn = resample(count, length, np.random.default_rng(0))
    assert drawn.shape == (RESAMPLES, count)
    steps = (drawn[:, 1:] - drawn[:, :-1]) % count
    inside = np.arange(1, count) % length != 0
    assert (steps[:, inside] == 1).all()
    assert np.bincount(drawn.ravel(), minlength=count).std() < 0.05 * RESAMPLES


def test_blocks_are_longer_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(6)
    assert block_length(rng.standard_normal(64)) <= 2
    assert block_length(np.repeat(rng.standard_normal(16), 4)) >= 4
    assert block_length(np.ones(3)) == 1


def test_the_interval_is_wider_when_neighbours_are_alike() -> None:
    rng = np.random.default_rng(1)
    independent = 10 + rng.standard_normal(216)
    slow = np.repeat(10 + rng.standard_normal(36), 6)
    assert bootstrap_centre(slow).relative_half_width > 1.5 * bootstrap_centre(independent).relative_half_width


def test_the_paired_ratio_ignores_what_slows_both() -> None:
    rng = np.random.default_rng(2)
    machine = np.exp(0.5 * rng.standard_normal(40))
    before = 10 * machine * (1 + 0.01 * rng.standard_normal(40))
    after = 11 * machine * (1 + 0.01 * rng.standard_normal(40))
    paired, apart = bootstrap_paired_ratio(before, after), bootstrap_ratio(before, after)
    assert paired.low > 1.08
    assert paired.high < 1.12
    assert apart.low < 1 < apart.high


def test_the_paired_ratio_is_the_same_from_either_side() -> None:
    rng = np.random.default_rng(3)
    before, after = 10 + rng.random(30), 12 + rng.random(30)
    there, back = bootstrap_paired_ratio(before, after), bootstrap_paired_ratio(after, before)
    assert there.value == pytest.approx(1 / back.value)
    assert there.low == pytest.approx(1 / back.high, rel=0.01)


def test_a_wild_round_does_not_move_the_paired_ratio() -> None:
    rng = np.random.default_rng(4)
    before = 10 * (1 + 0.01 * rng.standard_normal(40))
    after = before * (1 + 0.01 * rng.standard_normal(40))
    after[::10] *= 5
    assert bootstrap_paired_ratio(before, after).value == pytest.approx(1, abs=0.01)


def test_equal_artifacts_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(5)
    outside = 0
    for seed in range(60):
        # Noise that lasts several rounds, as on a machine shared with others.
        noise = np.repeat(rng.standard_normal(20), 3) * 0.05 + rng.standard_normal(60) * 0.05
        interval = bootstrap_paired_ratio(np.full(60, 10.0), 10 * np.exp(noise), seed=seed)
        outside += not interval.low <= 1 <= interval.high
    assert outside <= 3


def test_the_interval_holds_what_it_promises_and_no_more() -> None:
    """Of 40 normal values, the centre's 99 % interval by theory: 2.58 standard errors, widened for few values."""
    rng = np.random.default_rng(7)
    widths = [bootstrap_centre(np.exp(0.1 * rng.standard_normal(40))).relative_half_width for _ in range(20)]
    assert 2.58 < np.mean(widths) / (0.1 / np.sqrt(40)) < 3.2


def test_few_values_give_a_wider_interval_than_their_number_alone() -> None:
    rng = np.random.default_rng(8)
    few, many = (
        np.mean([bootstrap_centre(np.exp(0.1 * rng.standard_normal(n))).relative_half_width for _ in range(30)])
        * np.sqrt(n)
        for n in (8, 200)
    )
    assert few > 1.3 * many


def test_the_noise_of_both_runs_widens_the_ratio() -> None:
    rng = np.random.default_rng(9)
    quiet, loud = (10 * np.exp(noise * rng.standard_normal(40)) for noise in (0.001, 0.1))
    first, second = bootstrap_ratio(loud, quiet), bootstrap_ratio(quiet, loud)
    assert first.relative_half_width == pytest.approx(second.relative_half_width, rel=0.2)
    assert second.relative_half_width > 0.03


@pytest.mark.parametrize("machine", [0.8, 1.25])
@pytest.mark.parametrize("power", [0.6, 1.1])
def test_the_interval_covers_every_power_by_which_values_may_follow_the_machine(
    machine: float, power: float
) -> None:
    rng = np.random.default_rng(10)

    def noisy(value: float) -> list[float]:
        return [*(value * np.exp(0.001 * rng.standard_normal(40)))]

    before, after = (noisy(10), noisy(1)), (noisy(10 * machine**power), noisy(machine))
    ratio, fixed = bootstrap_relative_ratio(before, after, follows=(0.6, 1.1))
    assert ratio.low <= 1 <= ratio.high
    assert ratio.value == pytest.approx(machine ** (power - 0.85), rel=0.01)
    assert fixed == pytest.approx(machine, rel=0.01)

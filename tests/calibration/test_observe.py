"""One pass shows what a tensor holds: exact extremes, a faithful histogram, in memory of fixed size."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from edgedet.calibration.observe import BINS, Collector, Observation, observe
from edgedet.onnx_graph.preparing import prepare


def collected(*frames: np.ndarray) -> Observation:
    """Of values [channels, n], frame by frame."""
    collector = Collector()
    for frame in frames:
        collector.add(frame.min(axis=1), frame.max(axis=1), frame.reshape(-1))
    return collector.observation()


def test_extremes_are_exact_and_the_largest_magnitude_is_known_by_channel() -> None:
    seen = collected(
        np.array([[-3.0, 1.0], [0.0, 0.5]], np.float32), np.array([[0.0, 2.0], [-0.7, 0.1]], np.float32)
    )
    assert (seen.low, seen.high, seen.magnitude) == (-3.0, 2.0, 3.0)
    np.testing.assert_allclose(seen.channel_high, [3.0, 0.7])


@pytest.mark.parametrize("growth", [1.0, 1.3, 40.0])
def test_the_histogram_is_that_of_all_values_however_the_range_grew(growth: float) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(4, 4096)).astype(np.float32) * growth**index for index in range(5)]
    seen = collected(*frames)
    values = np.concatenate([frame.reshape(-1) for frame in frames])
    assert seen.counts.sum() == values.size and len(seen.counts) == BINS
    # Percentiles to within a few bins.
    share = np.cumsum(seen.counts) / values.size
    for percentile in (1, 10, 50, 90, 99.9):
        found = seen.centres[int(np.searchsorted(share, percentile / 100))]
        assert found == pytest.approx(np.percentile(values, percentile), abs=4 * (seen.high - seen.low) / BINS)


def test_zeros_first_are_counted_where_zero_lies_later() -> None:
    seen = collected(np.zeros((1, 10), np.float32), np.array([[-1.0, 4.0]], np.float32))
    assert seen.counts.sum() == 12
    assert seen.counts[int(np.abs(seen.centres).argmin()) - 1 :][:3].sum() == 10


def test_values_that_are_no_numbers_count_as_nothing_but_zeros() -> None:
    seen = collected(np.array([[1.0, np.nan]], np.float32))
    assert (seen.low, seen.high) == (0.0, 0.0)


def test_a_tensor_without_any_value_is_no_error() -> None:
    assert Collector().observation().magnitude == 0


def test_counts_may_be_left_out(tiny: ModuleType) -> None:
    network = prepare(tiny.tiny_detector())
    frames = tiny.frames(3)
    full = observe(network, frames, ["stem_out"])["stem_out"]
    short = observe(network, frames, ["stem_out"], histograms=False)["stem_out"]
    assert (short.low, short.high) == (full.low, full.high)
    assert short.counts.sum() == 0 < full.counts.sum()


def test_progress_is_told_by_frame(tiny: ModuleType) -> None:
    steps: list[tuple[str, int, int]] = []
    observe(prepare(tiny.tiny_detector()), tiny.frames(3), ["stem_out"], progress=lambda *step: steps.append(step))
    assert steps == [("ranges", 1, 3), ("ranges", 2, 3), ("ranges", 3, 3)]

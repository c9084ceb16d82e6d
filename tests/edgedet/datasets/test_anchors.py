"""Anchors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgedet.datasets import Dataset
from edgedet.datasets.anchors import box_sizes, fit_anchor_grid, fit_anchors
from edgedet.datasets.rows import ProblemLog, Row, build_record
from edgedet.errors import DatasetError


def clusters(centres: list[tuple[float, float]], spread: float = 0.05) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.concatenate([np.array(c) * random.uniform(1 - spread, 1 + spread, (200, 2)) for c in centres])


def test_separate_clusters_are_found() -> None:
    centres = [(10.0, 30.0), (40.0, 40.0), (200.0, 80.0)]
    anchors = fit_anchors(clusters(centres), 3)
    np.testing.assert_allclose(anchors.sizes, centres, rtol=0.02)
    assert anchors.mean_iou > 0.95
    assert anchors.covered == 1


def test_mean_iou_by_hand() -> None:
    # One anchor for 10x10 and 20x10. Their mean, 15x10, has IoU 100/150 and 150/200: 0.708. The larger box itself
    # has 100/200 and 1: 0.75, and the better of both is kept.
    anchors = fit_anchors(np.array([[10.0, 10.0], [20.0, 10.0]]), 1)
    assert anchors.sizes.tolist() == [[20, 10]]
    assert anchors.mean_iou == 0.75
    assert anchors.covered == 1


def test_a_seed_decides() -> None:
    sizes = np.random.default_rng(1).uniform(5, 300, (400, 2))
    assert np.array_equal(fit_anchors(sizes, 9, seed=5).sizes, fit_anchors(sizes, 9, seed=5).sizes)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (30, 2), elements=st.floats(1, 500), unique=True), st.integers(1, 6))
def test_more_restarts_and_more_anchors_never_fit_much_worse(sizes: np.ndarray, count: int) -> None:
    one = fit_anchors(sizes, count, restarts=1)
    assert fit_anchors(sizes, count, restarts=4).mean_iou >= one.mean_iou - 1e-9
    assert 0 < one.mean_iou <= 1 and len(one.sizes) == count


def test_more_anchors_than_distinct_boxes_are_refused() -> None:
    with pytest.raises(DatasetError, match="9 anchors from 1 distinct box sizes"):
        fit_anchors(np.full((50, 2), 8.0), 9)


def test_as_many_anchors_as_boxes_are_no_fit() -> None:
    """Every box is its own anchor: a mean IoU of 1 would be one of nothing."""
    sizes = np.array([[10.0, 20.0], [100.0, 50.0], [30.0, 90.0]])
    anchors = fit_anchors(sizes, 3)
    assert sorted(anchors.sizes.tolist()) == sorted(sizes.tolist())
    assert anchors.mean_iou is anchors.covered is None
    grid = fit_anchor_grid(sizes, 1, 3)
    assert grid.mean_iou is grid.covered is None
    assert fit_anchors(sizes, 2).mean_iou is not None
    # Many boxes of one size are something to fit.
    assert fit_anchors(np.full((50, 2), 8.0), 1).mean_iou == 1


def test_a_grid_finds_its_scales_and_ratios() -> None:
    centres = [(s / r**0.5, s * r**0.5) for s in (20.0, 80.0) for r in (0.5, 1.0, 2.0)]
    grid = fit_anchor_grid(clusters(centres, 0.02), 2, 3)
    np.testing.assert_allclose(grid.scales, [20, 80], rtol=0.02)
    np.testing.assert_allclose(grid.ratios, [0.5, 1, 2], rtol=0.03)
    assert grid.mean_iou > 0.95


def test_a_ratio_is_height_over_width() -> None:
    grid = fit_anchor_grid(clusters([(40.0, 40.0), (20.0, 80.0)], 0.02), 1, 2)
    np.testing.assert_allclose(grid.ratios, [1, 4], rtol=0.05)


def test_sizes_are_those_on_the_networks_input_without_crowds() -> None:
    rows = [Row("r", 0, 0, 0, 100, 50), Row("r", 0, 0, 0, 9, 9, crowd=True)]
    record = build_record(Path("a.jpg"), (400, 200), rows, ProblemLog())
    dataset = Dataset(("a",), (record,), "coco", "one")
    expected = {"letterbox": [50, 25], "stretch": [50, 50], "shortest_side": [100, 50], "none": [100, 50]}
    for fit, size in expected.items():
        assert box_sizes(dataset, imgsz=(200, 200), fit=fit).tolist() == [size]  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="no boxes"):
        box_sizes(Dataset(("a",), (), "coco", "none"))

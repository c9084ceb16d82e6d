"""Shared areas of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.box_overlap import overlap, pairwise_iou

FIRST = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], np.float32)
SECOND = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 5]], np.float32)


def test_iou_of_known_boxes() -> None:
    assert pairwise_iou(FIRST, SECOND) == pytest.approx(np.array([[1 / 3, 0, 0], [0, 0, 1]]))


def test_a_box_without_area_shares_nothing() -> None:
    assert overlap(FIRST, SECOND, over="union") == pytest.approx(np.array([[1 / 3, 0, 0], [0, 0, 0]]))
    assert overlap(FIRST, SECOND, over="first") == pytest.approx(np.array([[1 / 2, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize("over", ["union", "first"])
def test_no_boxes(over: str) -> None:
    none = np.zeros((0, 4), np.float32)
    assert overlap(none, SECOND, over=over).shape == (0, 3)  # type: ignore[arg-type]
    assert overlap(FIRST, none, over=over).shape == (2, 0)  # type: ignore[arg-type]
    assert pairwise_iou(none, none).shape == (0, 0)

"""Where a network looks: numbers that follow a changed strip are places, the others sizes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedet.export.families.anchor_locations import as_logits, look

SIDE, CELLS = 64, 8
PICTURES = [np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8) for seed in (1, 2)]


def rows(picture: NDArray[np.uint8], order: tuple[int, ...], corners: bool) -> NDArray[np.float64]:
    """Boxes around the cells of a grid, whose sizes and scores are what each sees of the picture."""
    step = SIDE // CELLS
    y, x = np.mgrid[:CELLS, :CELLS] * step
    seen = picture.reshape(CELLS, step, CELLS, step, 3).mean((1, 3)).reshape(-1, 3) - 127
    left, top = x.ravel() + seen[:, 0] / 4, y.ravel() + seen[:, 1] / 4
    width, height = 8 + seen[:, 1], 8 + seen[:, 2]
    numbers = [left, top, left + width / 4, top + height / 4] if corners else [left, top, width, height]
    return np.stack([*(numbers[index] for index in order), *seen.T], 1)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("order", "axis"), [((0, 1, 2, 3), "x"), ((1, 0, 3, 2), "y")])
def test_order_and_far_corner(order: tuple[int, ...], axis: str, corners: bool, shuffled: bool) -> None:
    def run(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = rows(picture, order, corners)
        return np.random.default_rng(int(picture.sum())).permutation(found) if shuffled else found

    sight = look(run, PICTURES)
    assert sight is not None
    assert (sight.first_axis, sight.chosen) == (axis, shuffled)
    assert sight.far_corner == (None if shuffled else corners)


def test_offsets_follow_no_place() -> None:
    def run(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = rows(picture, (0, 1, 2, 3), False)
        return np.concatenate([found[:, 4:6] / 100, found[:, 2:]], 1)

    sight = look(run, PICTURES)
    assert sight is not None and sight.first_axis is None and sight.far_corner is None


def test_few_rows_show_nothing() -> None:
    assert look(lambda picture: rows(picture, (0, 1, 2, 3), True)[:9], PICTURES) is None


def test_logits() -> None:
    assert as_logits(np.array([0.5, 0.0, 1.0])).round(2).tolist() == [0.0, -16.12, 16.12]
    assert as_logits(np.array([-2.0, 3.0])).tolist() == [-2.0, 3.0]

"""What the numbers of a network's output can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.outputs.plausible_values import (
    MIN_ROWS,
    are_corners,
    follows,
    form_of,
    ordered_share,
    score_range,
    shown_form,
    sums_to_one,
    unit_of,
)

HEIGHT, WIDTH = 320, 480


def grid(stride: int = 16) -> np.ndarray:
    y, x = np.mgrid[: HEIGHT // stride, : WIDTH // stride]
    return ((np.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride).astype(np.float32)


def boxes(seed: int, typical: float) -> np.ndarray:
    """Centres and sizes float32 [A, 4] around the places of a grid; some far larger than ``typical``."""
    random = np.random.default_rng(seed)
    places = grid()
    centres = places + random.normal(0, 8, places.shape)
    return np.concatenate([centres, typical * random.lognormal(0, 0.8, places.shape)], axis=1).astype(np.float32)


def as_corners(found: np.ndarray) -> np.ndarray:
    half = found[:, 2:] / 2
    return np.concatenate([found[:, :2] - half, found[:, :2] + half], axis=1)


def as_top_left(found: np.ndarray) -> np.ndarray:
    return np.concatenate([found[:, :2] - found[:, 2:] / 2, found[:, 2:]], axis=1)


@given(st.integers(0, 10_000), st.floats(6, 80))
def test_forms_are_told_apart(seed: int, typical: float) -> None:
    found = boxes(seed, typical)
    assert form_of(found, HEIGHT, WIDTH) == "centre"
    assert form_of(found, HEIGHT, WIDTH, grid()) == "centre"
    assert form_of(as_corners(found), HEIGHT, WIDTH) == "corners"
    assert form_of(as_corners(found), HEIGHT, WIDTH, grid()) == "corners"


@given(st.integers(0, 10_000), st.floats(24, 80))
def test_corners_with_sizes_are_told_where_places_are_known(seed: int, typical: float) -> None:
    assert form_of(as_top_left(boxes(seed, typical)), HEIGHT, WIDTH, grid()) == "top_left"


def test_untrained_boxes_as_large_as_the_picture_are_not_taken_for_corners() -> None:
    """Of Ultralytics' heads they are 15 strides large before training, more than a small canvas."""
    centres = grid()
    found = np.concatenate([centres, np.full_like(centres, 480)], axis=1)
    assert form_of(found, HEIGHT, WIDTH) is None
    assert form_of(found, HEIGHT, WIDTH, grid()) is None


def test_few_or_infinite_boxes_tell_nothing() -> None:
    found = boxes(0, 30)
    assert form_of(as_corners(found)[: MIN_ROWS - 1], HEIGHT, WIDTH) is None
    found[3, 3] = np.inf
    assert form_of(found, HEIGHT, WIDTH) is None


@pytest.mark.parametrize(
    ("found", "chosen", "unit"),
    [
        (boxes(1, 30), False, "pixels"),
        (boxes(1, 30) / [WIDTH, HEIGHT, WIDTH, HEIGHT], False, "shares"),
        (boxes(1, 30)[:40] / [WIDTH, HEIGHT, WIDTH, HEIGHT], True, "shares"),
        (boxes(1, 30) / [WIDTH, HEIGHT, WIDTH, HEIGHT] * 0.1, False, None),
        (np.array([[0.2, 0.2, 0.3, 0.5]]), False, "shares"),
        (np.array([[2.0, 2, 3, 3]]), False, "pixels"),
        (np.array([[-0.2, 0.1, 1.7, 1.2]]), True, "shares"),
        (np.zeros((300, 4)), True, None),
        (np.zeros((0, 4)), True, None),
    ],
)
def test_units_are_told_apart(found: np.ndarray, chosen: bool, unit: str | None) -> None:
    assert unit_of(found, chosen=chosen) == unit


@pytest.mark.parametrize(
    ("scores", "beyond"),
    [
        ([0, 1], None),
        ([-0.0005, 1.0004], None),
        ([], None),
        ([-0.2, 0.5], (-0.2, 0.5)),
        ([0.1, 40], (0.1, 40)),
    ],
)
def test_scores_that_are_no_probabilities(scores: list[float], beyond: tuple[float, float] | None) -> None:
    assert score_range(np.array(scores)) == beyond


def test_scores_that_are_no_numbers() -> None:
    assert score_range(np.array([0.5, np.nan])) is None
    assert score_range(np.array([0.5, np.inf])) is None
    assert score_range(np.array([np.nan, np.nan])) is not None


def test_decoded_positions_follow_their_cells() -> None:
    places = grid()
    random = np.random.default_rng(0)
    assert follows(places + random.normal(0, 8, places.shape), places) > 0.95
    assert abs(follows(random.normal(0.5, 1, places.shape), places)) < 0.3
    assert follows(np.ones_like(places), places) == 0


@given(st.integers(0, 10_000), st.floats(48, 80))
def test_forms_are_shown_by_the_places_or_by_covering_the_canvas(seed: int, typical: float) -> None:
    found = boxes(seed, typical)
    for places in (None, grid()):
        assert shown_form(found, HEIGHT, WIDTH, places) == "centre"
        assert shown_form(as_top_left(found), HEIGHT, WIDTH, places) == "top_left"
        assert shown_form(as_corners(found), HEIGHT, WIDTH, places) == "corners"


def test_small_boxes_show_no_form() -> None:
    found = boxes(0, 3)
    assert shown_form(found, HEIGHT, WIDTH) is None
    assert shown_form(as_top_left(found), HEIGHT, WIDTH) is None


def test_corners_without_extent_are_corners() -> None:
    """Distances to the sides that pass a ReLU are often 0; rows of zeros only fill up."""
    found = as_corners(boxes(0, 30))
    found[::3, 2:] = found[::3, :2]
    assert ordered_share(found) == 1 and are_corners(found)
    assert form_of(found, HEIGHT, WIDTH) == shown_form(found, HEIGHT, WIDTH) == "corners"
    padded = np.concatenate([boxes(0, 30), np.zeros((5000, 4), np.float32)])
    assert ordered_share(padded) < 0.2 and not are_corners(padded)


def test_sums_of_a_softmax() -> None:
    scores = np.random.default_rng(0).random((200, 4))
    assert not sums_to_one(scores)
    scores /= scores.sum(axis=1, keepdims=True)
    assert sums_to_one(scores)
    scores[150] *= 0.9
    assert not sums_to_one(scores)
    assert not sums_to_one(np.ones((9, 1))) and not sums_to_one(np.zeros((0, 4)))

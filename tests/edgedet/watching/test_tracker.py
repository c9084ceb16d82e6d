"""Objects keep their numbers, and assignments are the best there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.watching.assignment import assign
from edgedet.watching.motion import Motion
from edgedet.watching.tracker import Tracker

NAMES = ("camera", "phone")


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, float).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5], NAMES, (480, 640))  # type: ignore[arg-type]


def ids(tracker: Tracker, time: float, *rows: tuple[float, float, float, float, float, int]) -> list[int]:
    values: list[int] = tracker.update(found(*rows), time).data["track"].tolist()
    return values


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_assignments_are_as_good_as_the_best_of_all(rows: int, columns: int, seed: int) -> None:
    gains = np.random.default_rng(seed).random((rows, columns))
    gains[gains < 0.4] = 0
    pairs = assign(gains)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(gains[pair] > 0 for pair in pairs)
    wide = gains if rows <= columns else gains.T
    best = max(
        sum(wide[row, column] for row, column in enumerate(order))
        for order in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(gains[pair] for pair in pairs) == pytest.approx(best)


def test_the_filter_learns_a_velocity_over_uneven_times() -> None:
    motion = Motion()
    start, speed = np.array([[100.0, 100, 140, 160]]), np.array([[60.0, -20, 60, -20]])
    motion.add(start)
    now = 0.0
    for wait in (0.1, 0.05, 0.2, 0.1, 0.15, 0.1):
        now += wait
        motion.pass_time(wait)
        motion.correct(np.array([0]), start + speed * now)
    motion.pass_time(0.3)
    now += 0.3
    assert motion.boxes[0] == pytest.approx((start + speed * now)[0], abs=4)


def test_two_that_cross_keep_their_numbers() -> None:
    tracker = Tracker(start=0.5)
    seen = []
    for step in range(20):
        left, right = 20 + step * 14, 300 - step * 14
        seen.append(
            ids(tracker, step / 10, (left, 50, left + 40, 90, 0.9, 0), (right, 70, right + 40, 110, 0.8, 0))
        )
    assert seen == [[1, 2]] * 20


def test_what_is_hidden_for_less_than_the_patience_keeps_its_number_and_then_loses_it() -> None:
    tracker = Tracker(start=0.5, patience=1.0)
    row = (50, 50, 90, 90, 0.9, 0)
    assert ids(tracker, 0.0, row) == [1]
    for step in range(1, 9):
        assert ids(tracker, step / 10) == []
    assert ids(tracker, 0.9, row) == [1]
    for step in range(10, 25):
        ids(tracker, step / 10)
    assert ids(tracker, 2.5, row) == [2]


def test_weak_detections_go_on_with_a_track_and_begin_none() -> None:
    tracker = Tracker(start=0.5)
    assert ids(tracker, 0.0, (50, 50, 90, 90, 0.3, 0)) == [-1]
    assert ids(tracker, 0.1, (50, 50, 90, 90, 0.6, 0)) == [1]
    assert ids(tracker, 0.2, (52, 50, 92, 90, 0.2, 0), (300, 50, 340, 90, 0.2, 0)) == [1, -1]
    # Gone for a frame, a weak one is no sign of its return; a strong one is.
    assert ids(tracker, 0.3) == []
    assert ids(tracker, 0.4, (54, 50, 94, 90, 0.2, 0)) == [-1]
    assert ids(tracker, 0.5, (54, 50, 94, 90, 0.7, 0)) == [1]


def test_a_track_is_of_one_class() -> None:
    tracker = Tracker(start=0.5)
    assert ids(tracker, 0.0, (50, 50, 90, 90, 0.9, 0)) == [1]
    assert ids(tracker, 0.1, (50, 50, 90, 90, 0.9, 1)) == [2]
    assert ids(tracker, 0.2, (50, 50, 90, 90, 0.9, 1), (50, 50, 90, 90, 0.8, 0)) == [2, 1]


@pytest.mark.parametrize("later", [-5.0, 60.0])
def test_a_clock_that_jumps_ends_all_tracks(later: float) -> None:
    tracker = Tracker(start=0.5)
    row = (50, 50, 90, 90, 0.9, 0)
    assert ids(tracker, 10.0, row) == [1]
    assert ids(tracker, 10.0 + later, row) == [2]
    assert ids(tracker, 10.1 + later, row) == [2]


def test_ids_of_the_network_itself_are_kept() -> None:
    own = Detections(
        [[0, 0, 9, 9]],
        [0.9],
        [0],
        NAMES,
        (48, 64),
        {"track": np.array([77])},  # type: ignore[arg-type]
    )
    assert Tracker().update(own, 0.0) is own


def test_further_data_follows() -> None:
    points: NDArray[np.float32] = np.zeros((1, 5, 2), np.float32)
    with_points = Detections([[0, 0, 9, 9]], [0.9], [0], NAMES, (48, 64), {"points": points})  # type: ignore[arg-type]
    assert set(Tracker().update(with_points, 0.0).data) == {"points", "track"}


@pytest.mark.parametrize(
    ("options", "words"), [({"start": 1.5}, "start is 1.5"), ({"patience": 0}, "patience is 0")]
)
def test_values_out_of_range_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Tracker(**options)  # type: ignore[arg-type]

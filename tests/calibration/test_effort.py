"""More effort never looks at less."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest

from edgedet.calibration.data import Sample
from edgedet.calibration.effort import EFFORTS, spread
from edgedet.calibration.ledger import digest_of, digest_of_each


def test_every_point_looks_at_no_less_than_the_one_before() -> None:
    assert list(EFFORTS) == ["quick", "normal", "thorough"]
    for less, more in pairwise(EFFORTS.values()):
        assert all(one <= other for one, other in zip(astuple(less), astuple(more), strict=True))


@pytest.mark.parametrize(("count", "wanted"), [(10, 3), (10, 10), (3, 10), (1, 1), (64, 24), (500, 1)])
def test_a_spread_takes_as_many_as_there_are_from_end_to_end(count: int, wanted: int) -> None:
    taken = spread(count, wanted)
    assert taken == sorted(set(taken)) and len(taken) == min(count, wanted)
    assert taken[0] == 0 and (wanted == 1 or taken[-1] == count - 1)


def test_a_sample_takes_frames_when_they_are_asked_for_and_holds_none() -> None:
    asked: list[int] = []

    class Frames(Sequence[np.ndarray]):
        def __len__(self) -> int:
            return 20_000

        def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
            asked.append(index)
            return np.full(1, index)

    sample = Sample(Frames(), 3)
    assert len(sample) == 3 and asked == []
    assert [int(frame[0]) for frame in sample] == [0, 10_000, 19_999] == asked
    assert [int(frame[0]) for frame in sample[1:]] == [10_000, 19_999]


def test_a_digest_takes_frames_one_by_one_and_is_that_of_all_together() -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def frames() -> Iterator[np.ndarray]:
        for value in range(5):
            assert sum(one() is not None for one in alive) <= 1, "frames are held together"
            frame = np.full((2, 3), value)
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    assert digest_of_each(frames()) == digest_of(*(np.full((2, 3), value) for value in range(5)))

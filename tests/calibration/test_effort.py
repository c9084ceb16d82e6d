"""More effort never looks at less."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from itertools import pairwise

import numpy as np
import pytest

from edgedet.calibration.calibration_frames import Sample
from edgedet.calibration.effort import EFFORTS, MIN_FRAMES, EffortName, spread
from edgedet.calibration.measurement_cache import digest_of, digest_of_each


def test_every_point_looks_at_no_less_than_the_one_before() -> None:
    assert list(EFFORTS) == ["quick", "normal", "thorough"]
    for less, more in pairwise(EFFORTS.values()):
        assert all(one <= other for one, other in zip(astuple(less), astuple(more), strict=True))


@pytest.mark.parametrize("name", list(EFFORTS))
def test_a_heavy_network_is_shown_less_and_never_next_to_nothing(name: EffortName) -> None:
    full = EFFORTS[name]
    assert full.affordable(0) == full.affordable(10**9) == full
    tried = [astuple(full.affordable(10**power)) for power in range(8, 16)]
    for more, less in pairwise(tried):
        assert all(one >= other for one, other in zip(more, less, strict=True))
    least = full.affordable(10**15)
    assert (least.frames, least.judged, least.probes) == (MIN_FRAMES, MIN_FRAMES, 1)
    assert least.checks == min(full.checks, MIN_FRAMES) and least.evaluations == min(full.evaluations, 3)


def test_normal_effort_runs_a_heavy_network_about_as_often_as_a_light_one_is_worth() -> None:
    # A Faster R-CNN ResNet50-C4 of 300 proposals at 800 pixels: 3.6 s a frame on two cores.
    heavy = EFFORTS["normal"].affordable(293 * 10**9)
    assert (heavy.frames, heavy.judged, heavy.probes, heavy.checks) == (8, 8, 1, 8)


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

"""More effort never looks at less."""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise

import pytest

from edgedet.calibration.effort import EFFORTS, spread


def test_every_point_looks_at_no_less_than_the_one_before() -> None:
    assert list(EFFORTS) == ["quick", "normal", "thorough"]
    for less, more in pairwise(EFFORTS.values()):
        assert all(one <= other for one, other in zip(astuple(less), astuple(more), strict=True))


@pytest.mark.parametrize(("count", "wanted"), [(10, 3), (10, 10), (3, 10), (1, 1), (64, 24), (500, 1)])
def test_a_spread_takes_as_many_as_there_are_from_end_to_end(count: int, wanted: int) -> None:
    taken = spread(count, wanted)
    assert taken == sorted(set(taken)) and len(taken) == min(count, wanted)
    assert taken[0] == 0 and (wanted == 1 or taken[-1] == count - 1)

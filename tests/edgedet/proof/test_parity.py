"""Matching the detections of two detectors one to one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.proof.parity import Tolerance, match_detections, summarise


class Found:
    """The arrays of ``Detections``, which is all that matching looks at. Others have tests of their own."""

    masks = keypoints = None

    def __init__(self, *rows: tuple[tuple[float, float, float, float], float, int]) -> None:
        self.boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
        self.scores = np.array([score for _, score, _ in rows], np.float32)
        self.labels = np.array([label for _, _, label in rows], np.int32)


def match(reference: Found, candidate: Found, **tolerance: Any) -> Any:
    return match_detections(reference, candidate, Tolerance(**tolerance))  # type: ignore[arg-type]


BOX = (10.0, 10.0, 110.0, 110.0)
ELSEWHERE = (300.0, 10.0, 400.0, 110.0)


def test_a_detector_agrees_with_itself() -> None:
    found = Found((BOX, 0.9, 0), (ELSEWHERE, 0.5, 1), ((5, 5, 5, 5), 0.4, 2))
    parity = match(found, found)
    assert parity.pairs.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not len(parity.missing)
    assert not len(parity.extra)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ((BOX, 0.9, 1), "another label"),
        ((BOX, 0.902, 0), "a score further off than 0.001"),
        (((10, 10, 110, 112), 0.9, 0), "an IoU of 0.98"),
    ],
)
def test_what_is_outside_the_tolerance_is_missing_on_one_side_and_invented_on_the_other(
    other: tuple[tuple[float, float, float, float], float, int], why: str
) -> None:
    parity = match(Found((BOX, 0.9, 0)), Found(other))
    assert parity.missing.tolist() == [0], why
    assert parity.extra.tolist() == [0], why


def test_a_score_at_the_limit_counts_as_equal() -> None:
    assert len(match(Found((BOX, 0.051, 0)), Found((BOX, 0.050, 0))).pairs) == 1


def test_a_partner_that_is_looked_for_itself_comes_before_a_closer_one_that_is_not() -> None:
    reference = Found((BOX, 0.0502, 0))
    candidate = Found(((10, 10, 110, 110.5), 0.0505, 0), (BOX, 0.0498, 0))
    parity = match(reference, candidate, min_score=0.05)
    assert parity.pairs.tolist() == [[0, 0]] and not len(parity.extra) and not len(parity.missing)


def test_one_candidate_answers_for_one_reference_only() -> None:
    parity = match(Found((BOX, 0.9, 0), (BOX, 0.9, 0)), Found((BOX, 0.9, 0)))
    assert len(parity.pairs) == 1
    assert len(parity.missing) == 1


def test_the_matching_is_the_largest_there_is() -> None:
    # Reference 0 fits both candidates and likes candidate 0 best; reference 1 fits candidate 0 only.
    reference = Found(((0, 0, 100, 100), 0.9, 0), ((0, 0, 100, 90), 0.9, 0))
    candidate = Found(((0, 0, 100, 99), 0.9, 0), ((0, 0, 100, 108), 0.9, 0))
    parity = match(reference, candidate, min_iou=0.905)
    assert sorted(map(tuple, parity.pairs.tolist())) == [(0, 1), (1, 0)]


def test_below_the_least_score_nothing_is_looked_for_but_partners_may_stand_there() -> None:
    parity = match(Found((BOX, 0.0504, 0), (ELSEWHERE, 0.01, 0)), Found((BOX, 0.0496, 0)))
    assert parity.reference_count == 1
    assert parity.candidate_count == 0
    assert len(parity.pairs) == 1
    assert not len(parity.missing)


@pytest.mark.parametrize("frames", [[], [(Found(), Found())], [(Found((BOX, 0.04, 0)), Found((BOX, 0.04, 0)))]])
def test_where_there_is_nothing_to_find_there_is_no_figure(frames: list[tuple[Found, Found]]) -> None:
    report = summarise([match(*pair) for pair in frames])
    assert report.found is report.confirmed is report.share is None
    assert report.worst_iou is report.worst_score_difference is report.worst_corner_difference is None
    assert report.absent["found"] == f"the reference finds nothing on {len(frames)} frames"
    assert not report.agrees(0.0)


def test_a_side_that_finds_nothing_has_no_share_and_the_other_side_decides() -> None:
    invented = summarise([match(Found(), Found((BOX, 0.9, 0)))])
    assert (invented.found, invented.confirmed, invented.worst_iou) == (None, 0.0, None)
    assert set(invented.absent) >= {"found", "worst_iou"} and "confirmed" not in invented.absent
    assert not invented.agrees(0.1)
    missing = summarise([match(Found((BOX, 0.9, 0)), Found())])
    assert (missing.found, missing.confirmed) == (0.0, None) and not missing.agrees(0.1)
    equal = summarise([match(Found((BOX, 0.9, 0)), Found((BOX, 0.9, 0)))])
    assert equal.absent == {} and equal.agrees(1.0)


def test_an_invented_box_breaks_agreement_even_when_nothing_is_missing() -> None:
    report = summarise([match(Found((BOX, 0.9, 0)), Found((BOX, 0.9, 0), (ELSEWHERE, 0.9, 0)))])
    assert report.found == 1.0
    assert report.confirmed == 0.5
    assert not report.agrees(0.995)


def test_frames_add_up_and_the_worst_differences_are_kept() -> None:
    frames = [
        match(Found((BOX, 0.9, 0)), Found((BOX, 0.9004, 0))),
        match(Found((BOX, 0.9, 0)), Found(((10, 10, 110, 110.25), 0.9, 0))),
        match(Found((BOX, 0.9, 0)), Found()),
    ]
    report = summarise(frames)
    assert (report.frames, report.reference_count, report.candidate_count, report.matched) == (3, 3, 2, 2)
    assert (report.missing, report.extra) == (1, 0)
    assert report.found == pytest.approx(2 / 3)
    assert report.worst_score_difference == pytest.approx(0.0004, abs=1e-6)
    assert report.worst_corner_difference == pytest.approx(0.25)
    assert report.worst_iou == pytest.approx(100 / 100.25)


ROWS = st.lists(
    st.tuples(st.sampled_from([BOX, ELSEWHERE, (10.0, 10.0, 110.0, 110.5)]), st.sampled_from([0.3, 0.3005, 0.302])),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS)
def test_matching_is_one_to_one_and_as_large_in_either_direction(
    first: list[tuple[tuple[float, float, float, float], float]],
    second: list[tuple[tuple[float, float, float, float], float]],
) -> None:
    a, b = (Found(*[(box, score, 0) for box, score in rows]) for rows in (first, second))
    there, back = match(a, b), match(b, a)
    assert len(there.pairs) == len(back.pairs)
    assert len(set(there.pairs[:, 0])) == len(set(there.pairs[:, 1])) == len(there.pairs)
    assert len(there.pairs) + len(there.missing) == len(first)
    assert len(there.pairs) + len(there.extra) == len(second)

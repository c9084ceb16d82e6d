"""Proposals that cannot be boxes of their frame are refused, with what was expected; others reach the canvas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.errors import ProposalsError
from edgedet.geometry import plan_resize
from edgedet.outside_proposals import ProposalInput, checked_proposals

SPEC = InputSpec(height=50, width=50, batch=2, proposals=2)
PLACE = plan_resize(ResizeRule("letterbox", place="center", rounding="round"), 100, 200, 50, 50)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[1, 2, 3]], r"int64 \[1, 3\], expected numbers \[N, 4\]"),
        ([1, 2, 30, 40], r"int64 \[4\], expected"),
        ([["a", "b", "c", "d"]], r"expected numbers"),
        ([[0, 0, 9, 9], [0, 0, float("nan"), 9]], r"proposal 1 is \[0, 0, nan, 9\], which is not finite"),
        ([[0, 0, float("inf"), 9]], "not finite"),
        ([[30, 10, 20, 40]], r"proposal 0 is \[30, 10, 20, 40\], expected x1 < x2"),
        ([[30, 10, 30, 40]], "expected x1 < x2"),
        ([[30, 40, 50, 10]], "y1 < y2"),
        ([[0.1, 0.2, 0.5, 1.0]], "shares of the frame, expected its pixels: multiply by 200 and 100"),
        ([[10, 10, 20, 20], [300, 10, 320, 20]], "proposal 1 .* outside the frame of 200x100"),
        ([[-30, 10, -2, 20]], "outside the frame"),
        ([[-50, -40, -6, -7]], "outside the frame"),
    ],
)
def test_what_is_no_box_of_the_frame_is_refused(boxes: Any, message: str) -> None:
    with pytest.raises(ProposalsError, match=message):
        checked_proposals(boxes, 100, 200)


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), np.zeros((0, 4), np.int32), [[]]])
def test_none_are_none(boxes: Any) -> None:
    assert checked_proposals(boxes, 100, 200).shape == (0, 4)


def test_what_leaves_the_frame_is_clipped_as_a_networks_own_are() -> None:
    clipped = checked_proposals(np.array([[-5, -5, 500, 50]], np.int16), 100, 200)
    assert clipped.dtype == np.float32 and clipped.tolist() == [[0, 0, 200, 50]]


def test_places_past_the_last_proposal_are_empty_whatever_was_there() -> None:
    given = ProposalInput(SPEC)
    assert given.place([[0, 0, 200, 100], [20, 40, 60, 80]], PLACE, 0) == 2
    assert given.place([[20, 40, 60, 80]], PLACE, 1) == 1
    # A letterbox of 50 x 25 in the middle of the canvas.
    corners = [[0, 12, 50, 37], [5, 22, 15, 32]]
    np.testing.assert_allclose(given.tensors["proposals"][0], corners, atol=0.51)
    assert given.place([[20, 40, 60, 80]], PLACE, 0) == 1
    np.testing.assert_array_equal(given.tensors["proposals"][0, 0], given.tensors["proposals"][1, 0])
    assert not given.tensors["proposals"][0, 1].any()
    given.leave_empty(1)
    assert given.tensors["proposal_count"].tolist() == [1, 0] and not given.tensors["proposals"][1].any()


def test_more_than_the_network_takes_are_refused_and_none_is_dropped() -> None:
    with pytest.raises(ProposalsError, match="3 proposals, and this artifact takes 2 at most"):
        ProposalInput(SPEC).place([[0, 0, 9, 9]] * 3, PLACE, 0)


@pytest.mark.parametrize("boxes", [[[1, 2, 3, 4], [1, 2]], [(np.zeros(4), 0.5, 1, "cup")]])
def test_rows_of_different_lengths_are_refused_in_a_sentence(boxes: Any) -> None:
    with pytest.raises(
        ProposalsError, match=r"a list whose rows differ in length or kind, expected numbers \[N, 4\]"
    ):
        checked_proposals(boxes, 100, 200)

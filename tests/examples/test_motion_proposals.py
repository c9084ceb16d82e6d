"""The frame-difference proposer finds what moves over a still ground, and nothing else."""

from __future__ import annotations

import numpy as np

from edgedet.outside_proposals import checked_proposals
from examples.motion_proposals import MotionProposer


def frame(left: int, top: int) -> np.ndarray:
    """A still ground with grain and a square of 40 pixels at (left, top)."""
    rng = np.random.default_rng(left)
    image = np.full((120, 160, 3), 90, np.int16) + np.arange(160, dtype=np.int16)[None, :, None] // 4
    image += rng.integers(-3, 4, image.shape, dtype=np.int16)
    image[top : top + 40, left : left + 40] = (30, 200, 220)
    return image.astype(np.uint8)


def test_what_moves_is_proposed_and_what_stands_still_is_not() -> None:
    propose = MotionProposer(8)
    assert propose(frame(10, 10)).shape == (0, 4), "one frame shows no motion"
    assert len(propose(frame(10, 10))) == 0
    for step in range(1, 4):
        boxes = propose(frame(60 + 5 * step, 50))
        assert len(checked_proposals(boxes, 120, 160)) == len(boxes) <= 8
        errors = np.abs(boxes - np.array([60 + 5 * step, 50, 100 + 5 * step, 90])).max(axis=1)
        assert errors.min() <= 8, "the square, within two pixels of the small picture"


def test_the_largest_come_first_where_there_are_too_many() -> None:
    propose = MotionProposer(1, margins=(0.0,))
    ground = np.full((120, 160, 3), 80, np.uint8)
    propose(ground)
    moved = ground.copy()
    moved[10:22, 10:22] = 200
    moved[60:100, 60:120] = 200
    (box,) = propose(moved)
    np.testing.assert_allclose(box, [60, 60, 120, 100], atol=4)


def test_another_size_of_frame_begins_anew() -> None:
    propose = MotionProposer(4)
    propose(np.zeros((120, 160, 3), np.uint8))
    assert len(propose(np.full((240, 320, 3), 255, np.uint8))) == 0

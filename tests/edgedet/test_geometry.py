"""Where frames land on the canvas, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.artifacts.card import ResizeRule
from edgedet.geometry import plan_resize, shortest_side_size

RULES = (
    ResizeRule("letterbox"),
    ResizeRule("letterbox", place="center", rounding="round"),
    ResizeRule("letterbox", enlarge=False),
    ResizeRule("stretch"),
    ResizeRule("shortest_side", min_size=320, max_size=640),
    ResizeRule("none"),
)
SIDES = st.integers(1, 8000)


@given(st.sampled_from(RULES), SIDES, SIDES, st.integers(32, 1280), st.integers(32, 1280), st.data())
def test_a_box_comes_back_from_the_canvas(  # noqa: PLR0917
    rule: ResizeRule, height: int, width: int, canvas_height: int, canvas_width: int, data: st.DataObject
) -> None:
    geometry = plan_resize(rule, height, width, canvas_height, canvas_width)
    x1, x2 = sorted(data.draw(st.tuples(*[st.floats(0, width, width=32)] * 2)))
    y1, y2 = sorted(data.draw(st.tuples(*[st.floats(0, height, width=32)] * 2)))
    box = np.array([[x1, y1, x2, y2]], np.float32)
    # What float32 can carry: one part in 2**20 of the side, undone by the scale.
    slack = max(height, width) * 2e-6 + 1e-3 / min(geometry.scale_x, geometry.scale_y)
    assert np.abs(geometry.to_frame(geometry.to_canvas(box)) - box).max() <= slack


@given(st.sampled_from(RULES[:-1]), SIDES, SIDES, st.integers(32, 1280), st.integers(32, 1280))
def test_the_content_lies_on_the_canvas(
    rule: ResizeRule, height: int, width: int, canvas_height: int, canvas_width: int
) -> None:
    geometry = plan_resize(rule, height, width, canvas_height, canvas_width)
    assert geometry.height >= 1 and geometry.width >= 1
    assert geometry.top >= 0 and geometry.top + geometry.height <= canvas_height
    assert geometry.left >= 0 and geometry.left + geometry.width <= canvas_width


@given(SIDES, SIDES)
def test_boxes_are_clipped_to_the_frame(height: int, width: int) -> None:
    geometry = plan_resize(RULES[1], height, width, 640, 640)
    (box,) = geometry.to_frame(np.array([[-50, -50, 5000, 5000]], np.float32))
    assert box.tolist() == [0, 0, width, height]


@pytest.mark.parametrize(
    ("rule", "frame", "expected"),
    [
        # YOLOX: min(416 / 480, 416 / 640), floored, top left.
        (RULES[0], (480, 640), (312, 416, 0, 0)),
        # Ultralytics: 1080p on 640 x 640 has 140 rows above.
        (RULES[1], (1080, 1920), (360, 640, 140, 0)),
        # An odd remainder: 640 - 427 = 213, 106 in front.
        (RULES[1], (640, 427), (640, 427, 0, 106)),
        (RULES[2], (100, 200), (100, 200, 0, 0)),
        (RULES[3], (480, 640), (416, 416, 0, 0)),
        # MMCV: int(side + 0.5). 125 * 416 / 320 is 162.5, which Ultralytics rounds to the even 162.
        (ResizeRule("letterbox", rounding="half_up"), (125, 320), (163, 416, 0, 0)),
        (ResizeRule("letterbox", rounding="round"), (125, 320), (162, 416, 0, 0)),
    ],
)
def test_known_placements(rule: ResizeRule, frame: tuple[int, int], expected: tuple[int, int, int, int]) -> None:
    canvas = 640 if rule is RULES[1] else 416
    geometry = plan_resize(rule, *frame, canvas, canvas)
    assert (geometry.height, geometry.width, geometry.top, geometry.left) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [((480, 640), (320, 426)), ((1080, 1920), (320, 568)), ((100, 900), (71, 640)), ((105, 900), (74, 640))],
)
def test_the_shortest_side_is_resized_as_torchvision_does(
    frame: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert shortest_side_size(RULES[4], *frame) == expected

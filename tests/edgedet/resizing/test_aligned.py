"""Resizing as Darknet does it, by its loops written anew, and where its letterbox puts a frame."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.geometry import plan_resize
from edgedet.preprocess import Preprocessor
from edgedet.resizing.aligned import AlignedResize
from edgedet.resizing.four_pixels import LARGEST_PLACE

DARKNET = ResizeRule("letterbox", (127.5,) * 3, "center", "divide", coordinates="align_corners")


def darknet_resize(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """``resize_image``: columns first; the last column is the frame's, the last row has nothing added to it."""
    rows, columns = frame.shape[:2]
    step_x = np.float32(columns - 1) / np.float32(max(width - 1, 1))
    step_y = np.float32(rows - 1) / np.float32(max(height - 1, 1))
    part = np.zeros((rows, width, 3), np.float32)
    for column in range(width):
        if column == width - 1 or columns == 1:
            part[:, column] = frame[:, -1]
            continue
        place = np.float32(column) * step_x
        left = int(place)
        share = place - np.float32(left)
        part[:, column] = (1 - share) * frame[:, left] + share * frame[:, left + 1]
    result = np.zeros((height, width, 3), np.float32)
    for row in range(height):
        place = np.float32(row) * step_y
        upper = int(place)
        share = place - np.float32(upper)
        result[row] = (1 - share) * part[upper]
        if row < height - 1 and rows > 1:
            result[row] += share * part[upper + 1]
    return result


@pytest.mark.parametrize(
    ("source", "target"),
    [((48, 64), (30, 40)), ((30, 40), (48, 64)), ((480, 8), (120, 5)), ((7, 1), (5, 3)), ((1, 7), (3, 5)),
     ((200, 9), (33, 9)), ((5, 5), (1, 1)), ((9, 200), (9, 33))],
)  # fmt: skip
def test_pixels_are_darknets(source: tuple[int, int], target: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*source, 3)).astype(np.uint8)
    expected = darknet_resize(frame.astype(np.float32), *target)
    found = np.zeros((*target, 3), np.float32)
    resize = AlignedResize(source, target)
    for pixels in (frame, frame.astype(np.float32), frame):
        resize(pixels, found)
        np.testing.assert_allclose(found, expected, atol=1e-3)
    bytes_found = np.zeros((*target, 3), np.uint8)
    resize(frame, bytes_found)
    np.testing.assert_allclose(bytes_found, expected, atol=0.51)


def test_the_last_row_is_as_black_as_darknets() -> None:
    frame = np.full((480, 8, 3), 200, np.uint8)
    found = np.zeros((120, 8, 3), np.float32)
    AlignedResize((480, 8), (120, 8))(frame, found)
    assert found[-1].max() < 1 and found[:-1].min() > 199


def test_frames_beyond_opencvs_tables() -> None:
    side = LARGEST_PLACE + 10
    frame = np.random.default_rng(0).integers(0, 256, (2, side, 3)).astype(np.uint8)
    found = np.zeros((2, 500, 3), np.float32)
    AlignedResize((2, side), (2, 500))(frame, found)
    np.testing.assert_allclose(found, darknet_resize(frame.astype(np.float32), 2, 500), atol=0.6)


@pytest.mark.parametrize(
    ("frame", "canvas"), [((375, 500), (416, 416)), ((500, 333), (416, 416)), ((427, 640), (224, 224)),
                          ((300, 400), (320, 608)), ((100, 3), (64, 64)), ((416, 416), (416, 416))]
)  # fmt: skip
def test_letterbox_and_the_way_back_are_darknets(frame: tuple[int, int], canvas: tuple[int, int]) -> None:
    (height, width), (canvas_height, canvas_width) = frame, canvas
    if canvas_width / width < canvas_height / height:
        new_width, new_height = canvas_width, height * canvas_width // width
    else:
        new_height, new_width = canvas_height, width * canvas_height // height
    found = plan_resize(DARKNET, height, width, canvas_height, canvas_width)
    assert (found.width, found.height) == (new_width, new_height)
    assert (found.left, found.top) == ((canvas_width - new_width) // 2, (canvas_height - new_height) // 2)
    # correct_yolo_boxes, on a box in the middle of the frame, in shares of the canvas and of the frame.
    x, y, w, h = 0.45, 0.55, 0.1, 0.05
    back_x = (x - (canvas_width - new_width) / 2 / canvas_width) / (new_width / canvas_width) * width
    back_y = (y - (canvas_height - new_height) / 2 / canvas_height) / (new_height / canvas_height) * height
    back_w, back_h = w * canvas_width / new_width * width, h * canvas_height / new_height * height
    canvas_sides = np.array([canvas_width, canvas_height] * 2)
    corners = np.array([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]]) * canvas_sides
    expected = [back_x - back_w / 2, back_y - back_h / 2, back_x + back_w / 2, back_y + back_h / 2]
    limit = np.array([width, height, width, height])
    np.testing.assert_allclose(
        found.to_frame(corners.astype(np.float32))[0], np.clip(expected, 0, limit), atol=1e-3
    )


def test_the_canvas_is_grey_around_the_frame() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    preprocessor = Preprocessor(InputSpec(height=33, width=33, dtype="float32"), DARKNET)
    place = preprocessor.prepare(frame)
    assert (place.top, place.height, place.shift_y) == (5, 22, 0.5)
    tensor = preprocessor.tensor[0]
    assert (tensor[:5] == 127.5).all() and (tensor[27:] == 127.5).all()
    np.testing.assert_allclose(tensor[5:27], darknet_resize(frame.astype(np.float32), 22, 33), atol=1e-3)

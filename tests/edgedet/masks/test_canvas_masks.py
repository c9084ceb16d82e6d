"""Outlines on a network's canvas: drawn of prototypes, and brought to the frame, as PyTorch computes both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgedet.artifacts.card import ResizeRule
from edgedet.geometry import ResizeGeometry, plan_resize
from edgedet.masks.canvas_masks import CanvasMasks, draw_prototypes

CANVAS = (96, 128)
LETTERBOX = ResizeRule("letterbox", place="center", rounding="round")
FRAMES = [(480, 640), (96, 128), (61, 37), (300, 1000), (40, 50), (128, 96)]
"""(height, width): shrunk, as it is, odd with a border beside it and above it, enlarged, upright."""


def some(seed: int = 0, count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, smooth prototypes, and boxes of which some leave the canvas."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:24, 0:32] / 8
    waves = [np.sin(a * x + b * y + c) for a, b, c in generator.uniform(-2, 2, (8, 3))]
    corners = np.sort(generator.uniform(-20, 140, (count, 2, 2)), axis=1).reshape(-1, 4)
    corners[0] = (0, 0, 128, 96)
    corners[1] = (10, 20, 11.5, 90)
    return (
        generator.normal(size=(count, 8)).astype(np.float32),
        np.stack(waves).astype(np.float32),
        corners.astype(np.float32),
    )


def drawn(frame: tuple[int, int], seed: int = 0) -> CanvasMasks:
    place = plan_resize(LETTERBOX, *frame, *CANVAS)
    return CanvasMasks(tuple(draw_prototypes(*some(seed), CANVAS, place)), frame)


def expected(frame: tuple[int, int]) -> Any:
    """By whole arrays in PyTorch: all prototypes on all of the canvas, cut to the box, the border taken off."""
    torch = pytest.importorskip("torch")
    resize = torch.nn.functional.interpolate
    coefficients, prototypes, boxes = some()
    sums = torch.einsum("nm,mhw->nhw", torch.from_numpy(coefficients), torch.from_numpy(prototypes))
    canvas = (resize(sums[None], CANVAS, mode="bilinear")[0] > 0).numpy()
    y, x = np.mgrid[0 : CANVAS[0], 0 : CANVAS[1]]
    low, high = boxes[:, :2, None, None], boxes[:, 2:, None, None]
    canvas &= (x >= low[:, 0]) & (x < high[:, 0]) & (y >= low[:, 1]) & (y < high[:, 1])
    place = plan_resize(LETTERBOX, *frame, *CANVAS)
    content = canvas[:, place.top : place.top + place.height, place.left : place.left + place.width]
    return resize(torch.from_numpy(content)[None].float(), frame, mode="bilinear")[0].numpy()


@pytest.mark.parametrize("frame", FRAMES)
def test_pixels_are_those_of_whole_arrays(frame: tuple[int, int]) -> None:
    theirs, ours = expected(frame), drawn(frame)
    assert 0.1 < (theirs > 0.5).mean() < 0.9
    for index, whole in enumerate(theirs):
        left, top, values = ours.probabilities(index)
        placed = np.zeros(frame, np.float32)
        placed[top : top + values.shape[0], left : left + values.shape[1]] = values
        # With one thread PyTorch rounds once less.
        np.testing.assert_allclose(placed, whole, atol=1e-4)
    assert ((ours.dense() == (theirs > 0.5)) | (np.abs(theirs - 0.5) < 1e-4)).all()


def test_of_a_prototype_only_what_a_box_needs_is_read() -> None:
    """Cells further than one beside the box may hold anything."""
    coefficients, prototypes, boxes = some()
    place = plan_resize(LETTERBOX, *CANVAS, *CANVAS)
    usual = draw_prototypes(coefficients, prototypes, boxes, CANVAS, place)
    left, top, right, bottom = (41, 30, 67, 55)
    spoilt = prototypes.copy()
    spoilt[:, :6] = spoilt[:, 16:] = spoilt[:, :, :9] = spoilt[:, :, 18:] = np.nan
    alone = np.float32([[left, top, right, bottom]])
    again = draw_prototypes(coefficients[:1], spoilt, alone, CANVAS, place)[0]
    np.testing.assert_array_equal(again.pixels, usual[0].pixels[top:bottom, left:right])


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (200, 5, 300, 9), (-9, -9, 0, 0), (np.nan,) * 4])
def test_a_box_without_pixels_has_none(box: tuple[float, ...]) -> None:
    place = plan_resize(LETTERBOX, *CANVAS, *CANVAS)
    (nothing,) = draw_prototypes(*(part[:1] for part in some()[:1]), some()[1], np.float32([box]), CANVAS, place)
    assert not nothing.bits.any()
    masks = CanvasMasks((nothing,), CANVAS)
    assert masks.nbytes == 0 and not masks.full(0).any() and masks.to_polygons() == [[]]


def test_an_object_in_the_border_alone_has_no_pixel_of_the_frame() -> None:
    place = plan_resize(LETTERBOX, 40, 128, *CANVAS)
    ones = np.ones((1, 24, 32), np.float32)
    (above,) = draw_prototypes(np.ones((1, 1), np.float32), ones, np.float32([[0, 0, 128, 20]]), CANVAS, place)
    assert above.bits.any() and not CanvasMasks((above,), (40, 128)).full(0).any()


@pytest.mark.parametrize("index", [slice(1, 3), np.arange(12) % 2 == 0, [4, 0, -1], [], np.array([], np.intp)])
def test_they_follow_every_selection(index: Any) -> None:
    every = drawn((61, 37)).dense()
    wanted = every[np.asarray(index, np.intp) if isinstance(index, list) else index]
    np.testing.assert_array_equal(drawn((61, 37))[index].dense(), wanted)
    with pytest.raises(IndexError):
        drawn((61, 37))[[12]]
    with pytest.raises(IndexError):
        drawn((61, 37))[np.ones(5, np.bool_)]


def test_what_was_found_in_crops_lies_in_the_frame() -> None:
    first, second = drawn((61, 37)), drawn((40, 50), seed=1)
    whole = first.moved(3, 5, (90, 99)).joined([second.moved(49, 50, (90, 99))])
    assert len(whole) == 24 and whole.frame_size == (90, 99)
    for index, (masks, left, top) in enumerate([(first, 3, 5)] * 12 + [(second, 49, 50)] * 12):
        height, width = masks.frame_size
        placed = np.zeros((90, 99), np.bool_)
        placed[top : top + height, left : left + width] = masks.full(index % 12)
        np.testing.assert_array_equal(whole.full(index), placed)


def test_a_card_keeps_every_pixel_of_the_frame() -> None:
    masks = drawn((61, 37))
    assert masks.without_shades() is masks
    again = CanvasMasks.of_frames(list(masks.dense()), (61, 37))
    np.testing.assert_array_equal(again.dense(), masks.dense())
    assert again.to_card() == masks.to_card() == masks.to_coco_rle()


def test_an_object_takes_a_bit_for_each_pixel_of_its_box() -> None:
    place = ResizeGeometry(1080, 1920, 360, 640, 0, 140, 1 / 3, 1 / 3)
    coefficients, ones = np.ones((1, 1), np.float32), np.ones((1, 160, 160), np.float32)
    whole = draw_prototypes(coefficients, ones, np.float32([[0, 140, 640, 500]]), (640, 640), place)
    masks = CanvasMasks(tuple(whole), (1080, 1920))
    assert masks.full(0).all() and masks.nbytes == 640 * 360 // 8
    assert masks.nbytes * 20 <= masks.dense().nbytes

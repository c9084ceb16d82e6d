"""The renderer: equal seeds give equal scenes, boxes fit what is seen, and the dataset it writes is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet.datasets import read_dataset
from edgedet.datasets.outlines import outline_pixels
from examples.render import write_dataset
from examples.scenes.devices import CAMERAS, PHONES, Draw
from examples.scenes.distractors import DISTRACTORS
from examples.scenes.scene import MIN_SIDE, NAMES, Actor, Scene, _compose, render_clip, render_scene, render_visit
from examples.scenes.sprite import View

FACING = View()


def alone(actors: list[Actor], *, ground: int = 60) -> Scene:
    """A scene of these actors on plain ground."""
    return _compose(np.random.default_rng(0), np.full((240, 320, 3), ground, np.uint8), actors)


def actor(draw: Draw, label: int, center: tuple[float, float], scale: float = 0.8) -> Actor:
    return Actor(draw, label, FACING, center, scale, 5, False)


def test_equal_seeds_give_equal_scenes() -> None:
    first, second, other = render_scene(3), render_scene(3), render_scene(4)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_lie_inside_the_frame(seed: int) -> None:
    scene = render_scene(seed, width=320, height=240)
    assert scene.image.shape == (240, 320, 3) and scene.image.dtype == np.uint8
    assert len(scene.boxes) == len(scene.labels)
    assert set(scene.labels.tolist()) <= set(range(len(NAMES)))
    if len(scene.boxes):
        assert scene.boxes.min() >= 0 and (scene.boxes[:, 2:] <= [320, 240]).all()
        assert (scene.boxes[:, 2:] - scene.boxes[:, :2]).min() >= MIN_SIDE


@pytest.mark.parametrize("draw", [draw for draw, _ in (*CAMERAS, *PHONES)])
def test_box_fits_the_object(draw: Draw) -> None:
    scene = alone([actor(draw, 0, (160, 120))])
    (box,) = scene.boxes.astype(int)
    # Where another ground makes no difference, the object covers it.
    brighter = alone([actor(draw, 0, (160, 120))], ground=220)
    covered = np.abs(scene.image.astype(int) - brighter.image).max(2) < 45
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(box, seen, atol=8)


def test_covered_devices_get_no_box() -> None:
    phone, laptop = PHONES[0][0], DISTRACTORS[5]
    assert len(alone([actor(phone, 1, (160, 120))]).boxes) == 1
    assert len(alone([actor(phone, 1, (160, 120), 0.5), actor(laptop, -1, (160, 150), 1.2)]).boxes) == 0


def test_devices_outside_the_frame_get_no_box() -> None:
    assert len(alone([actor(PHONES[0][0], 1, (-20, 120))]).boxes) == 0


@pytest.mark.parametrize("draw", DISTRACTORS)
def test_distractors_are_drawn_and_have_no_box(draw: Draw) -> None:
    scene = alone([actor(draw, -1, (160, 120))])
    assert len(scene.boxes) == 0 and np.ptp(scene.image) > 30


@pytest.mark.parametrize("seed", [500_013, 500_014, 500_021])
def test_a_visitors_camera_is_in_view(seed: int) -> None:
    """Where it stood first, a laptop or a book hid that of the first and the last seed."""
    scenes = list(render_visit(seed, 24, comes=2, goes=22))
    seen = [len(scene.boxes) for scene in scenes]
    assert sum(seen[6:18]) == 12
    assert seen[:2] == seen[22:] == [0, 0]


def test_a_clip_moves_smoothly() -> None:
    scenes = list(render_clip(11, 4, width=320, height=240))
    assert len(scenes) == 4
    step = np.abs(scenes[1].image.astype(int) - scenes[0].image).mean()
    stranger = np.abs(next(render_clip(12, 1, width=320, height=240)).image.astype(int) - scenes[0].image).mean()
    assert 0 < step < stranger


def test_written_dataset_is_read_back(tmp_path: Path) -> None:
    path = write_dataset(tmp_path, 6, seed=0, size=(320, 240))
    dataset = read_dataset(path)
    assert dataset.names == NAMES and len(dataset.images) == 6
    for index, image in enumerate(dataset.images):
        np.testing.assert_allclose(image.boxes, render_scene(index, width=320, height=240).boxes)


def test_outlines_are_the_pixels_that_are_seen_of_each_object(tmp_path: Path) -> None:
    plain = read_dataset(write_dataset(tmp_path / "plain", 4, seed=0, size=(320, 240)), outlines=True)
    assert all(image.outlines is None for image in plain.images)
    path = write_dataset(tmp_path / "outlined", 4, seed=0, size=(320, 240), outlines=True)
    images = read_dataset(path, outlines=True).images
    assert sum(len(image) for image in images) >= 3
    for index, image in enumerate(images):
        owner = render_scene(index, width=320, height=240).owner
        for place, (box, outline) in enumerate(zip(image.boxes, image.outlines or (), strict=True)):
            pixels = outline_pixels(outline, (240, 320))
            np.testing.assert_array_equal(pixels, owner == place)
            rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert image.area[place] == pixels.sum()


def test_what_lies_in_front_is_not_the_object(tmp_path: Path) -> None:
    phone, cup = PHONES[0][0], DISTRACTORS[0]
    whole = alone([actor(phone, 1, (160, 120))])
    behind = alone([actor(phone, 1, (160, 120)), actor(cup, -1, (160, 120), 0.25)])
    assert len(behind.boxes) == 1
    lost = (whole.owner == 0) & (behind.owner == -1)
    assert 100 < lost.sum() < 0.65 * (whole.owner == 0).sum()


def test_visits_show_a_camera_in_every_other_picture_and_no_other_device(tmp_path: Path) -> None:
    dataset = read_dataset(write_dataset(tmp_path, 8, 4, size=(320, 240), kind="visit"))
    counts = [len(image.boxes) for image in dataset.images]
    # One that only steps in is not seen yet.
    assert counts[::2] == [0] * 4 and set(counts[1::2]) <= {0, 1} and sum(counts) >= 3
    assert all((image.labels == NAMES.index("camera")).all() for image in dataset.images)

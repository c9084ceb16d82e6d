"""Made pictures: the same every time, and like pictures rather than like noise."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from edgedet.calibration import procedural
from edgedet.calibration.procedural import LONGEST, SCENES, draw, made_picture
from edgedet.calibration.textures import colour, field, pattern, tiles


def test_a_number_gives_one_picture() -> None:
    first = draw(5, 96, 64)
    assert first.dtype == np.uint8 and first.shape == (64, 96, 3)
    assert np.array_equal(first, draw(5, 96, 64))
    assert not np.array_equal(first, draw(5 + len(SCENES), 96, 64))


def test_pictures_keep_proportions_and_are_never_huge() -> None:
    small, wide, odd = made_picture(0, 426, 320), made_picture(0, 1344, 800), made_picture(1, 33, 32)
    assert (small.width, small.height) == (426, 320)
    assert wide.width == LONGEST and wide.height == round(800 * LONGEST / 1344)
    tall = made_picture(2, 800, 1344)
    assert (tall.width, tall.height) == (wide.height, wide.width)
    for one in (small, wide, tall, odd):
        assert one.read().shape == (one.height, one.width, 3)


@pytest.mark.parametrize("number", range(len(SCENES)))
def test_every_scene_shows_something(number: int) -> None:
    for turn in range(3):
        picture = draw(number + turn * len(SCENES), 128, 96)
        assert picture.std() > 2, "an even grey is no picture"
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize(("level", "low", "high"), [(50.0, 200, 255), (-50.0, 0, 55)])
def test_too_much_light_is_white_and_none_is_black(
    level: float, low: int, high: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    even = (lambda rng, height, width: np.full((height, width, 3), level, np.float32),)
    monkeypatch.setattr(procedural, "SCENES", even)
    for number in range(12):
        picture = draw(number, 64, 48)
        assert picture.min() >= low and picture.max() <= high


def spectrum_slope(picture: np.ndarray) -> float:
    """Exponent of the amplitude spectrum: 0 for white noise, about 1 for photographs."""
    grey = picture.mean(axis=2)
    grey = (grey - grey.mean()) * np.outer(np.hanning(len(grey)), np.hanning(len(grey)))
    amplitude = np.abs(np.fft.fft2(grey))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(len(grey)), np.fft.fftfreq(len(grey))))
    rings = np.geomspace(3 / len(grey), 0.35, 10)
    means = [amplitude[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(rings)]
    return -float(np.polyfit(np.log(np.sqrt(rings[1:] * rings[:-1])), np.log(means), 1)[0])


def test_spectra_fall_as_those_of_photographs() -> None:
    assert abs(spectrum_slope(np.random.default_rng(0).normal(128, 40, (128, 128, 3)))) < 0.2
    slopes = [spectrum_slope(draw(number, 128, 128).astype(float)) for number in range(36)]
    assert 0.9 < np.median(slopes) < 2.2


def test_colours_vary_mostly_in_brightness_and_some_pictures_are_pale() -> None:
    pixels = np.stack([draw(number, 64, 64) for number in range(60)]).astype(float)
    brightness = pixels.mean(axis=(1, 2, 3))
    assert brightness.min() < 60 and brightness.max() > 190, "night and slides"
    blue, green, red = np.moveaxis(pixels.reshape(-1, 3), 1, 0)
    assert (blue + green + red).std() > 1.5 * (red - green).std()
    assert min(np.corrcoef(blue, green)[0, 1], np.corrcoef(green, red)[0, 1]) > 0.5


def test_surfaces() -> None:
    rng = np.random.default_rng(0)
    assert all(abs(tile.mean()) < 1e-3 and abs(tile.std() - 1) < 1e-3 for tile in tiles())
    assert field(rng, 40, 700).shape == (40, 700), "wider than a tile"
    stripes = pattern(rng, 50, 60)
    assert stripes.shape == (50, 60) and np.abs(stripes).max() <= 1
    bright = np.stack([colour(rng, 0.9, 0.5) for _ in range(20)])
    assert bright.min() >= 0 and bright.max() <= 1


def test_drawing_is_quick() -> None:
    """A bound that only a blunder breaks: they take some 25 ms each."""
    draw(0, 320, 320)
    began = time.process_time()
    for number in range(12):
        draw(number, 320, 320)
    assert time.process_time() - began < 12 * 0.5

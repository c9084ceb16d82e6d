"""Textured places to put things in: walls, tables, streets, foliage, crowds of shapes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from examples.scenes.sprite import grey, hue


def background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A random place, uint8 [height, width, 3] BGR."""
    kind = KINDS[int(rng.integers(len(KINDS)))]
    image = kind(rng, width, height)
    if rng.random() < 0.6:
        _clutter(rng, image)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 4))
    return image


def clouds(rng: np.random.Generator, width: int, height: int, *, roughness: float = 0.55) -> np.ndarray:
    """Noise of several octaves, float32 [height, width] in 0..1."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for octave in range(2, 8):
        cells = rng.random((2**octave * height // width + 2, 2**octave + 2), np.float32)
        total += weight * cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= roughness
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def _blend(mask: np.ndarray, first: tuple[float, ...], second: tuple[float, ...]) -> np.ndarray:
    first_, second_ = np.float32(first), np.float32(second)
    return np.clip(first_ + (second_ - first_) * mask[..., None], 0, 255).astype(np.uint8)


def _wall(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    image = _blend(clouds(rng, width, height), hue(rng, (0, 0.5), (0.2, 1)), hue(rng, (0, 0.5), (0.2, 1)))
    floor = int(height * rng.uniform(0.55, 1.1))
    if floor < height:
        image[floor:] = _blend(
            clouds(rng, width, height)[floor:], hue(rng, (0, 0.6), (0.1, 0.8)), hue(rng, (0, 0.6), (0.1, 0.8))
        )
    return image


def _planks(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    tone = np.array([rng.uniform(20, 90), rng.uniform(50, 130), rng.uniform(80, 190)])
    grain = cv2.resize(rng.random((height, 24), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    image = _blend(0.5 * grain + 0.5 * clouds(rng, width, height), tuple(tone * 0.7), tuple(tone * 1.25))
    pitch = int(rng.integers(25, 90))
    for y in range(int(rng.integers(pitch)), height, pitch):
        cv2.line(image, (0, y), (width, y + int(rng.integers(-8, 8))), tuple(tone * 0.4), 1 + int(rng.integers(2)))
    return image if rng.random() < 0.5 else cv2.resize(cv2.transpose(image), (width, height))


def _tiles(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    pitch_x, pitch_y = int(rng.integers(20, 90)), int(rng.integers(20, 90))
    first, second = np.array(hue(rng, (0, 0.7), (0.2, 1))), np.array(hue(rng, (0, 0.7), (0.2, 1)))
    y, x = np.mgrid[:height, :width]
    odd = ((x // pitch_x + y // pitch_y) % 2).astype(np.float32)
    image = _blend(0.7 * odd + 0.3 * clouds(rng, width, height), tuple(first), tuple(second))
    joint = (x % pitch_x < 2) | (y % pitch_y < 2)
    image[joint] = np.uint8(first * 0.5)
    return image


def _foliage(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    green = (rng.uniform(10, 60), rng.uniform(60, 140), rng.uniform(20, 100))
    image = _blend(clouds(rng, width, height, roughness=0.9), (10, 20, 15), green)
    for _ in range(int(rng.integers(60, 250))):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(3, 16)), int(rng.integers(2, 6)))
        leaf = np.array(green) * rng.uniform(0.4, 1.6)
        cv2.ellipse(image, center, axes, float(rng.uniform(0, 180)), 0, 360, np.clip(leaf, 0, 255).tolist(), -1)
    return image


def _street(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    image = _blend(clouds(rng, width, height), hue(rng, (0.1, 0.5), (0.6, 1)), grey(rng, 180, 250))
    ground = int(height * rng.uniform(0.5, 0.8))
    x = 0
    while x < width:
        wide, top = int(rng.integers(40, 140)), int(rng.uniform(0.05, 0.5) * height)
        facade = np.array(hue(rng, (0, 0.5), (0.2, 0.9)))
        cv2.rectangle(image, (x, top), (x + wide, ground), facade.tolist(), -1)
        glass = (facade * rng.uniform(0.3, 0.7)).tolist()
        for wy in range(top + 8, ground - 12, 22):
            for wx in range(x + 6, x + wide - 10, 18):
                cv2.rectangle(image, (wx, wy), (wx + 9, wy + 13), glass, -1)
        x += wide
    image[ground:] = _blend(clouds(rng, width, height)[ground:], grey(rng, 40, 90), grey(rng, 90, 150))
    return image


def _shapes(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    image = _blend(clouds(rng, width, height), hue(rng, (0, 1), (0, 1)), hue(rng, (0, 1), (0, 1)))
    for _ in range(int(rng.integers(8, 40))):
        _shape(rng, image, rng.uniform(0.03, 0.35))
    return image


def _clutter(rng: np.random.Generator, image: np.ndarray) -> None:
    """People-like and thing-like blobs far behind."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        if rng.random() < 0.5:
            tall = int(rng.uniform(0.25, 0.9) * height)
            x, y = int(rng.integers(width)), int(rng.uniform(0.2, 0.7) * height)
            cloth, skin = hue(rng, (0, 0.9), (0.1, 0.9)), rng.uniform(60, 190)
            cv2.ellipse(image, (x, y + tall // 2), (tall // 5, tall // 2), 0, 0, 360, cloth, -1, cv2.LINE_AA)
            tone = (skin, skin * 1.18, min(skin * 1.4, 255))
            cv2.ellipse(image, (x, y), (tall // 11, tall // 8), 0, 0, 360, tone, -1, cv2.LINE_AA)
        else:
            _shape(rng, image, rng.uniform(0.03, 0.25))


def _shape(rng: np.random.Generator, image: np.ndarray, size: float) -> None:
    height, width = image.shape[:2]
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    angle = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, int(rng.integers(3, 9)), endpoint=False)
    radius = size * height * rng.uniform(0.5, 1, len(angle))
    points = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)
    cv2.fillPoly(image, [np.rint(points).astype(np.int32)], hue(rng, (0, 0.9), (0.05, 1)), cv2.LINE_AA)


KINDS: tuple[Callable[[np.random.Generator, int, int], np.ndarray], ...] = (
    _wall, _planks, _tiles, _foliage, _street, _shapes,
)  # fmt: skip

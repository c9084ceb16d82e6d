"""Pictures made on the spot, for calibration without any: nothing shipped, nothing downloaded, no chance.

What early layers of a detector answer to are edges, textures, blobs and their colours; what later ones answer to
are combinations of those. Random pictures with the statistics of natural ones train good features (Baradad et al.,
"Learning to see by looking at noise", arXiv:2106.05963), the best of them being dead leaves: opaque shapes of
power-law sizes that fall on each other (Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001).
Calibrating without data on made pictures goes back to ZeroQ (Cai et al., arXiv:2001.00281), which finds them by
gradients through the network; here they are drawn, and those the network answers to are chosen
(:mod:`edgedet.calibration.made_frames`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.onnx_graph.network import Array

from .pictures import Picture
from .textures import colour, field, surface

LONGEST = 960
"""Pixels of a picture's longer side, at most: a large canvas gets them enlarged."""


@dataclass(frozen=True)
class MadePicture(Picture):
    """Drawn whenever it is read, from its number alone."""

    number: int = 0

    def read(self) -> NDArray[np.uint8]:
        """The picture, uint8 [height, width, 3] BGR."""
        return draw(self.number, self.width, self.height)


def made_picture(number: int, width: int, height: int) -> MadePicture:
    """Picture ``number`` in the proportions of ``width`` to ``height``, not larger than LONGEST."""
    shrink = min(LONGEST / max(width, height), 1.0)
    size = max(round(width * shrink), 32), max(round(height * shrink), 32)
    return MadePicture(f"made picture {number}", *size, None, number)


def draw(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Draw picture ``number``: uint8 [height, width, 3] BGR, the same on every machine."""
    rng = np.random.default_rng((2001, number))
    scene = SCENES[number % len(SCENES)]
    canvas = scene(rng, height, width)
    return _camera(rng, _light(rng, canvas, pale=scene in (_slide, _cells)))


@dataclass(frozen=True)
class Look:
    """How the shapes of a picture look: ranges of brightness, and how far colour and texture go."""

    darkest: float
    brightest: float
    saturation: float
    contrast: float

    def colour(self, rng: np.random.Generator) -> Array:
        """Colour of one of them."""
        return colour(rng, rng.uniform(self.darkest, self.brightest), self.saturation)


def _natural(rng: np.random.Generator) -> Look:
    middle = float(np.clip(rng.normal(0.42, 0.15), 0.12, 0.8))
    spread = rng.uniform(0.15, 0.45)
    return Look(
        max(middle - spread, 0.02), min(middle + spread, 0.98), rng.uniform(0.05, 0.45), rng.uniform(0, 0.16)
    )


def _leaves(rng: np.random.Generator, height: int, width: int) -> Array:
    """Dead leaves: shapes of all sizes that hide each other."""
    look = _natural(rng)
    canvas = surface(rng, height, width, look.colour(rng), look.contrast).copy()
    side = min(height, width)
    largest, smallest = side * rng.uniform(0.2, 0.6), max(side * rng.uniform(0.01, 0.04), 2)
    for radius in _power_law(rng, int(rng.integers(40, 140)), smallest, largest):
        _paint(rng, canvas, _outline(rng, radius), rng.random(2), look)
    return canvas


def _clouds(rng: np.random.Generator, height: int, width: int) -> Array:
    """Noise of a natural spectrum, in colour."""
    look = _natural(rng)
    base, lean = look.colour(rng), 1 + rng.normal(0, 0.1, 3)
    value = field(rng, height, width)[..., None] * np.float32(rng.uniform(0.05, 0.25)) * np.float32(lean)
    other = field(rng, height, width)[..., None] * np.float32(rng.normal(0, 0.06, 3))
    canvas = (base + value + other).astype(np.float32)
    if rng.random() < 0.5:
        for radius in _power_law(rng, int(rng.integers(2, 15)), 4, min(height, width) * 0.3):
            _paint(rng, canvas, _outline(rng, radius), rng.random(2), look)
    return canvas


def _things(rng: np.random.Generator, height: int, width: int) -> Array:
    """A few large things, each of parts, before a plain background with a horizon."""
    look = _natural(rng)
    canvas = surface(rng, height, width, look.colour(rng), look.contrast * 0.5).copy()
    horizon = int(height * rng.uniform(0.25, 0.75))
    canvas[horizon:] = surface(rng, height - horizon, width, look.colour(rng), look.contrast)
    canvas += _slope(rng, height, width)[..., None] * np.float32(rng.uniform(0, 0.2))
    side = min(height, width)
    for _ in range(int(rng.integers(1, 9))):
        size, place = side * np.exp(rng.uniform(np.log(0.05), np.log(0.4))), rng.random(2)
        body = _outline(rng, size)
        _paint(rng, canvas, body, place, look)
        for _ in range(int(rng.integers(0, 8))):
            offset = rng.normal(0, size * 0.35, 2) / (height, width)
            _paint(rng, canvas, _outline(rng, size * rng.uniform(0.08, 0.4)), place + offset, look)
    return canvas


def _alike(rng: np.random.Generator, height: int, width: int) -> Array:
    """Many things of one kind: windows, fruit, people in a crowd."""
    look = _natural(rng)
    canvas = surface(rng, height, width, look.colour(rng), look.contrast).copy()
    _scatter(rng, canvas, look, count=int(rng.integers(8, 60)))
    return canvas


def _slide(rng: np.random.Generator, height: int, width: int) -> Array:
    """Things on a pale ground of little contrast, as on a microscope's slide, a conveyor, or in snow."""
    ground = colour(rng, rng.uniform(0.65, 0.95), rng.uniform(0.0, 0.15))
    canvas = (ground + field(rng, height, width)[..., None] * np.float32(rng.uniform(0, 0.03))).astype(np.float32)
    for _ in range(int(rng.integers(1, 4))):
        darkest = rng.uniform(0.2, 0.7)
        look = Look(darkest, min(darkest + 0.15, 0.9), rng.uniform(0.05, 0.4), rng.uniform(0, 0.06))
        _scatter(rng, canvas, look, count=int(rng.integers(2, 50)))
    return canvas


def _cells(rng: np.random.Generator, height: int, width: int) -> Array:
    """Translucent round things on a bright ground, brighter or darker towards their middle, many of one kind."""
    ground = colour(rng, rng.uniform(0.7, 0.95), rng.uniform(0.0, 0.12))
    canvas = (ground + field(rng, height, width)[..., None] * np.float32(rng.uniform(0, 0.02))).astype(np.float32)
    side = min(height, width)
    for kind in range(int(rng.integers(1, 4))):
        size = side * np.exp(rng.uniform(np.log(0.02), np.log(0.22)))
        count = int(rng.integers(3, 40) if kind == 0 else rng.integers(1, 8))
        tint = colour(rng, rng.uniform(0.3, 0.85), rng.uniform(0.05, 0.5))
        middle, opacity = rng.normal(0.2, 0.35), rng.uniform(0.4, 1.0)
        look = Look(0.2, 0.8, 0.2, rng.uniform(0, 0.08))
        for _ in range(count):
            points = _blob(rng, size * np.exp(rng.normal(0, 0.12)), rng.uniform(0, 0.15))
            _paint(rng, canvas, points, rng.random(2), look, tint=tint, middle=middle, opacity=opacity, flat=True)
    return canvas


def _dark(rng: np.random.Generator, height: int, width: int) -> Array:
    """Night: little light, some lamps."""
    canvas = _leaves(rng, height, width) * np.float32(rng.uniform(0.1, 0.4))
    for _ in range(int(rng.integers(0, 6))):
        bright = colour(rng, rng.uniform(0.7, 1.0), 0.2)
        size = min(height, width) * rng.uniform(0.005, 0.05)
        _paint(rng, canvas, _blob(rng, size, 0.05), rng.random(2), Look(0.8, 1, 0.1, 0), tint=bright)
    return canvas


Scene = Callable[[np.random.Generator, int, int], Array]

SCENES: tuple[Scene, ...] = (
    _leaves,
    _things,
    _cells,
    _alike,
    _slide,
    _things,
    _clouds,
    _cells,
    _leaves,
    _alike,
    _slide,
    _dark,
)
"""Kinds of scene, one for each number in turn, so that any run of numbers has all of them."""


def _scatter(rng: np.random.Generator, canvas: Array, look: Look, *, count: int) -> None:
    """Things of one kind: one outline, a little different every time."""
    side = min(canvas.shape[:2])
    size = side * np.exp(rng.uniform(np.log(0.015), np.log(0.2)))
    points, tint = _outline(rng, size), look.colour(rng)
    turn = rng.uniform(0, 1) ** 2
    for _ in range(count):
        own = np.clip(tint * np.float32(np.exp(rng.normal(0, 0.06))) + np.float32(rng.normal(0, 0.02, 3)), 0, 1)
        shaped = _turned(points, rng.normal(0, np.pi * turn)) * np.exp(rng.normal(0, 0.15))
        _paint(rng, canvas, shaped, rng.random(2), look, tint=own)


def _power_law(rng: np.random.Generator, count: int, smallest: float, largest: float) -> Array:
    """Radii with density r**-3, in which pictures look alike at every scale; the largest first, mostly."""
    share = rng.random(count)
    radii = 1 / np.sqrt(share / smallest**2 + (1 - share) / largest**2)
    order = np.argsort(-radii + rng.normal(0, radii.std() + 1e-6, count))
    result: Array = radii[order]
    return result


def _outline(rng: np.random.Generator, radius: float) -> Array:
    """A closed outline about the origin: float64 [n, 2], x and y."""
    kind = rng.random()
    if kind < 0.45:
        return _blob(rng, radius, rng.uniform(0, 0.35))
    stretch = np.exp(rng.normal(0, 0.5))
    if kind < 0.75:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (stretch**0.5, stretch**-0.5)
        return _turned(corners * radius * 0.85, rng.normal(0, 0.2) if rng.random() < 0.6 else rng.uniform(0, 3))
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    spikes = rng.uniform(0.4, 1.0, len(angles)) * radius
    return np.stack([np.cos(angles) * spikes * stretch**0.5, np.sin(angles) * spikes * stretch**-0.5], axis=1)


def _blob(rng: np.random.Generator, radius: float, roughness: float) -> Array:
    """Round, oval, or bent in and out."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.ones_like(angles)
    for wave in range(2, 7):
        reach += np.cos(wave * angles + rng.uniform(0, 2 * np.pi)) * rng.normal(0, roughness / wave**0.5)
    reach = np.maximum(reach, 0.2) * radius
    stretch = np.exp(rng.normal(0, 0.08 + roughness))
    points = np.stack([np.cos(angles) * reach * stretch**0.5, np.sin(angles) * reach * stretch**-0.5], axis=1)
    return _turned(points, rng.uniform(0, np.pi))


def _turned(points: Array, angle: float) -> Array:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    result: Array = points @ turn
    return result


def _paint(
    rng: np.random.Generator,
    canvas: Array,
    outline: Array,
    place: Array,
    look: Look,
    *,
    tint: Array | None = None,
    middle: float | None = None,
    opacity: float = 1.0,
    flat: bool = False,
) -> None:
    """Paint a shape at ``place`` (y, x as shares), in place.

    ``tint``: its colour. ``middle``: how much brighter it is there than at its rim. ``flat``: casts no shadow.
    """
    height, width = canvas.shape[:2]
    points = outline + np.array([place[1] * width, place[0] * height])
    soft = float(np.exp(rng.normal(-0.2, 0.7)))
    margin = int(2 * soft + 3)
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin, (width, height))
    if right - left < 2 or bottom - top < 2:
        return
    rows, columns = bottom - top, right - left
    mask = np.zeros((rows, columns), np.uint8)
    shifted = np.round((points - (left, top)) * 16).astype(np.int32)
    cv2.fillPoly(mask, [shifted], 255, cv2.LINE_AA, 4)
    share = mask.astype(np.float32) * np.float32(opacity / 255)
    if soft > 0.6:
        share = cv2.GaussianBlur(share, (0, 0), soft)
    region = canvas[top:bottom, left:right]
    if not flat and rng.random() < 0.3:
        shadow = cv2.GaussianBlur(share, (0, 0), soft * 2 + 1)
        region *= 1 - np.float32(rng.uniform(0.1, 0.5)) * shadow[..., None]
    own = tint if tint is not None else look.colour(rng)
    fill = surface(rng, rows, columns, own, look.contrast)
    if middle is not None or rng.random() < 0.6:
        y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
        if middle is None:
            angle = rng.uniform(0, 2 * np.pi)
            shade = (x * np.cos(angle) + y * np.sin(angle)) * rng.normal(0, 0.25)
        else:
            shade = middle * (0.5 - np.minimum(x * x + y * y, 1))
        fill = fill * (1 + shade.astype(np.float32))[..., None]
    if rng.random() < 0.25:
        inner = cv2.GaussianBlur(share, (0, 0), max(min(rows, columns) * 0.03, 0.8))
        rim = np.clip(share - inner, 0, 1) * np.float32(rng.normal(0, 1.0))
        fill = fill * (1 + rim[..., None])
    region += share[..., None] * (fill - region)


def _slope(rng: np.random.Generator, height: int, width: int) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return (x * np.cos(angle) + y * np.sin(angle)).astype(np.float32)


def _light(rng: np.random.Generator, canvas: Array, *, pale: bool) -> Array:
    """Uneven light: from a side, falling off to the corners, its colour, and now and then a shadow's edge."""
    height, width = canvas.shape[:2]
    strength = 0.4 if pale else 1.0
    gain = 1 + _slope(rng, height, width) * np.float32(rng.uniform(0, 0.3) * strength)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    gain *= 1 - (x * x + y * y) * np.float32(rng.uniform(0, 0.2) * strength)
    if not pale and rng.random() < 0.25:
        gain *= 1 - np.float32(rng.uniform(0.2, 0.6)) * (_slope(rng, height, width) > rng.uniform(-0.4, 0.6))
    tint = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    return canvas * gain[..., None] * tint


def _camera(rng: np.random.Generator, canvas: Array) -> NDArray[np.uint8]:
    """Blur, exposure, grain: what a lens and a sensor do."""
    height, width = canvas.shape[:2]
    sharp = rng.random()
    scale = max(height, width) / 320
    if sharp < 0.55:
        canvas = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.4, 1.4) * scale))
    elif sharp < 0.65:
        length = max(int(rng.uniform(3, 9) * scale), 2)
        kernel = np.full((1, length), 1 / length, np.float32)
        canvas = cv2.filter2D(canvas, -1, kernel if rng.random() < 0.5 else kernel.T)
    canvas = np.clip(canvas, 0, 1.3) ** np.float32(np.exp(rng.normal(0, 0.2)))
    grain = float(abs(rng.normal(0, 0.015)))
    if grain > 0.003:
        noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(grain)
        canvas = canvas + (cv2.GaussianBlur(noise, (0, 0), 0.7) * 2 if rng.random() < 0.5 else noise)
    return np.clip(canvas * 255, 0, 255).round().astype(np.uint8)

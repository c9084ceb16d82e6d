"""What surfaces look like: fields with the spectra of natural images, patterns, and colours.

Photographs have amplitude spectra that fall as 1/f**a with a near 1 (Field 1987; Torralba and Oliva 2003), and
colours that vary mostly in brightness, much less in the blue-yellow and least in the red-green direction (Ruderman,
Cronin and Chiao 1998).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edgedet.onnx_graph.network import Array

TILE = 512
"""Pixels of a side of every tile; tiles continue at their opposite edges."""
TILES = 24
SLOPES = (0.6, 2.0)
"""Exponents of the amplitude spectra: from grain to clouds."""


@lru_cache(maxsize=1)
def tiles() -> tuple[Array, ...]:
    """Fields of mean 0 and deviation 1, float32 [2 TILE, 2 TILE], always the same ones."""
    rng = np.random.default_rng(1987)
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
    fields = []
    for number in range(TILES):
        slope = SLOPES[0] + (SLOPES[1] - SLOPES[0]) * number / (TILES - 1)
        # Some fields have a direction, as wood, cloth and grass do.
        stretch, angle = np.exp(rng.uniform(0, 2.0) * (number % 3 == 2)), rng.uniform(0, np.pi)
        u = (fx * np.cos(angle) + fy * np.sin(angle)) * stretch
        v = (fy * np.cos(angle) - fx * np.sin(angle)) / stretch
        amplitude = 1 / np.maximum(np.hypot(u, v), 1 / TILE) ** slope
        amplitude[0, 0] = 0
        phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
        field = np.fft.irfft2(amplitude * phase, s=(TILE, TILE))
        whole = ((field - field.mean()) / field.std()).astype(np.float32)
        # Continued on all sides, so that a piece may begin anywhere.
        fields.append(np.tile(whole, (2, 2)))
    return tuple(fields)


def field(rng: np.random.Generator, height: int, width: int) -> Array:
    """A piece of a tile, turned, mirrored and enlarged by chance: float32 [height, width], about N(0, 1)."""
    tile = tiles()[rng.integers(TILES)]
    if rng.random() < 0.5:
        tile = tile.T
    tile = tile[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    zoom = max(float(np.exp(rng.uniform(-0.3, 1.4))), height / TILE, width / TILE)
    rows, columns = max(int(height / zoom), 2), max(int(width / zoom), 2)
    top, left = rng.integers(TILE, size=2)
    piece = np.ascontiguousarray(tile[top : top + rows, left : left + columns])
    return cv2.resize(piece, (width, height), interpolation=cv2.INTER_LINEAR)


def pattern(rng: np.random.Generator, height: int, width: int) -> Array:
    """Stripes, checks, spots or bricks, a little irregular: float32 [height, width], between -1 and 1."""
    angle, period = rng.uniform(0, np.pi), float(np.exp(rng.uniform(np.log(4), np.log(48))))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = field(rng, height, width) * period * rng.uniform(0, 0.25)
    u = (x * np.cos(angle) + y * np.sin(angle) + bend) * (2 * np.pi / period)
    v = (y * np.cos(angle) - x * np.sin(angle) + bend) * (2 * np.pi / (period * rng.uniform(0.6, 2.5)))
    kind = rng.integers(4)
    if kind == 0:
        wave = np.sin(u)
    elif kind == 1:
        wave = np.sin(u) * np.sin(v)
    elif kind == 2:
        wave = np.cos(u) + np.cos(v) - 1
    else:
        wave = np.maximum(np.cos(u + np.pi * (np.sin(v) > 0)), np.cos(v * 2)) - 0.3
    return np.clip(wave * rng.uniform(0.8, 6), -1, 1).astype(np.float32)


def surface(rng: np.random.Generator, height: int, width: int, colour: Array, contrast: float) -> Array:
    """A surface about ``colour`` [3] BGR: float32 [height, width, 3]; ``contrast``: deviation of its brightness."""
    kind = rng.random()
    if contrast <= 0 or kind < 0.2:
        return np.broadcast_to(colour, (height, width, 3)).astype(np.float32)
    value = pattern(rng, height, width) if kind < 0.4 else field(rng, height, width)
    # Mostly brightness, some colour.
    lean = np.float32(1 + rng.normal(0, 0.15, 3))
    return (colour + value[..., None] * np.float32(contrast) * lean).astype(np.float32)


def colour(rng: np.random.Generator, brightness: float, saturation: float) -> Array:
    """A colour near ``brightness`` in [0, 1]: float32 [3] BGR; blue to yellow varies more than red to green."""
    blue_yellow, red_green = rng.normal(0, saturation), rng.normal(0, saturation * 0.6)
    bgr = brightness * np.exp(
        np.array([-blue_yellow, 0.35 * blue_yellow - 0.5 * red_green, 0.35 * blue_yellow + red_green])
    )
    return np.clip(bgr, 0.0, 1.0).astype(np.float32)

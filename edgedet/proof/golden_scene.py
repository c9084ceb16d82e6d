"""Synthetic scenes from a seed, the same on every machine: integer arithmetic and a hash, no random generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FRAME_HEIGHT, FRAME_WIDTH = 480, 640
"""Size of a scene where nobody asks for another, in pixels."""
ROWS = 64
"""Rows whose grain is made at once: so many stay in the processor's cache, which takes half the time."""

Offsets = NDArray[np.int64]
"""Rows as a column [H, 1], or columns as a row [1, W], counted from a shape's corner."""
Mask = NDArray[np.bool_]


def golden_frame(seed: int, height: int = FRAME_HEIGHT, width: int = FRAME_WIDTH) -> NDArray[np.uint8]:
    """A synthetic scene, ``uint8 [height, width, 3]`` BGR, the same on every machine and NumPy version.

    Integer arithmetic only, and no random generator but a hash (splitmix64, Steele et al. 2014): smooth ground,
    figures with a head and legs, boxes with wheels, discs with a nucleus, and a grain over all of it.

    >>> golden_frame(1, 2, 3).tolist() == golden_frame(1, 2, 3).tolist()
    True
    """
    draws = _draws(seed)
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    planes = np.empty((3, height, width), np.int16)
    for plane in planes:
        top, bottom, tilt = (next(draws) % 256 for _ in range(3))
        down = (top * (height - y) + bottom * y) // height
        plane[...] = down.astype(np.int16) + ((tilt - 128) * x // (4 * width)).astype(np.int16)
    shapes = (_figure, _vehicle, _disc)
    for index in range(6 + next(draws) % 8):
        size = max(min(height, width) * (12 + next(draws) % 45) // 100, 2)
        left, top = next(draws) % max(width - size // 2, 1), next(draws) % max(height - size // 2, 1)
        colours = [[next(draws) % 256 for _ in range(3)] for _ in range(3)]
        # Every third seed keeps to one kind of thing, as microscope or street pictures do.
        kind = shapes[(seed + index) % 3] if seed % 3 == 0 else shapes[seed % 3]
        rows, columns = slice(top, top + _extent(size)), slice(left, left + _extent(size))
        for mask, colour in zip(kind(y[rows] - top, x[:, columns] - left, size), colours, strict=False):
            for plane, value in zip(planes, colour, strict=True):
                plane[rows, columns][mask] = value
    frame = np.empty((height, width, 3), np.uint8)
    start = np.uint64(seed % 2**32 << 32)
    for row in range(0, height, ROWS):
        rows = slice(row, min(row + ROWS, height))
        places = np.arange(row * width, rows.stop * width, dtype=np.uint64).reshape(-1, width)
        grain = splitmix64(places + start).astype(np.uint32)
        for channel in range(3):
            part = planes[channel, rows]
            part += ((grain >> np.uint32(8 * channel)) & np.uint32(15)).astype(np.int16)
            part -= 8
            frame[rows, :, channel] = np.clip(part, 0, 255, out=part)
    return frame


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's mixing of each value; unsigned array arithmetic wraps silently."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _draws(seed: int) -> Iterator[int]:
    count = 0
    while True:
        block = splitmix64(np.arange(count, count + 64, dtype=np.uint64) + np.uint64(seed % 2**32 << 20))
        yield from (int(value >> np.uint64(16)) for value in block)
        count += 64


def _ellipse(  # noqa: PLR0917
    y: Offsets, x: Offsets, centre_y: int, centre_x: int, radius_y: int, radius_x: int
) -> Mask:
    radius_y, radius_x = max(radius_y, 1), max(radius_x, 1)
    inside = ((y - centre_y) * radius_x) ** 2 + ((x - centre_x) * radius_y) ** 2
    return np.asarray(inside <= (radius_y * radius_x) ** 2)


def _rectangle(  # noqa: PLR0917
    y: Offsets, x: Offsets, top: int, left: int, bottom: int, right: int
) -> Mask:
    return np.asarray((y >= top) & (y < bottom) & (x >= left) & (x < right))


def _extent(size: int) -> int:
    """Rows and columns that hold any shape of ``size``, counted from its corner: a vehicle is 12 units wide."""
    return max(12 * _unit(size), size) + 1


def _unit(size: int) -> int:
    return max(size // 10, 1)


def _figure(y: Offsets, x: Offsets, size: int) -> tuple[Mask, ...]:
    """Trunk and arms, legs, head: upright, two and a half times as tall as wide."""
    unit = _unit(size)
    trunk = _rectangle(y, x, 2 * unit, unit, 6 * unit, 4 * unit)
    legs = _rectangle(y, x, 6 * unit, unit, 10 * unit, 4 * unit) & ~_rectangle(
        y, x, 7 * unit, 2 * unit + unit // 3, 10 * unit, 3 * unit - unit // 3
    )
    return trunk, legs, _ellipse(y, x, unit, 5 * unit // 2, unit, unit)


def _vehicle(y: Offsets, x: Offsets, size: int) -> tuple[Mask, ...]:
    """Body and cabin, windows, two wheels."""
    unit = _unit(size)
    body = _rectangle(y, x, 3 * unit, 0, 6 * unit, 12 * unit) | _rectangle(y, x, unit, 3 * unit, 3 * unit, 9 * unit)
    windows = _rectangle(y, x, unit + unit // 2, 4 * unit, 3 * unit, 8 * unit)
    wheels = _ellipse(y, x, 6 * unit, 3 * unit, unit, unit) | _ellipse(y, x, 6 * unit, 9 * unit, unit, unit)
    return body, windows, wheels


def _disc(y: Offsets, x: Offsets, size: int) -> tuple[Mask, ...]:
    """A cell: rim, inside, nucleus."""
    radius = max(size // 2, 1)
    return (
        _ellipse(y, x, radius, radius, radius, radius),
        _ellipse(y, x, radius, radius, radius * 3 // 4, radius * 3 // 4),
        _ellipse(y, x, radius, radius + radius // 8, radius // 3, radius // 4),
    )

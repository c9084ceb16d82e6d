"""Rendered scenes of simple shapes with their boxes, as a dataset that Ultralytics trains on and edgedet reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

SHAPES = ("disc", "square", "triangle", "cross")
SIZES = (24, 80)
"""Least and largest diameter of a shape, in pixels."""
MOST = 4
"""Shapes of a scene."""
CONTRAST = 100
"""Least distance of a shape's colour from the ground's, in levels."""
TRIES = 20
APART = 0.8
"""Two shapes' centres are at least this share of their mean diameter apart."""


def write_scenes(folder: Path, counts: Mapping[str, int], *, side: int, seed: int) -> Path:
    """Pictures and labels of each split.

    Args:
        folder: where to.
        counts: pictures by split.
        side: of a picture, in pixels.
        seed: the same gives the same pictures; no two splits share one.

    Returns:
        The ``data.yaml``.
    """
    for number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng((seed, number))
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            picture, boxes = scene(rng, side)
            cv2.imwrite(str(folder / "images" / split / f"{index:05d}.png"), picture)
            lines = [" ".join((str(label), *(f"{value:.6f}" for value in box))) for label, box in boxes]
            (folder / "labels" / split / f"{index:05d}.txt").write_text("\n".join(lines), encoding="utf-8")
    names = "".join(f"  {label}: {name}\n" for label, name in enumerate(SHAPES))
    splits = "".join(f"{split}: images/{split}\n" for split in counts)
    path = folder / "data.yaml"
    path.write_text(f"path: {folder.resolve()}\n{splits}names:\n{names}", encoding="utf-8")
    return path


def scene(rng: np.random.Generator, side: int) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """BGR uint8 [side, side, 3], and each shape's label and box: centre, width, height, as shares of the side."""
    ground = _ground(rng, side)
    placed: list[tuple[float, float, float]] = []
    boxes = []
    for _ in range(rng.integers(1, MOST + 1)):
        spot = _spot(rng, side, placed)
        if spot is None:
            continue
        placed.append(spot)
        label = int(rng.integers(len(SHAPES)))
        mask = _mask(label, *spot, side)
        colour = _colour(rng, ground[mask].mean(axis=0))
        ground[mask] = colour + rng.normal(0, rng.uniform(0, 12), (int(mask.sum()), 3))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
        boxes.append((label, np.concatenate([(low + high) / 2, high - low]) / side))
    return np.clip(ground, 0, 255).astype(np.uint8), boxes


def _ground(rng: np.random.Generator, side: int) -> np.ndarray:
    """Blotches of two sizes, lines across them, and grain: float64 [side, side, 3]."""
    ground = np.full((side, side, 3), rng.uniform(40, 200, 3))
    for cells, strength in ((4, 40), (16, 20)):
        blotches = rng.normal(0, rng.uniform(0, strength), (cells, cells, 3))
        ground += cv2.resize(blotches, (side, side), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(0, 5)):
        ends = rng.integers(0, side, 4)
        cv2.line(ground, ends[:2].tolist(), ends[2:].tolist(), rng.uniform(0, 255, 3).tolist(), 1)
    return ground + rng.normal(0, rng.uniform(2, 14), ground.shape)


def _spot(
    rng: np.random.Generator, side: int, placed: list[tuple[float, float, float]]
) -> tuple[float, float, float] | None:
    """Centre and diameter where no other shape is; None where none was found."""
    for _ in range(TRIES):
        size = float(np.exp(rng.uniform(*np.log(np.minimum(SIZES, side / 2)))))
        x, y = rng.uniform(size / 2, side - size / 2, 2)
        if all(np.hypot(x - a, y - b) > APART * (size + other) / 2 + 2 for a, b, other in placed):
            return float(x), float(y), size
    return None


def _mask(label: int, x: float, y: float, size: float, side: int) -> np.ndarray:
    """Pixels of the shape of that diameter: bool [side, side]."""
    rows, columns = np.mgrid[:side, :side] + 0.5
    along, across, radius = columns - x, rows - y, size / 2
    if SHAPES[label] == "disc":
        return np.hypot(along, across) < radius
    if SHAPES[label] == "square":
        return np.maximum(abs(along), abs(across)) < radius * 0.85
    if SHAPES[label] == "triangle":
        return np.maximum(across, abs(along) * 3**0.5 / 2 - across / 2) < radius / 2
    arm = radius * 0.3
    return (np.minimum(abs(along), abs(across)) < arm) & (np.maximum(abs(along), abs(across)) < radius)


def _colour(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    """BGR, apart from the ground's."""
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - ground) >= CONTRAST:
            return colour

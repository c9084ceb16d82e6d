"""Things to draw: shapes with colours, rims, stripes, shading and grain, each a row of numbers that can be bred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedet.onnx_graph.network import Array

GENES = (
    "size", "aspect", "angle", "roundness", "softness", "hole", "rim", "core", "opacity",
    "blue", "green", "red", "rim_blue", "rim_green", "rim_red", "core_blue", "core_green", "core_red",
    "stripes", "period", "turn", "shade", "light", "grain",
)  # fmt: skip
"""What every number of a thing, 0 to 1, says."""
SMALLEST, LARGEST = 0.06, 0.9
"""Length of a thing as a share of the canvas's shorter side."""


@dataclass(frozen=True)
class Placed:
    """A thing (its genes, float [len(GENES)]) and where its centre lies, as shares of the canvas."""

    genes: Array
    x: float
    y: float

    def box(self, height: int, width: int) -> Array:
        """The corners around it, in canvas pixels."""
        across, down = _extent(self.genes, min(height, width))
        return np.array(
            [
                max(self.x * width - across, 0),
                max(self.y * height - down, 0),
                min(self.x * width + across, width),
                min(self.y * height + down, height),
            ],
            np.float32,
        )


def random_things(rng: np.random.Generator, count: int) -> Array:
    """``count`` new ones, float [count, len(GENES)]."""
    genes = rng.random((count, len(GENES)))
    # Most things in the world are opaque, sharp and not striped.
    for name, power in (("softness", 3.0), ("hole", 4.0), ("stripes", 2.0), ("grain", 2.0)):
        genes[:, GENES.index(name)] **= power
    genes[:, GENES.index("opacity")] **= 0.3
    return genes


def changed(rng: np.random.Generator, genes: Array) -> Array:
    """A child of a thing: some of its numbers moved, mirrored at their ends."""
    moved = rng.random(len(genes)) < 0.3
    child = genes + moved * rng.normal(0, 0.15, len(genes))
    child = np.abs(child)
    return np.where(child > 1, 2 - child, child).clip(0, 1)


def crossed(rng: np.random.Generator, first: Array, second: Array) -> Array:
    """A child of two."""
    return np.where(rng.random(len(first)) < 0.5, first, second)


def draw(picture: Array, placed: Placed, rng: np.random.Generator) -> None:
    """Draw a thing on a picture float32 [H, W, 3] of 0 to 255, in place; what lies outside is cut off."""
    height, width = picture.shape[:2]
    gene = dict(zip(GENES, placed.genes.tolist(), strict=True))
    x1, y1, x2, y2 = placed.box(height, width)
    columns = slice(int(x1), int(np.ceil(x2)))
    rows = slice(int(y1), int(np.ceil(y2)))
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return
    long, short = _axes(placed.genes, min(height, width))
    angle = np.pi * gene["angle"]
    y, x = np.mgrid[rows, columns] + 0.5
    x, y = x - placed.x * width, y - placed.y * height
    u = (x * np.cos(angle) + y * np.sin(angle)) / long
    v = (y * np.cos(angle) - x * np.sin(angle)) / short
    power = 1.0 + 19.0 * gene["roundness"] ** 3
    radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    soft = max(gene["softness"] * 0.5, 1.0 / short)
    inside = np.clip((1 - radius) / soft, 0, 1)
    if gene["hole"] > 0.3:
        inside *= np.clip((radius - gene["hole"] * 0.8) / soft, 0, 1)
    colour = np.broadcast_to(_colour(gene, ""), (*radius.shape, 3)).copy()
    if gene["core"] > 0.3:
        colour[radius < gene["core"] * 0.9] = _colour(gene, "core_")
    if gene["rim"] > 0.4:
        colour[radius > 1 - 0.5 * (gene["rim"] - 0.3)] = _colour(gene, "rim_")
    turn = np.pi * gene["turn"]
    wave = np.sin((u * np.cos(turn) + v * np.sin(turn)) * np.pi * (1 + 7 * gene["period"]))
    colour += (wave * 60 * gene["stripes"])[..., None]
    lit = 2 * np.pi * gene["light"]
    colour += ((u * np.cos(lit) + v * np.sin(lit)) * 80 * (gene["shade"] - 0.3 if gene["shade"] > 0.3 else 0))[
        ..., None
    ]
    colour += rng.normal(0, 1 + 15 * gene["grain"], colour.shape)
    share = (inside * (0.3 + 0.7 * gene["opacity"]))[..., None]
    region = picture[rows, columns]
    region += share * (np.clip(colour, 0, 255) - region)


def _colour(gene: dict[str, float], part: str) -> Array:
    return np.array([255 * gene[f"{part}{channel}"] for channel in ("blue", "green", "red")])


def _axes(genes: Array, side: int) -> tuple[float, float]:
    """Half the length and half the width, in pixels."""
    size = SMALLEST * (LARGEST / SMALLEST) ** float(genes[GENES.index("size")])
    long = max(size * side / 2, 2.0)
    return long, max(long * (0.3 + 0.7 * float(genes[GENES.index("aspect")])), 1.5)


def _extent(genes: Array, side: int) -> tuple[float, float]:
    """Half the width and half the height of the upright box around a thing."""
    long, short = _axes(genes, side)
    angle = np.pi * float(genes[GENES.index("angle")])
    c, s = abs(np.cos(angle)), abs(np.sin(angle))
    corner = float(genes[GENES.index("roundness")]) > 0.5
    if corner:
        return long * c + short * s, long * s + short * c
    return float(np.hypot(long * c, short * s)), float(np.hypot(long * s, short * c))

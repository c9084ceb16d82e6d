"""Default boxes of SSDs whose file gives offsets from them, and not the boxes (arXiv:1512.02325, section 2.2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""What offsets are multiplied by: of the authors' code, and of everybody since."""


@dataclass(frozen=True)
class Level:
    """A feature map of ``cells`` x ``cells``, ``step`` pixels apart; ``smallest`` and ``next``: sides in pixels of
    its boxes, and of those of the map after it; ``ratios`` beside 1, each also upright."""

    cells: int
    step: float
    smallest: float
    next: float
    ratios: tuple[int, ...]


@dataclass(frozen=True)
class DefaultBoxes:
    """Levels of a network with a ``side`` x ``side`` input, in the order of its outputs."""

    side: int
    levels: tuple[Level, ...]

    @property
    def count(self) -> int:
        """Number of boxes."""
        return sum(level.cells**2 * (2 + 2 * len(level.ratios)) for level in self.levels)

    def boxes(self) -> NDArray[np.float32]:
        """cx, cy, w, h as shares of the input [A, 4], within 0..1.

        At every place, by rows: the small square, the one of sqrt(smallest * next), and for every ratio a wide and
        an upright box.
        """
        found = []
        for level in self.levels:
            shapes = [(level.smallest, level.smallest)]
            shapes.append((math.sqrt(level.smallest * level.next),) * 2)
            for ratio in level.ratios:
                root = math.sqrt(ratio)
                shapes += [(level.smallest * root, level.smallest / root)]
                shapes += [(level.smallest / root, level.smallest * root)]
            for row, column in itertools.product(range(level.cells), repeat=2):
                place = ((column + 0.5) * level.step, (row + 0.5) * level.step)
                found += [(*place, *shape) for shape in shapes]
        return np.clip(np.array(found) / self.side, 0, 1).astype(np.float32)


def _levels(
    cells: Sequence[int], steps: Sequence[float], sides: Sequence[float], ratios: Sequence[tuple[int, ...]]
) -> tuple[Level, ...]:
    rows = zip(cells, steps, sides, sides[1:], ratios, strict=False)
    return tuple(Level(*row) for row in rows)


SETS = {
    "ssd300": DefaultBoxes(
        300,
        _levels(
            (38, 19, 10, 5, 3, 1),
            (8, 16, 32, 64, 100, 300),
            (30, 60, 111, 162, 213, 264, 315),
            ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
        ),
    ),
    "ssd_mobilenet": DefaultBoxes(
        300,
        _levels(
            (19, 10, 5, 3, 2, 1), (16, 32, 64, 100, 150, 300), (60, 105, 150, 195, 240, 285, 330), ((2, 3),) * 6
        ),
    ),
    "ssd_squeezenet": DefaultBoxes(
        300,
        _levels(
            (17, 10, 5, 3, 2, 1), (16, 32, 64, 100, 150, 300), (60, 105, 150, 195, 240, 285, 330), ((2, 3),) * 6
        ),
    ),
}
"""The paper's for VGG-16, and those that pytorch-ssd and jetson-inference give MobileNet and SqueezeNet."""


def set_of(side: int, count: int) -> str | None:
    """The name of the set that has so many boxes for such an input."""
    fitting = (name for name, boxes in SETS.items() if boxes.side == side and boxes.count == count)
    return next(fitting, None)

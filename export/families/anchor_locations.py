"""Places at which a network looks for each of its boxes, found by changing a picture strip by strip.

What is on a strip moves the numbers of the boxes that lie there, in any network that looks at one place at a time.
So the picture says where the box of every row is, whatever the row's numbers mean: a number that follows these
places from left to right is an x, one that follows them from top to bottom a y, and a size follows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.foreign_outputs import MAX_ROWS

Array = NDArray[Any]
Rows = Callable[[NDArray[np.uint8]], Array]
"""A BGR picture uint8 [H, W, 3] to rows float [A, 4 + D]: the four numbers of a box, then all else of it."""

STRIPS = 4
"""Strips that a picture is cut into along each axis."""
FOLLOWS, FOLLOWS_OF_FEW = 0.3, 0.5
"""Correlation of a coordinate with its place, at least: of all anchors, and of the few boxes a network chose."""
CLEARER = 0.5
"""By this factor at least, a coordinate follows the other axis less than its own."""
FAR, SIZE = 0.6, 0.4
"""How far the last two numbers follow, compared with the first two: a far corner at least, a size at most."""
MIN_ROWS = 16
"""Boxes that show anything."""
SATURATED = 1e-7
"""Distance from 0 and 1 beyond which scores are all the same."""


@dataclass(frozen=True)
class Sight:
    """How far the four numbers of a box follow the places that the network looks at: correlations, along x and y.

    ``chosen``: the rows are those of the boxes that the network chose, so that no row is the same in two pictures.
    """

    along_x: tuple[float, ...]
    along_y: tuple[float, ...]
    chosen: bool

    @property
    def first_axis(self) -> str | None:
        """``x`` or ``y``, whichever the first number of a box lies along; None where nothing shows it."""
        straight = min(self.along_x[0], self.along_y[1])
        turned = min(self.along_y[0], self.along_x[1])
        least = FOLLOWS_OF_FEW if self.chosen else FOLLOWS
        if straight >= least and turned < CLEARER * straight:
            return "x"
        if turned >= least and straight < CLEARER * turned:
            return "y"
        return None

    @property
    def far_corner(self) -> bool | None:
        """Whether the last two numbers are places, too, and no sizes; None where nothing shows it."""
        if self.chosen or self.first_axis is None:
            return None
        first, second = (self.along_x, self.along_y) if self.first_axis == "x" else (self.along_y, self.along_x)
        near, far = min(first[0], second[1]), (first[2], second[3])
        if min(far) >= FAR * near:
            return True
        return False if max(map(abs, far)) <= SIZE * near else None


def look(rows: Rows, pictures: Sequence[NDArray[np.uint8]]) -> Sight | None:
    """How the numbers of boxes follow the places that a network looks at.

    Args:
        rows: runs the network.
        pictures: BGR uint8 [H, W, 3], of one size.

    Returns:
        None where the boxes are too few to show anything.
    """
    firsts = [rows(picture) for picture in pictures]
    fewest, most = min(map(len, firsts)), max(map(len, firsts))
    if fewest < MIN_ROWS:
        return None
    changes = [_changes(rows, picture) for picture in pictures]
    found = None
    # The rows of all anchors come in one order, those of chosen boxes by their scores.
    for chosen in (False, True) if most <= MAX_ROWS else (False,):
        places = [_places(first, after, chosen=chosen) for first, after in zip(firsts, changes, strict=True)]
        found = _sight([first[:, :4] for first in firsts], places, chosen)
        if found.first_axis is not None:
            break
    return found


def _sight(boxes: Sequence[Array], places: Sequence[Array], chosen: bool) -> Sight:
    along = np.mean(
        [
            [[_correlation(box[:, index], place[:, axis]) for index in range(4)] for axis in (0, 1)]
            for box, place in zip(boxes, places, strict=True)
        ],
        axis=0,
    )
    return Sight(tuple(along[0]), tuple(along[1]), chosen)


def as_logits(scores: Array) -> Array:
    """Probabilities on the scale on which they differ; anything else as it is."""
    if scores.min(initial=0.0) < 0 or scores.max(initial=0.0) > 1:
        return scores.astype(np.float64)
    kept = np.clip(scores.astype(np.float64), SATURATED, 1 - SATURATED)
    return np.asarray(np.log(kept / (1 - kept)))


def _changes(rows: Rows, picture: NDArray[np.uint8]) -> Array:
    """What comes out where one strip of ``picture`` is another: float [2, STRIPS, A, 4 + D], along x, then y."""
    other = np.random.default_rng(7).integers(0, 256, picture.shape, np.uint8)
    found = []
    for axis in (1, 0):
        along = []
        for strip in range(STRIPS):
            first, last = (picture.shape[axis] * end // STRIPS for end in (strip, strip + 1))
            changed, part = picture.copy(), [slice(None)] * 2
            part[axis] = slice(first, last)
            changed[tuple(part)] = other[tuple(part)]
            along.append(rows(changed))
        found.append(along)
    return np.array(found)


def _places(first: Array, changes: Array, *, chosen: bool) -> Array:
    """x, y of every row of ``first`` [A, 4 + D], as shares of the picture: float [A, 2]."""
    middle, spread = first.mean(axis=0), first.std(axis=0) + 1e-9
    first, changes = (first - middle) / spread, (changes - middle) / spread
    strips = (np.arange(STRIPS)[:, None] + 0.5) / STRIPS
    found = []
    for along in changes:
        moved = [_nearest(first, after) if chosen else ((after - first) ** 2).mean(axis=1) for after in along]
        weights = np.array(moved)
        found.append((weights * strips).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-30))
    return np.stack(found, axis=-1)


def _nearest(rows: Array, others: Array) -> Array:
    """The mean square distance of every one of ``rows`` [A, D] to the nearest of ``others`` [B, D]."""
    squares = (others**2).sum(axis=1)
    found = [
        ((part**2).sum(axis=1)[:, None] + squares - 2 * part @ others.T).min(axis=1)
        for part in np.array_split(rows, max(len(rows) // 128, 1))
    ]
    return np.maximum(np.concatenate(found), 0) / rows.shape[1]


def _correlation(first: Array, second: Array) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        found = float(np.corrcoef(first, second)[0, 1])
    return 0.0 if np.isnan(found) else found

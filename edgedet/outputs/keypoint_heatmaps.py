"""Keypoints from the heatmaps of Keypoint R-CNN, as torchvision's ``heatmaps_to_keypoints`` finds them.

torchvision enlarges every heatmap to its box by bicubic interpolation and takes the highest pixel: for one person
who fills a 1080p frame, 17 pictures of two million pixels. Here only those squares between four cells are enlarged
whose highest pixel can be the one. A value in between is a sum of 4 x 4 cells with weights that add up to 1, of
which the negative ones add up to :data:`MAX_NEGATIVE_WEIGHT` at most: so it lies no further above the highest of
the sixteen than that share of what is between the highest and the lowest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CUBIC = np.float32(-0.75)
"""Coefficient of PyTorch's bicubic interpolation."""
TAPS = 4
"""Cells along either axis that a value in between is made of."""
MAX_NEGATIVE_WEIGHT = 0.4454
"""Maximum of what the negative weights add up to. In one dimension the absolute values add up to 1.375 at most,
half-way between two cells; in two to its square, 1.890625, of which (1.890625 - 1) / 2 are negative."""
SLACK = 1e-5
"""Share of the values by which float32 may miss a bound."""


class _Axis(NamedTuple):
    """One axis of a heatmap that is enlarged to a box.

    ``first``: int [cells + 1], of every square between cells its first pixel, and the number of pixels at the end.
    ``weights``: float32 [cells, most, 4], of a square's pixels, and whether there is one: ``there`` bool
    [cells, most]. ``nearest``: int [n], the pixel next to each cell.
    """

    first: NDArray[np.intp]
    weights: Floats
    there: NDArray[np.bool_]
    nearest: NDArray[np.intp]


def find_keypoints(logits: Floats, boxes: Floats) -> Floats:
    """The highest place of every heatmap.

    Args:
        logits: float32 [N, J, h, w], cells over each box before the last doubling of torchvision's predictor.
        boxes: float32 [N, 4], x1, y1, x2, y2, in pixels of whatever picture.

    Returns:
        float32 [N, J, 3]: x and y in pixels of that picture, and the logit there.

    >>> logits = np.zeros((1, 1, 4, 4), np.float32)
    >>> logits[0, 0, 1, 2] = 1
    >>> find_keypoints(logits, np.array([[10, 10, 18, 18]], np.float32)).astype(float).round(2).tolist()
    [[[14.5, 12.5, 0.56]]]
    """
    found = np.zeros((*logits.shape[:2], 3), np.float32)
    low = boxes[:, :2]
    sides = np.maximum(boxes[:, 2:] - low, np.float32(1))
    pixels = np.ceil(sides)
    for index, (width, height) in enumerate(pixels.astype(int).tolist()):
        maps = _doubled(_doubled(logits[index], axis=2), axis=1)
        places, found[index, :, 2] = _highest(maps, _axis(maps.shape[1], height), _axis(maps.shape[2], width))
        scale = sides[index] / pixels[index]
        found[index, :, :2] = (places + np.float32(0.5)) * scale + low[index]
    return found


def _doubled(maps: Floats, *, axis: int) -> Floats:
    """Twice as many cells along an axis, bilinear with half-pixel centres, as PyTorch's ``interpolate``."""
    maps = np.moveaxis(maps, axis, -1)
    before = np.concatenate([maps[..., :1], maps[..., :-1]], axis=-1)
    behind = np.concatenate([maps[..., 1:], maps[..., -1:]], axis=-1)
    near, far = np.float32(0.75), np.float32(0.25)
    pairs = np.stack([near * maps + far * before, near * maps + far * behind], axis=-1)
    return np.moveaxis(pairs.reshape(*maps.shape[:-1], -1), -1, axis)


def _axis(cells: int, pixels: int) -> _Axis:
    """Places of ``pixels`` among ``cells``; the square before the first cell is number 0."""
    numbers = np.arange(pixels, dtype=np.float32)
    scale = np.float32(cells) / np.float32(pixels)
    places = scale * (numbers + np.float32(0.5)) - np.float32(0.5)
    left = np.floor(places)
    squares = np.arange(cells + 2)
    first = np.searchsorted(left.astype(np.intp) + 1, squares)
    most = max(int(np.diff(first).max()), 1)
    index = first[:-1, None] + np.arange(most)
    there = index < first[1:, None]
    weights = _weights(places - left)[np.minimum(index, pixels - 1)]
    nearest = np.clip(np.rint((np.arange(cells) + 0.5) / scale - 0.5), 0, pixels - 1).astype(np.intp)
    return _Axis(first, weights, there, nearest)


def _weights(after: Floats) -> Floats:
    """Weights [n, 4] of the cells around places that lie ``after`` [n] the second of them; PyTorch's arithmetic."""

    def inner(x: Floats) -> Floats:
        return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1

    def outer(x: Floats) -> Floats:
        return ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC

    before = np.float32(1) - after
    columns = [outer(after + 1), inner(after), inner(before), outer(before + 1)]
    return np.stack(columns, axis=1).astype(np.float32)


def _highest(maps: Floats, rows: _Axis, columns: _Axis) -> tuple[Floats, Floats]:
    """Highest pixel of every map [J, h, w] enlarged to rows and columns of pixels (x and y, float32 [J, 2])
    and its value [J]; the first of equal ones."""
    count = len(maps)
    padded = np.pad(maps, ((0, 0), (2, 2), (2, 2)), mode="edge")
    windows = sliding_window_view(padded, (TAPS, TAPS), axis=(1, 2))
    highest, lowest = _sliding(padded, np.maximum), _sliding(padded, np.minimum)
    bound = highest + np.float32(MAX_NEGATIVE_WEIGHT) * (highest - lowest)
    bound += np.float32(SLACK) * (np.abs(highest) + np.abs(lowest))
    # What the pixel next to the highest cell has, the highest pixel has at least.
    best = maps.reshape(count, -1).argmax(axis=1)
    y, x = rows.nearest[best // maps.shape[2]], columns.nearest[best % maps.shape[2]]
    least = _values(windows, np.arange(count), *_square(rows, y), *_square(columns, x))
    empty = np.logical_not(np.outer(rows.there[:, 0], columns.there[:, 0]))
    bound[:, empty] = -np.inf
    of, row, column = np.nonzero(bound >= least[:, None, None])
    square = windows[of, row, column]
    values = rows.weights[row] @ (square @ columns.weights[column].transpose(0, 2, 1))
    values[~(rows.there[row][:, :, None] & columns.there[column][:, None])] = -np.inf
    flat = values.reshape(len(of), -1)
    inside = flat.argmax(axis=1)
    top = flat[np.arange(len(of)), inside]
    y, x = rows.first[row] + inside // values.shape[2], columns.first[column] + inside % values.shape[2]
    order = np.lexsort((x, y, -top, of))
    chosen = order[np.searchsorted(of[order], np.arange(count))]
    return np.stack([x[chosen], y[chosen]], axis=1).astype(np.float32), top[chosen]


def _square(axis: _Axis, pixels: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
    """The squares that ``pixels`` [n] lie in, and their weights [n, 4]."""
    squares = np.searchsorted(axis.first, pixels, side="right") - 1
    return squares, axis.weights[squares, pixels - axis.first[squares]]


def _values(  # noqa: PLR0917
    windows: Floats,
    of: NDArray[np.intp],
    row: NDArray[np.intp],
    row_weights: Floats,
    column: NDArray[np.intp],
    column_weights: Floats,
) -> Floats:
    """One pixel's value of each map in ``of``."""
    values: Floats = np.einsum("nr,nrc,nc->n", row_weights, windows[of, row, column], column_weights)
    return values - np.float32(SLACK) * np.abs(values)


def _sliding(padded: Floats, kind: np.ufunc) -> Floats:
    """Maximum or minimum over every window of 4 x 4 cells."""
    for _ in range(2):
        two = kind(padded[..., :-1], padded[..., 1:])
        padded = kind(two[..., :-2], two[..., 2:]).swapaxes(1, 2)
    return padded

"""Outlines of objects as formats have them: polygons, run lengths, pixels of a picture of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.errors import MissingDependencyError
from edgedet.masks.run_lengths import coco_rle, decompressed

Ring = NDArray[np.float64]
"""Corners [M, 2], x and y in pixels, of which the last is joined to the first."""


REACH = 1.0
"""Sides of the picture by which a corner may lie outside of it. What draws polygons walks along their edges, for
hours where corners are of another unit or picture."""

MIN_AREA = 1e-6
"""Area in square pixels that a polygon has to exceed: with less it is a line but for rounding."""


def outline_fault(outline: Any, size: tuple[int, int]) -> str:
    """Why what COCO calls a segmentation is no outline in a picture; empty where it is one.

    pycocotools draws whatever it is given, of whatever size, or never ends.

    ``outline``: of a form that readers of datasets take: rings of three corners or more, or run lengths.
    ``size``: (height, width) of the picture.

    >>> outline_fault({"size": [2, 3], "counts": [0, 6]}, (2, 3)), outline_fault([[0, 0, 90, 0, 90, 9]], (20, 30))
    ('', 'outline outside the picture')
    """
    if isinstance(outline, list):
        corners = np.concatenate([np.asarray(part, np.float64).reshape(-1, 2) for part in outline])
        sides = np.array([size[1], size[0]])
        near = (corners >= -REACH * sides) & (corners <= (1 + REACH) * sides)
        seen = (corners.max(axis=0) > 0) & (corners.min(axis=0) < sides)
        return "" if near.all() and seen.all() else "outline outside the picture"
    if list(outline["size"]) != list(size):
        return "run lengths of another size than the picture"
    counts = outline["counts"]
    try:
        lengths = decompressed(counts).tolist() if isinstance(counts, str) else counts
    except (ValueError, OverflowError):
        return "run lengths that cannot be read"
    whole = all(isinstance(count, int) and count >= 0 for count in lengths)
    return (
        ""
        if whole and sum(lengths) == size[0] * size[1]
        else "run lengths of more or fewer pixels than the picture"
    )


def has_area(outline: Any) -> bool:
    """Whether an outline without fault holds any area. Of one that does not, no pixel is the object's.

    >>> has_area([[0, 0, 9, 0, 9, 9]]), has_area([[0, 0, 9, 9, 3, 3]]), has_area({"size": [2, 3], "counts": [6]})
    (True, False, False)
    """
    if isinstance(outline, list):
        return any(ring_area(part) > MIN_AREA for part in outline)
    counts = outline["counts"]
    lengths = decompressed(counts).tolist() if isinstance(counts, str) else counts
    return any(lengths[1::2])


def ring_area(corners: Sequence[float]) -> float:
    """Area of a polygon, x and y of each corner one after another, by the shoelace formula."""
    places = np.asarray(corners, np.float64).reshape(-1, 2)
    onward = np.roll(places, -1, axis=0)
    return float(abs((places[:, 0] * onward[:, 1] - places[:, 1] * onward[:, 0]).sum())) / 2


def outline_pixels(outline: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of what COCO calls a segmentation, bool [H, W], as pycocotools draws it.

    ``size``: (height, width) of the picture.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingDependencyError(
            "outlines of another form need pycocotools, which is not installed: pip install 'edgedet[report]'"
        ) from error
    drawn = outline
    if isinstance(outline, list):
        drawn = mask.merge(mask.frPyObjects(outline, *size))
    elif isinstance(outline["counts"], list):
        drawn = mask.frPyObjects(outline, *size)
    return np.asarray(mask.decode(drawn), np.bool_)


def pixels_outline(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    """Run lengths of an object that has these pixels, bool [H, W]."""
    left, top, width, height = cv2.boundingRect(pixels.astype(np.uint8))
    region = pixels[top : top + height, left : left + width]
    return coco_rle(region, left, top, (pixels.shape[0], pixels.shape[1]))


def one_ring(outline: Any, size: tuple[int, int]) -> Ring:
    """An outline as one polygon, for formats that have no more: its parts are joined by lines there and back, which
    hold no area; so are holes.

    ``size``: (height, width) of the picture.

    Raises:
        MissingDependencyError: run lengths, and pycocotools is not installed.
    """
    if isinstance(outline, list):
        rings = [np.asarray(part, np.float64).reshape(-1, 2) for part in outline]
    else:
        rings = list(_edges(outline_pixels(outline, size)))
    return _joined(rings)


def _joined(rings: Sequence[Ring]) -> Ring:
    if not rings:
        return np.zeros((0, 2))
    joined = rings[0]
    for ring in rings[1:]:
        apart = ((joined[:, None] - ring[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(int(apart.argmin()), apart.shape)
        detour = np.concatenate([ring[there:], ring[: there + 1]])
        joined = np.concatenate([joined[: here + 1], detour, joined[here:]])
    return joined


def _edges(pixels: NDArray[np.bool_]) -> Iterator[Ring]:
    """Polygons along the edges of pixels: the outer ones of every part, and those of holes."""
    padded = np.pad(pixels, 1).astype(np.int8)
    # An edge leads from corner to corner, with the object on its right.
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    change = np.diff(padded, axis=1)[1:-1]
    for y, x in zip(*np.nonzero(change), strict=True):
        begin, end = ((y + 1, x), (y, x)) if change[y, x] > 0 else ((y, x), (y + 1, x))
        steps.setdefault(begin, []).append(end)
    change = np.diff(padded, axis=0)[:, 1:-1]
    for y, x in zip(*np.nonzero(change), strict=True):
        begin, end = ((y, x), (y, x + 1)) if change[y, x] > 0 else ((y, x + 1), (y, x))
        steps.setdefault(begin, []).append(end)
    while steps:
        first = place = next(iter(steps))
        ring: list[tuple[int, int]] = []
        while place in steps:
            onward = steps[place]
            ahead = onward.pop()
            if not onward:
                del steps[place]
            # Only corners: what goes straight on is left out.
            if len(ring) > 1 and _straight(ring[-2], ring[-1], place):
                ring.pop()
            ring.append(place)
            place = ahead
        assert place == first, "edges close"
        yield np.array(ring, np.float64)[:, ::-1]


def _straight(first: tuple[int, int], second: tuple[int, int], third: tuple[int, int]) -> bool:
    return first[0] == second[0] == third[0] or first[1] == second[1] == third[1]

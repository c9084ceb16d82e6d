"""How the four numbers of a box are meant, and which meaning the numbers of a whole set fit.

One box tells little: corners read as x, y, width, height are a box all the same. Many boxes do: read the wrong way
they leave their pictures or have no area, and read the right way they fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Unit = Literal["pixels", "shares"]
Boxes = NDArray[np.float64]

CORNERS = "x1, y1, x2, y2"
_ORDERS: dict[str, Boxes] = {
    CORNERS: np.eye(4),
    "x, y, width, height": np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64),
    "cx, cy, width, height": np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]),
    "y1, x1, y2, x2": np.eye(4)[[1, 0, 3, 2]],
    "y, x, height, width": np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]], np.float64),
}
"""Written numbers times the matrix are x1, y1, x2, y2. Of several that fit alike, the first is named."""

ROOM = 0.02
"""Share of a side, and 2 pixels, by which a box may leave its picture without being taken for one misread."""
SMALL_PICTURE = 32
"""Side in pixels; on smaller pictures, numbers up to 1 may be pixels."""
SHARE_SLOP = 0.05
MIN_LARGEST_SHARE = 0.05
MAX_SHARE = 2.0
"""The largest number a share can be, of a box that begins in its picture and is no larger."""
MIN_MISFITS = 5
"""Boxes that differ from one another: a line written five times is one mistake."""
MIN_MISFITS_OF_MOST = 3
"""The same, where they are most of the set's boxes."""
MIN_MISFIT_SHARE = 0.1
SURE_MISFIT_SHARE = 0.3
NEAR_BORDER = 0.01
"""Share of a side."""
MAX_FIT_SHARE_UNSURE = 0.002
MAX_FIT_SHARE = 0.02
"""Boxes that do not fit under the form that is said to be the right one."""
MAX_OF_MISFITS = 0.2
"""The same, as a share of those that do not fit as they are read."""
MIN_LOST = 8
MIN_PERCENT_BOXES = 30
MIN_PERCENT_SIDE = 250
PERCENT_REACH = (97.0, 100.5)
MIN_BORDER_BOXES = 5
BORDER = 1.0
"""Pixels within which boxes end at one border."""
LARGEST_REACH = 0.95


@dataclass(frozen=True)
class BoxForm:
    """Order and unit of a box's numbers in a format."""

    order: str
    unit: Unit

    def __str__(self) -> str:
        return f"{self.order} in {'pixels' if self.unit == 'pixels' else 'shares of the picture'}"

    def written(self, corners: Boxes, sizes: Boxes) -> Boxes:
        """The numbers as they are written, float64 [N, 4], of corners in pixels; ``sizes``: [N, 2] of pictures."""
        if self.unit == "shares":
            corners = corners / np.tile(sizes, 2)
        return corners @ np.linalg.inv(_ORDERS[self.order])

    def corners(self, written: Boxes, sizes: Boxes) -> Boxes:
        """The reverse: x1, y1, x2, y2 in pixels, float64 [N, 4]."""
        found = written @ _ORDERS[self.order]
        return found * np.tile(sizes, 2) if self.unit == "shares" else found


PIXEL_CORNERS = BoxForm(CORNERS, "pixels")


class Seen(NamedTuple):
    """Every box of one picture as it was read, before any is dropped or clipped.

    ``corners``: float64 [N, 4] in pixels. ``area``: float64 [N], NaN where none is stated. ``size``: (width,
    height). ``split``: boxes of one split are judged together.
    """

    corners: Boxes
    area: NDArray[np.float64]
    size: tuple[int, int]
    split: str


def misfits(corners: Boxes, sizes: Boxes) -> NDArray[np.bool_]:
    """Boxes that no picture of that size has: without area, or far beyond it; bool [N]."""
    room = np.tile(sizes, 2) * ROOM + 2
    low, high = corners[:, :2], corners[:, 2:]
    with np.errstate(invalid="ignore"):
        fit = np.concatenate([high > low, low >= -room[:, :2], high <= sizes + room[:, 2:]], axis=1)
    bad: NDArray[np.bool_] = np.logical_not(np.all(fit, axis=1))
    return bad


def are_shares(written: Boxes, sizes: Boxes) -> NDArray[np.bool_]:
    """Boxes whose numbers, taken for pixels, are within the first pixel of their picture, and not all whole."""
    inside = ((written >= -SHARE_SLOP) & (written <= 1 + SHARE_SLOP)).all(axis=1)
    with np.errstate(invalid="ignore"):
        whole = (np.abs(written - written.round()) < 1e-6).all(axis=1)
    return inside & ~whole & (sizes >= SMALL_PICTURE).all(axis=1) & (written.max(axis=1) >= MIN_LARGEST_SHARE)


def better_form(written: Boxes, sizes: Boxes, form: BoxForm) -> BoxForm | None:
    """The form that nearly all boxes fit, where many do not fit the one they are read in; None where there is none.

    ``written``: float64 [N, 4] as they are written. ``sizes``: float64 [N, 2], (width, height) of their pictures.
    """
    if form.unit == "pixels" and len(written) and are_shares(written, sizes).mean() > 0.5:
        return BoxForm(form.order, "shares")
    bad_boxes = written[misfits(form.corners(written, sizes), sizes)]
    bad, different = len(bad_boxes), len(np.unique(bad_boxes, axis=0))
    needed = MIN_MISFITS_OF_MOST if bad > 0.5 * len(written) else MIN_MISFITS
    if different < needed or bad < MIN_MISFIT_SHARE * len(written):
        return None
    # Shares of boxes that leave their pictures are, as pixels, in every picture.
    of_pixels = form.unit == "shares" and np.mean(written.max(axis=1) > MAX_SHARE) > 0.9
    units: tuple[Unit, ...] = ("shares", "pixels") if of_pixels else (form.unit,)
    others = [BoxForm(order, unit) for unit in units for order in _ORDERS if BoxForm(order, unit) != form]
    counts = {other: int(misfits(other.corners(written, sizes), sizes).sum()) for other in others}
    best = min(others, key=counts.__getitem__)
    if counts[best] > min(MAX_FIT_SHARE * len(written), MAX_OF_MISFITS * bad):
        return None
    if bad > SURE_MISFIT_SHARE * len(written):
        return best
    # Boxes drawn beyond the picture on purpose may fit another form by chance, but not all, and not to its edges.
    shares = best.corners(written, sizes) / np.tile(sizes, 2)
    whole = (shares[:, :2].min(axis=0) <= NEAR_BORDER).all() and (
        shares[:, 2:].max(axis=0) >= 1 - NEAR_BORDER
    ).all()
    return best if whole and counts[best] <= MAX_FIT_SHARE_UNSURE * len(written) else None


def complaint(seen: Sequence[Seen], form: BoxForm) -> str | None:
    """Why the boxes of a set cannot be what they are read as, without its name; None where they can.

    ``form``: the one they are read in.
    """
    for corners, area, sizes in _by_split(seen):
        reason = _complaint(form.written(corners, sizes), corners, area, sizes, form)
        if reason is not None:
            return reason
    return None


def _by_split(seen: Sequence[Seen]) -> Iterator[tuple[Boxes, NDArray[np.float64], Boxes]]:
    for split in dict.fromkeys(one.split for one in seen):
        members = [one for one in seen if one.split == split and len(one.corners)]
        if members:
            sizes = np.repeat([one.size for one in members], [len(one.corners) for one in members], axis=0)
            corners = np.concatenate([one.corners for one in members])
            yield corners, np.concatenate([one.area for one in members]), sizes.astype(np.float64)


def _complaint(
    written: Boxes, corners: Boxes, area: NDArray[np.float64], sizes: Boxes, form: BoxForm
) -> str | None:
    other = better_form(written, sizes, form)
    bad = misfits(corners, sizes)
    if other is not None and other.unit == "shares" and form.unit == "pixels":
        example = written[are_shares(written, sizes)][0]
        return (
            f"its boxes, such as {_shown(example)}, are shares of the picture; expected {form}: multiply by its "
            "width and height"
        )
    if other is not None:
        left = int(misfits(other.corners(written, sizes), sizes).sum())
        return (
            f"its boxes, such as {_shown(written[bad][0])}, are no {form}: read so, {bad.sum():,} of "
            f"{len(bad):,} leave their picture or have no area, and as {other} {left:,}; write them as {form.order}"
            f"{'' if other.unit == form.unit else f' in {form.unit}'}"
        )
    if _area_is_of_corners(written, area, form):
        return (
            f"its boxes, such as {_shown(written[0])}, are corners {CORNERS}, since their areas are those of "
            f"corners; expected {form}"
        )
    if form.unit == "pixels" and any(_percentages(boxes, sizes) for boxes in (corners, written)):
        return (
            f"its boxes, such as {_shown(written[0])}, are percentages of the picture: all {len(bad):,} end at 100 "
            f"or before, in pictures of {MIN_PERCENT_SIDE} pixels and more; expected {form}"
        )
    if bad.sum() >= MIN_LOST and bad.mean() > 0.5:
        return (
            f"{bad.sum():,} of its {len(bad):,} boxes, such as {_shown(written[bad][0])}, leave their picture or "
            f"have no area; expected {form}, of the picture as it is here"
        )
    return None


def _area_is_of_corners(written: Boxes, area: NDArray[np.float64], form: BoxForm) -> bool:
    """Whether the stated areas are of boxes from the first two numbers to the last two, and not of those read."""
    known = np.isfinite(area) & (area > 0)
    if form.order == CORNERS or form.unit != "pixels" or known.sum() < MIN_MISFITS or known.mean() < 0.9:
        return False
    numbers, stated = written[known], area[known]
    room = 0.01 * stated + 1
    of_corners = np.abs((numbers[:, 2] - numbers[:, 0]) * (numbers[:, 3] - numbers[:, 1]) - stated) <= room
    of_sides = np.abs(numbers[:, 2] * numbers[:, 3] - stated) <= room
    return bool(of_corners.mean() >= 0.95 and of_sides.mean() <= 0.5)


def _percentages(boxes: Boxes, sizes: Boxes) -> bool:
    """Whether numbers end where percentages do: many boxes, none beyond 100 in pictures that are much larger, both
    ways up to it, and no whole pixels."""
    if len(boxes) < MIN_PERCENT_BOXES or sizes.min() < MIN_PERCENT_SIDE or not np.isfinite(boxes).all():
        return False
    ends = boxes[:, 2:]
    largest = ends.max(axis=0)
    ordered = (ends > boxes[:, :2]).all(axis=1)
    low, high = PERCENT_REACH
    reaches = bool(((largest >= low) & (largest <= high)).all()) and boxes.min() >= high - 101
    fractional = np.abs(boxes - boxes.round()) > 1e-6
    return reaches and bool(ordered.mean() > 0.95) and bool(fractional.mean() > 0.5)


def hints(seen: Sequence[Seen], form: BoxForm) -> Iterator[str]:
    """What may be wrong with boxes that can be what they are read as."""
    for corners, _, sizes in _by_split(seen):
        shares = are_shares(form.written(corners, sizes), sizes) if form.unit == "pixels" else np.zeros(0, np.bool_)
        if shares.any():
            yield (
                f"{shares.sum():,} of {len(shares):,} boxes lie within the first pixel of their picture, as shares "
                "taken for pixels do"
            )
        reach = _reach(corners, sizes)
        if reach is not None:
            yield (
                f"no box reaches beyond {reach[0]:.0f} pixels to the right and {reach[1]:.0f} down, and many end "
                "there, in pictures that are larger: were they drawn on resized pictures?"
            )


def _reach(corners: Boxes, sizes: Boxes) -> tuple[float, float] | None:
    """The border inside the pictures at which many boxes end: sides (width, height) of a square, as of a network's
    input, or of a smaller copy of the picture. None without such a border."""
    good = ~misfits(corners, sizes)
    ends = corners[good, 2:]
    if len(ends) < MIN_PERCENT_BOXES:
        return None
    x, y = ends.max(axis=0)
    smallest = sizes.min(axis=0)
    crowded = ((ends >= (x, y) - np.array(BORDER)).sum(axis=0) >= MIN_BORDER_BOXES).all()
    if not crowded or x > LARGEST_REACH * smallest[0] or y > LARGEST_REACH * smallest[1]:
        return None
    one_size = bool((sizes == sizes[0]).all())
    square = abs(x - y) <= BORDER
    smaller = one_size and abs(x / sizes[0, 0] - y / sizes[0, 1]) <= BORDER / smallest.min()
    return (float(x), float(y)) if square or smaller else None


def _shown(box: Boxes) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box.round(4)) + "]"

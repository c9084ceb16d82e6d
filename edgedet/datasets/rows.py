"""From annotation lines to checked records: what every format's reader shares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.box_form import MIN_LOST, Seen
from edgedet.datasets.dataset import PLACES_SHOWN, Done, ImageRecord, Problem
from edgedet.datasets.outlines import has_area, outline_fault
from edgedet.errors import DatasetError
from edgedet.files import is_file
from edgedet.pictures.image_size import read_image_size

OVERRUN = 0.5
"""Pixels by which a box may leave the picture: annotation tools round, and COCO itself has 640.01 of 640."""

Strictness = Literal["drop", "stop"]

NO_LOSS = frozenset({"line repeats another", "shape without a box", "shape without a label"})
"""Reasons for which something is dropped that is no box of an object, or is there once more."""


class Row(NamedTuple):
    """One annotated box as a format's reader found it, edges in pixels; ``area`` None takes the box's own.

    ``outline``, ``instance``: as :class:`~edgedet.datasets.dataset.ImageRecord` has them. ``keypoints``: x, y and
    visibility of each, one after another, in pixels; None where none are labelled.
    """

    where: str
    label: int
    x1: float
    y1: float
    x2: float
    y2: float
    crowd: bool = False
    difficult: bool = False
    area: float | None = None
    outline: Any = None
    instance: Any = None
    keypoints: tuple[float, ...] | None = None


@dataclass
class ProblemLog:
    """Collects problems, or stops at the first one.

    ``repeats``: boxes that were kept although they repeat another. ``seen``: every box of the
    pictures that can be used, good or bad, for what only many of them tell.

    Raises:
        DatasetError: from ``add``, with ``strictness="stop"``.
    """

    strictness: Strictness = "drop"
    found: list[Problem] = field(default_factory=list)
    repeats: int = 0
    seen: list[Seen] = field(default_factory=list)

    def add(
        self,
        where: str,
        reason: str,
        done: Done = "box dropped",
    ) -> None:
        """Note what was wrong at ``where`` and what was done about it."""
        if self.strictness == "stop":
            raise DatasetError(f"{where}: {reason}; mend the annotation, or read without strict mode to go on")
        self.found.append(Problem(where, reason, done))

    def complaint(self, kept: int) -> str | None:
        """That most boxes are dropped, and for what; None where most are ``kept``."""
        lost = [p for p in self.found if p.done == "box dropped" and p.reason not in NO_LOSS]
        counts = Counter(p.reason for p in lost).most_common(PLACES_SHOWN)
        # A mistake that is everywhere has one reason; of many reasons, each is for somebody to look at.
        if len(lost) <= kept or counts[0][1] < MIN_LOST:
            return None
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in counts)
        places = ", ".join(p.where for p in lost[:PLACES_SHOWN])
        return f"{len(lost):,} of its {len(lost) + kept:,} boxes cannot be used: {reasons}; first {places}"


def picture_size(
    path: Path, where: str, log: ProblemLog, stated: tuple[int, int] | None = None
) -> tuple[int, int] | None:
    """(width, height) of the decoded frame, or None (and a problem) where the picture cannot be used.

    ``stated``: (width, height) the annotation claims. Boxes of a picture with other sides belong to another
    version of it: they would be measured in the wrong place.
    """
    if not is_file(path):
        log.add(f"{where} ({path.name})", "missing image", "image dropped")
        return None
    size = read_image_size(path)
    if size is None:
        log.add(f"{where} ({path.name})", "unreadable image", "image dropped")
        return None
    if stated is not None and min(stated) > 0 and stated != (size.width, size.height):
        turned = ", turned by its EXIF orientation" if size.turned and stated == (size.height, size.width) else ""
        reason = "the annotation is of another size than the picture" + turned
        log.add(
            f"{where} ({path.name}, {stated[0]}x{stated[1]} but {size.width}x{size.height})",
            reason,
            "image dropped",
        )
        return None
    return size.width, size.height


def build_record(
    path: Path,
    size: tuple[int, int],
    rows: Iterable[Row],
    log: ProblemLog,
    split: str = "",
    *,
    keypoints: int = 0,
) -> ImageRecord:
    """Check every row against the picture and pack the good ones. ``size``: (width, height); ``keypoints``: how
    many every object has, 0 where they are not read."""
    rows = list(rows)
    log.seen.append(
        Seen(
            np.array([(row.x1, row.y1, row.x2, row.y2) for row in rows], np.float64).reshape(-1, 4),
            np.array([math.nan if row.area is None else row.area for row in rows], np.float64),
            size,
            split,
        )
    )
    good = [checked for row in rows if (checked := _checked(row, size, log)) is not None]
    log.repeats += len(good) - len({(row.label, row.x1, row.y1, row.x2, row.y2) for row in good})
    boxes = np.array([(row.x1, row.y1, row.x2, row.y2) for row in good], np.float64).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    own = sides[:, 0] * sides[:, 1]
    area = np.array([math.nan if row.area is None else row.area for row in good], np.float64)
    return ImageRecord(
        path=path,
        width=size[0],
        height=size[1],
        boxes=boxes,
        labels=np.array([row.label for row in good], np.int32),
        crowd=np.array([row.crowd for row in good], np.bool_),
        difficult=np.array([row.difficult for row in good], np.bool_),
        area=np.where(np.isfinite(area), area, own),
        split=split,
        outlines=_marks(row.outline for row in good),
        instances=_marks(row.instance for row in good),
        keypoints=_keypoints(good, keypoints) if keypoints else None,
    )


def _marks(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """One for each box; None where no box has any."""
    found = tuple(values)
    return found if any(value is not None for value in found) else None


def _keypoints(rows: Sequence[Row], count: int) -> NDArray[np.float64]:
    nothing = (0.0,) * (3 * count)
    values = [nothing if row.keypoints is None else row.keypoints for row in rows]
    return np.array(values, np.float64).reshape(len(rows), count, 3)


def usable_keypoints(values: Sequence[object], count: int) -> tuple[float, ...] | None:
    """``count`` keypoints as a file has them, x, y and visibility of each; None where they cannot be that.

    >>> usable_keypoints([1, 2, 2, 0, 0, 0], 2), usable_keypoints([1, 2, 3], 1)
    ((1.0, 2.0, 2.0, 0.0, 0.0, 0.0), None)
    """
    numbers = tuple(to_number(value) for value in values)
    fine = len(numbers) == 3 * count and all(math.isfinite(number) for number in numbers)
    return numbers if fine and all(seen in (0, 1, 2) for seen in numbers[2::3]) else None


def unlabelled_record(path: Path, size: tuple[int, int], split: str = "") -> ImageRecord:
    """A picture of which nothing is known."""
    return build_record(path, size, (), ProblemLog(), split)


def _checked(row: Row, size: tuple[int, int], log: ProblemLog) -> Row | None:
    width, height = size
    if not all(math.isfinite(value) for value in (row.x1, row.y1, row.x2, row.y2)):
        log.add(row.where, "box is not finite")
        return None
    if row.x2 <= row.x1 or row.y2 <= row.y1:
        log.add(row.where, "box without area")
        return None
    if row.x1 >= width or row.y1 >= height or row.x2 <= 0 or row.y2 <= 0:
        log.add(row.where, "box outside the picture")
        return None
    if row.outline is not None and (fault := outline_fault(row.outline, (height, width))):
        log.add(row.where, fault, "outline dropped")
        row = row._replace(outline=None)
    elif row.outline is not None and not has_area(row.outline):
        # pycocotools counts it as an object that no mask can match, and so must figures that are its own.
        log.add(row.where, "outline without area, which no mask can match", "object kept")
    if min(row.x1, row.y1) >= -OVERRUN and row.x2 <= width + OVERRUN and row.y2 <= height + OVERRUN:
        return row
    log.add(row.where, "box partly outside the picture", "box clipped")
    return row._replace(
        x1=max(row.x1, 0.0), y1=max(row.y1, 0.0), x2=min(row.x2, float(width)), y2=min(row.y2, float(height))
    )


def to_number(text: object) -> float:
    """A float, or NaN for anything that is none (``build_record`` names it then).

    >>> to_number(" 12.5 "), to_number("x"), to_number(None)
    (12.5, nan, nan)
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return math.nan
    try:
        return float(text)
    except (ValueError, OverflowError):
        return math.nan

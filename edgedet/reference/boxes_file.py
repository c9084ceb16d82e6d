"""Boxes as a file has them, and what each value has to be, before pictures and classes are looked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import ReferenceBoxesError

Key = int | str
"""What a file calls a picture or a class by."""

ROUNDED = 0.001
"""Scores are written with three to five decimals."""
EXPECTED = (
    'expected {"images": [{"id", "file_name"}], "categories": [{"id", "name"}], "annotations": [{"image_id", '
    '"category_id", "bbox": [x, y, width, height], "score"}]}, a COCO results list, or lines of edgedet detect'
)


@dataclass(frozen=True)
class Listed:
    """A picture the other program looked at. ``size``: (width, height) where the file says."""

    key: Key
    file_name: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class BoxesFile:
    """What stands in a file.

    ``pictures``, ``categories`` (names by number): None where the file leaves them to a dataset. ``of``,
    ``classes``: each box's picture and class, as ``Listed.key`` and keys of ``categories``. ``file_names``: of each
    box's picture, where its row says. ``boxes``: float64 [N, 4] x1, y1, x2, y2, pixels. ``scores``: float64 [N].
    ``written``: how boxes stand in the file. ``threshold``: the lowest score the other program would have shown,
    where it says. ``unreadable``: pictures it could not read.
    """

    path: Path
    pictures: tuple[Listed, ...] | None
    categories: dict[Key, str] | None
    of: tuple[Key, ...]
    classes: tuple[Key, ...]
    file_names: tuple[str | None, ...]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    written: str
    threshold: float | None = None
    unreadable: int = 0


def is_key(value: Any) -> bool:
    """Whether ``value`` can name a picture or a class."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def read_size(width: Any, height: Any, where: str) -> tuple[int, int] | None:
    """(width, height), or None where neither is said.

    Raises:
        ReferenceBoxesError: only one of them, or no pixels.
    """
    if width is None and height is None:
        return None
    if not all(isinstance(side, int | float) and math.isfinite(side) and side > 0 for side in (width, height)):
        raise ReferenceBoxesError(f"{where}: width and height are {width!r} and {height!r}, expected pixels")
    return int(width), int(height)


def checked(file: BoxesFile) -> BoxesFile:
    """``file`` itself.

    Raises:
        ReferenceBoxesError: no box in it, or parts that contradict each other.
    """
    if not len(file.scores):
        raise ReferenceBoxesError(
            f"{file.path} holds not one box, so nothing would be compared; expected boxes the trained network "
            "found, on pictures with something in them"
        )
    for problem in _contradictions(file):
        raise ReferenceBoxesError(f"{file.path}: {problem}")
    return file


def _contradictions(file: BoxesFile) -> Iterator[str]:
    if file.pictures is not None:
        known = {picture.key for picture in file.pictures}
        lost = next((key for key in file.of if key not in known), None)
        if lost is not None:
            yield f"a box is of the image {lost!r}, which is not among its {len(known)} images"
    if file.categories is not None:
        unnamed = next((key for key in file.classes if key not in file.categories), None)
        if unnamed is not None:
            yield (
                f"a box is of the category {unnamed!r}, which has no name; its categories are "
                f"{', '.join(map(repr, list(file.categories)[:5]))}"
            )
    least = float(file.scores.min())
    if file.threshold is not None and least < file.threshold - ROUNDED:
        yield f"score_threshold is {file.threshold:g}, but a box scores {least:g}; state the one it was made with"
    if len(file.scores) > 1 and np.all(file.scores == 1):
        yield (
            "every score is 1, as in annotations made by people; expected the scores of the trained network's own "
            "boxes"
        )


def read_box(value: Any, where: str, name: str, layout: str) -> list[float]:
    """Four finite numbers.

    Raises:
        ReferenceBoxesError: anything else.
    """
    if not isinstance(value, list) or len(value) != 4 or not all(is_number(number) for number in value):
        raise ReferenceBoxesError(f"{where}: {name} is {value!r:.60}, expected four numbers {layout}")
    if not all(math.isfinite(number) for number in value):
        raise ReferenceBoxesError(f"{where}: {name} is {value!r:.60}, which is not finite")
    return [float(number) for number in value]


def read_score(row: dict[str, Any], where: str) -> float:
    """The ``score`` of a row.

    Raises:
        ReferenceBoxesError: none, or no number from 0 to 1.
    """
    value = row.get("score")
    if value is None:
        raise ReferenceBoxesError(
            f"{where} has no score: annotations made by people do not show what a network computes; "
            "expected the trained network's own boxes with their scores"
        )
    if not is_number(value) or not math.isfinite(value):
        raise ReferenceBoxesError(f"{where}: score is {value!r:.40}, expected a number from 0 to 1")
    # Sums of float32 shares may end a little above.
    if not 0 <= value <= 1 + ROUNDED:
        raise ReferenceBoxesError(f"{where}: score is {value:g}, expected 0 to 1 (no percentages, no logits)")
    return min(float(value), 1.0)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number of JSON's; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)

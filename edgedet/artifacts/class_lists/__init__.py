"""Class names of public data sets, in the order in which detectors trained on them number their classes.

``coco``: the 80 classes, as YOLOs and most others number them. ``coco91``: COCO's category ids 1 to 90, as
detectors with 91 class scores number them, the first of which is nothing; ten ids are given to no box. ``voc``: the
20 of Pascal VOC, by the alphabet. ``openimages``: the 601 boxable classes of Open Images as Ultralytics orders
them; TensorFlow's label map has another order. ``objects365``: the 365 of Objects365, version 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LISTS = {"coco": 80, "coco91": 90, "voc": 20, "openimages": 601, "objects365": 365}
"""Name of a list to its length."""

BACKGROUND = {"__background__", "background", "bg", "_background_"}
"""What class lists call the background."""


def class_list(name: str) -> tuple[str, ...]:
    """The names of a built-in list.

    Args:
        name: a key of :data:`LISTS`.

    Returns:
        Names without background, by label.

    >>> class_list("voc")[:3], len(class_list("coco"))
    (('aeroplane', 'bicycle', 'bird'), 80)
    """
    text = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def lists_of(length: int) -> tuple[str, ...]:
    """Names of the built-in lists that have so many classes."""
    return tuple(name for name, count in LISTS.items() if count == length)


def without_background(names: Sequence[str]) -> tuple[str, ...]:
    """Names of objects alone."""
    return tuple(name for name in names if name.lower().strip() not in BACKGROUND)

"""Which pixels are whose: outlines of objects, and the class of every pixel.

At the door are ``Masks``, ``Region`` and ``ClassMap``, which :mod:`edgedet` promises, and the two that families
make, ``BoxMasks`` and ``CanvasMasks``. Each is loaded when it is first asked for: run lengths need no OpenCV.

>>> from edgedet.masks import Region
>>> Region._fields
('left', 'top', 'values')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.lazy_names import lazy_names

__all__ = ["BoxMasks", "CanvasMasks", "ClassMap", "Masks", "Region"]

if TYPE_CHECKING:
    from edgedet.masks.base import Masks, Region
    from edgedet.masks.box_masks import BoxMasks
    from edgedet.masks.canvas_masks import CanvasMasks
    from edgedet.masks.class_map import ClassMap

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BoxMasks": "edgedet.masks.box_masks",
        "CanvasMasks": "edgedet.masks.canvas_masks",
        "ClassMap": "edgedet.masks.class_map",
        "Masks": "edgedet.masks.base",
        "Region": "edgedet.masks.base",
    },
)

"""Outlines of Pascal VOC: ``SegmentationObject/*.png``, whose numbers are those of an annotation's objects.

1 is the first object of the XML, 2 the second, as the challenge's development kit says; 255 is the border around
objects, which belongs to none. Only some of the challenge's pictures have such a PNG;
``ImageSets/Segmentation`` lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import ImageRecord
from edgedet.datasets.map_labels import IGNORED, read_label_map
from edgedet.datasets.outlines import outline_pixels, pixels_outline
from edgedet.datasets.rows import ProblemLog, Row
from edgedet.errors import DatasetError
from edgedet.files import atomic_path

FOLDER = "SegmentationObject"
SAME_PLACE = 0.5
"""IoU of an object's box and the box around its pixels from which they are one object's."""
MAX_OBJECTS = IGNORED - 1
"""Maximum number of objects: the numbers of a PNG reach no further."""


def with_outlines(
    rows: Sequence[Row], numbers: Sequence[int], path: Path, size: tuple[int, int], log: ProblemLog
) -> list[Row]:
    """Rows with the outlines of the PNG at ``path``.

    Args:
        rows: of one picture.
        numbers: for each row which object of the annotation it is, from 1.
        path: the PNG.
        size: (width, height) of the picture.
        log: for what cannot be used.
    """
    try:
        pixels = read_label_map(path)
    except DatasetError:
        log.add(path.name, "unreadable outlines", "outline dropped")
        return list(rows)
    if pixels.shape != (size[1], size[0]):
        log.add(path.name, "outlines of another size than the picture", "outline dropped")
        return list(rows)
    outlined = []
    for row, number in zip(rows, numbers, strict=True):
        own = pixels == number
        if number > MAX_OBJECTS or not own.any():
            log.add(row.where, "object without pixels in its outlines", "outline dropped")
        elif _overlap(own, row) < SAME_PLACE:
            log.add(row.where, "outline elsewhere than the box", "outline dropped")
        else:
            outlined.append(row._replace(outline=pixels_outline(own), area=float(own.sum())))
            continue
        outlined.append(row)
    return outlined


def _overlap(own: NDArray[np.bool_], row: Row) -> float:
    left, top, width, height = cv2.boundingRect(own.astype(np.uint8))
    across = min(row.x2, left + width) - max(row.x1, left)
    down = min(row.y2, top + height) - max(row.y1, top)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / ((row.x2 - row.x1) * (row.y2 - row.y1) + width * height - shared)


def write_outlines(record: ImageRecord, path: Path) -> int:
    """The PNG of a picture whose objects have outlines: of two over one another, the smaller is in front.

    Returns how many are in part behind others.

    Raises:
        MissingDependencyError: pycocotools is not installed.
        DatasetError: more objects than the numbers of a PNG reach for.
    """
    if len(record) > MAX_OBJECTS:
        raise DatasetError(
            f"{record.path} has {len(record)} objects, and the outlines of Pascal VOC number {MAX_OBJECTS} at "
            "most: convert without --outlines, or to coco"
        )
    numbers = np.zeros((record.height, record.width), np.uint8)
    outlines = list(enumerate(record.outlines or (), 1))
    drawn = [(number, outline_pixels(each, numbers.shape)) for number, each in outlines if each is not None]
    for number, pixels in sorted(drawn, key=lambda one: -int(one[1].sum())):
        numbers[pixels] = number
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", numbers)[1].tobytes())
    return sum(bool((numbers[pixels] != number).any()) for number, pixels in drawn)

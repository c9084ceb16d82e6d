"""A dataset in memory: paths, sizes and boxes. Pictures stay on disk until somebody asks for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.errors import DatasetError

PLACES_SHOWN = 3
Done = Literal["box dropped", "box clipped", "image dropped", "line dropped", "outline dropped", "object kept"]
"""What is made of an annotation with a fault."""


@dataclass(frozen=True)
class ClipFrame:
    """A picture's place in a video, as the annotations have it.

    Attributes:
        name: of the video, one of its kind in the dataset.
        number: of the frame. Frames may be left out.
        rate: how many of these numbers make a second; None where that is not said.

    >>> place = ClipFrame("front door", 30, 10.0)
    >>> place.number / place.rate
    3.0
    """

    name: str
    number: int
    rate: float | None = None


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One picture and the objects on it; ``len()`` counts them.

    Attributes:
        path: file of the picture.
        width: of the frame that OpenCV decodes (upright, EXIF applied), in pixels.
        height: of the same frame, in pixels.
        boxes: float64 [N, 4], x1, y1, x2, y2 in pixels of that frame, edges (a box over the first pixel alone is
            0, 0, 1, 1).
        labels: int32 [N], indices into the dataset's names.
        crowd: bool [N], one box over many objects (COCO's iscrowd, Open Images' IsGroupOf).
        difficult: bool [N], not counted by the Pascal VOC protocol.
        area: float64 [N], area of the object in pixels (COCO: of its mask), which decides between small, medium
            and large.
        split: name of the picture's split; empty where there is none.
        outlines: of each object what COCO calls its segmentation (polygons, or run lengths), None of one without;
            None where they were not asked for, or no object of the picture has one.
        clip: its place in a video; None where the annotations name none.
        instances: of each object, what tells it from others of the same video in all of its frames; None of one
            without; None where no object of the picture has such a mark.
        keypoints: float64 [N, J, 3], x and y in pixels of that frame, and COCO's visibility: 0 not labelled, 1
            labelled and hidden, 2 visible; None where they were not asked for, or the dataset has none.

    >>> from edgedet.datasets import read_dataset
    >>> record = read_dataset("photos/labels.json").images[1]
    >>> record.path.name, record.boxes.tolist(), record.labels.tolist()
    ('01.png', [[9.0, 6.0, 39.0, 30.0]], [1])
    """

    path: Path
    width: int
    height: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    area: NDArray[np.float64]
    split: str = ""
    outlines: tuple[Any, ...] | None = None
    clip: ClipFrame | None = None
    instances: tuple[Any, ...] | None = None
    keypoints: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def keep(self, chosen: NDArray[np.bool_]) -> ImageRecord:
        """The same picture with some of its boxes.

        Args:
            chosen: bool [N], True for the boxes that stay.

        Returns:
            A record of M boxes.
        """
        arrays = {name: getattr(self, name)[chosen] for name in ("boxes", "labels", "crowd", "difficult", "area")}
        stay = chosen.tolist()
        outlines, instances = (
            None if values is None else tuple(value for value, stays in zip(values, stay, strict=True) if stays)
            for values in (self.outlines, self.instances)
        )
        keypoints = None if self.keypoints is None else self.keypoints[chosen]
        return replace(self, outlines=outlines, instances=instances, keypoints=keypoints, **arrays)


@dataclass(frozen=True)
class Problem:
    """A fault in the annotations; ``str()`` is one line for people.

    Attributes:
        where: ``file:line``, or as near to it as the format allows.
        reason: what is wrong.
        done: what reading made of it.

    >>> print(Problem("labels/7.txt:3", "width is 0", "box dropped"))
    labels/7.txt:3: width is 0 (box dropped)
    """

    where: str
    reason: str
    done: Done

    def __str__(self) -> str:
        return f"{self.where}: {self.reason} ({self.done})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures in memory: paths, sizes and boxes, no pixels. ``len()`` counts the pictures.

    Attributes:
        names: class names, by label.
        images: pictures in the order of the annotation files.
        format: a name of :data:`edgedet.dataset_formats.FORMATS`, or ``folder``.
        source: what was read, as it was named.
        problems: faults of the annotations, and what was done about them.
        notes: what was left out, taken from elsewhere or not read, as text.
        skeleton: names of the keypoints of the records, and which are joined; None where those have none.

    >>> from edgedet.datasets import read_dataset
    >>> dataset = read_dataset("photos/labels.json")
    >>> len(dataset), dataset.box_count, dataset.names
    (12, 12, ('blue', 'green', 'red'))
    >>> print(dataset.describe())
    photos/labels.json (coco): 12 images, 12 boxes, 3 classes
    """

    names: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    format: str
    source: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    skeleton: Skeleton | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def box_count(self) -> int:
        """Number of boxes."""
        return sum(len(image) for image in self.images)

    @property
    def labelled(self) -> bool:
        """Whether there are annotations at all; a plain folder of pictures has none."""
        return self.format != "folder"

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that were read, in order of first appearance; empty where there are none."""
        return tuple(dict.fromkeys(image.split for image in self.images if image.split))

    def describe(self) -> str:
        """Number of images, boxes and classes, and what was dropped and why.

        Returns:
            One line for people.
        """
        counts = f"{len(self):,} images"
        if self.labelled:
            empty = sum(1 for image in self.images if not len(image))
            counts += f" ({empty:,} without objects)" if empty else ""
            counts += f", {self.box_count:,} boxes, {len(self.names)} classes"
            for flag in ("crowd", "difficult"):
                marked = sum(int(getattr(image, flag).sum()) for image in self.images)
                counts += f", {marked:,} {flag}" if marked else ""
        parts = [f"{self.source} ({self.format}): {counts}"]
        for (reason, done), count in Counter((p.reason, p.done) for p in self.problems).most_common():
            places = [p.where for p in self.problems if (p.reason, p.done) == (reason, done)]
            more = f" and {count - PLACES_SHOWN:,} more" if count > PLACES_SHOWN else ""
            parts.append(f"{count:,} × {reason}, {done}: {', '.join(places[:PLACES_SHOWN])}{more}")
        return "; ".join([*parts, *self.notes])

    def select_classes(self, names: Sequence[str]) -> Dataset:
        """The dataset with some of its classes; every picture stays.

        Args:
            names: class names in the order of the new labels.

        Returns:
            A dataset with the boxes of these classes alone; the number of the others is among its notes.

        Raises:
            DatasetError: a class the dataset does not have.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise DatasetError(f"{self.source} has no class {unknown[0]!r}; it has {', '.join(self.names)}")
        if tuple(names) == self.names:
            return self
        new_label = np.full(len(self.names) + 1, -1, np.int32)
        for label, name in enumerate(names):
            new_label[self.names.index(name)] = label
        images = []
        for image in self.images:
            labels = new_label[image.labels]
            images.append(replace(image, labels=labels).keep(labels >= 0))
        dropped = self.box_count - sum(len(image) for image in images)
        notes = (*self.notes, f"{dropped:,} boxes of other classes left out") if dropped else self.notes
        return replace(self, names=tuple(names), images=tuple(images), notes=notes)

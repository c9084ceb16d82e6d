"""Do two segmenters give the same classes? Compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgedet.masks.class_map import ClassMap

REQUIRED = 0.999
"""Share of pixels whose class must be the same in two float artifacts: the rest is rounding, where two classes
score alike."""


@dataclass(frozen=True)
class MapParity:
    """What two segmenters agree on in one frame: ``equal`` of ``pixels``."""

    equal: int
    pixels: int

    @property
    def share(self) -> float:
        """Share of equal pixels, in [0, 1]."""
        return self.equal / self.pixels


@dataclass
class Confusion:
    """Pixels by what they are and what was said of them, over many frames.

    Attributes:
        counts: int64 [C, C]; a row for what they are, a column for what was said.

    >>> both = Confusion(2)
    >>> both.add(np.uint8([[0, 0], [1, 1]]), np.uint8([[0, 1], [1, 1]]))
    >>> both.counts.tolist(), both.ious().round(3).tolist(), round(both.mean_iou(), 3)
    ([[1, 1], [0, 2]], [0.5, 0.667], 0.583)
    """

    classes: int
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.classes, self.classes), np.int64)

    def add(
        self, truth: NDArray[np.integer], said: NDArray[np.integer], counted: NDArray[np.bool_] | None = None
    ) -> None:
        """Count the pixels of one frame; of ``counted`` ones alone, where that is given. Labels are below C."""
        pairs = (truth.astype(np.int64) * self.classes + said).reshape(-1)
        pairs = pairs if counted is None else pairs[counted.reshape(-1)]
        self.counts += np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def ious(self) -> NDArray[np.float64]:
        """Intersection over union of every class, float64 [C]; NaN of one that is nowhere."""
        shared = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - np.diag(self.counts)
        with np.errstate(invalid="ignore"):
            return np.asarray(shared / union)

    def mean_iou(self) -> float:
        """Mean IoU of the classes that are somewhere, on either side; NaN where there is not one pixel."""
        ious = self.ious()
        return float(np.nanmean(ious)) if not np.isnan(ious).all() else float("nan")

    def pixel_accuracy(self) -> float:
        """Share of pixels that were said right; NaN where there is not one."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts) / total) if total else float("nan")


def compare_maps(reference: ClassMap, candidate: ClassMap) -> MapParity:
    """Count the pixels of one frame that have the same class.

    >>> from edgedet import ClassMap
    >>> compare_maps(*(ClassMap(np.uint8([row]), ("a", "b")) for row in ([0, 1], [0, 0]))).share
    0.5
    """
    equal = int(np.count_nonzero(reference.labels == candidate.labels))
    return MapParity(equal, reference.labels.size)


@dataclass(frozen=True)
class MapParityReport:
    """Agreement over many frames.

    Attributes:
        frames: number of them.
        pixels: of all frames.
        equal: those with the same class.
        worst: share of the frame that agrees least; None of no frame.
        mean_iou: over the classes of both, the reference taken as the truth; None of no frame.
        classes: number of classes that the reference finds.
    """

    frames: int
    pixels: int
    equal: int
    worst: float | None
    mean_iou: float | None
    classes: int

    @property
    def share(self) -> float | None:
        """Share of all pixels with the same class; None where there is not one."""
        return self.equal / self.pixels if self.pixels else None

    def agrees(self, required: float) -> bool:
        """Whether the share reaches ``required``."""
        return self.share is not None and self.share >= required


def compare_all(pairs: Iterable[tuple[ClassMap, ClassMap]]) -> tuple[MapParityReport, list[MapParity]]:
    """The agreement of pairs (reference, candidate), altogether and frame by frame."""
    found: list[MapParity] = []
    confusion: Confusion | None = None
    for reference, candidate in pairs:
        confusion = confusion or Confusion(len(reference.names))
        confusion.add(reference.labels, candidate.labels)
        found.append(compare_maps(reference, candidate))
    report = MapParityReport(
        len(found),
        sum(each.pixels for each in found),
        sum(each.equal for each in found),
        min((each.share for each in found), default=None),
        None if confusion is None else confusion.mean_iou(),
        0 if confusion is None else int(np.count_nonzero(confusion.counts.sum(axis=1))),
    )
    return report, found

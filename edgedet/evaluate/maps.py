"""How good a segmenter is on labelled pictures: mean intersection over union."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.class_lists import BACKGROUND
from edgedet.datasets.map_dataset import MapDataset, MapRecord
from edgedet.datasets.map_labels import IGNORED, read_label_map
from edgedet.errors import DatasetError, SourceError
from edgedet.evaluate.detection_pass import Progress, silent
from edgedet.masks.class_map import ClassMap
from edgedet.pictures.image_file import read_image
from edgedet.proof.map_parity import Confusion

KIND = "edgedet-eval-maps"
"""What a file of such figures is."""
VERSION = 1


class SegmenterLike(Protocol):
    """Anything that segments a frame; :class:`edgedet.Segmenter` is one.

    >>> from edgedet.datasets import read_map_dataset
    >>> class Blind:
    ...     names = ("background", "blue", "green", "red")
    ...     def segment(self, frame):
    ...         return ClassMap(np.zeros(frame.shape[:2], np.uint8), self.names)
    >>> evaluate_maps(Blind(), read_map_dataset("maps")).ious.round(2).tolist()
    [0.91, 0.0, 0.0, 0.0]
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, by label."""

    def segment(self, frame: NDArray[np.uint8], /) -> ClassMap:
        """Say of every pixel what it is.

        Args:
            frame: uint8 [H, W, 3] BGR.

        Returns:
            Classes at the size of ``frame``.
        """


@dataclass(frozen=True)
class MapEvaluation:
    """Figures of a segmenter on labelled pictures.

    Attributes:
        names: class names, by label.
        pictures: number of them.
        confusion: pixels, by what they are (rows) and what was said of them: int64 [C, C].
        ious: intersection over union of every class; NaN of one that is nowhere.
        mean_iou: of the classes that are in the labels or were said; NaN without a pixel.
        pixel_accuracy: share of the pixels that were said right.
        ignored: share of all pixels that count for nothing (255, and classes that the segmenter does not know).
        left_out: names of the dataset's classes that the segmenter does not know.

    >>> from edgedet import Segmenter
    >>> from edgedet.datasets import read_map_dataset
    >>> with Segmenter("segmenter.onnx") as segmenter:
    ...     found = evaluate_maps(segmenter, read_map_dataset("maps"))
    >>> found.pictures, found.mean_iou > 0.9, found.left_out
    (3, True, ())
    """

    names: tuple[str, ...]
    pictures: int
    confusion: NDArray[np.int64]
    ious: NDArray[np.float64]
    mean_iou: float
    pixel_accuracy: float
    ignored: float
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON.

        Returns:
            The figures, and of every class ``name``, ``pixels`` and ``iou``; None for what is absent.
        """
        return {
            "kind": KIND,
            "version": VERSION,
            "pictures": self.pictures,
            "mean_iou": _plain(self.mean_iou),
            "pixel_accuracy": _plain(self.pixel_accuracy),
            "ignored": self.ignored,
            "left_out": list(self.left_out),
            "per_class": [
                {"name": name, "pixels": int(row.sum()), "iou": _plain(float(iou))}
                for name, row, iou in zip(self.names, self.confusion, self.ious, strict=True)
            ],
        }


def evaluate_maps(segmenter: SegmenterLike, dataset: MapDataset, *, progress: Progress = silent) -> MapEvaluation:
    """Segment every picture and compare with its labels.

    Args:
        segmenter: what is judged.
        dataset: labelled pictures.
        progress: called with (stage, pictures done, number of pictures).

    Returns:
        Figures over all pixels together.

    Raises:
        DatasetError: class numbers that nothing explains, labels of another size, or a picture that cannot be read.

    >>> from edgedet import Segmenter
    >>> from edgedet.datasets import read_map_dataset
    >>> with Segmenter("segmenter.onnx") as segmenter:
    ...     evaluate_maps(segmenter, read_map_dataset("maps")).pixel_accuracy > 0.98
    True
    """
    counting = MapScores(segmenter.names, dataset)
    for number, record in enumerate(dataset.records):
        progress("evaluating", number, len(dataset))
        counting.add(record, segmenter.segment(read_picture(record)))
    progress("evaluating", len(dataset), len(dataset))
    return counting.evaluation()


class MapScores:
    """Counts pixels, picture by picture.

    Raises:
        DatasetError: the dataset's names are none of the segmenter's.
    """

    def __init__(self, names: tuple[str, ...], dataset: MapDataset) -> None:
        self._names = names
        self._table, self._left_out = _numbering(names, dataset)
        self._confusion = Confusion(len(names))
        self._pictures = self._pixels = self._ignored = 0

    def add(self, record: MapRecord, found: ClassMap) -> None:
        """Count one picture's pixels.

        Raises:
            DatasetError: labels of another size, or numbers that nothing explains.
        """
        labels = read_label_map(record.labels)
        if labels.shape != found.labels.shape:
            raise DatasetError(
                f"{record.labels} is {labels.shape[1]}x{labels.shape[0]}, its picture {found.labels.shape[1]}x"
                f"{found.labels.shape[0]}: expected labels of every pixel"
            )
        largest = int(labels[labels != IGNORED].max(initial=0))
        if largest >= len(self._table):
            raise DatasetError(
                f"{record.labels} has the class number {largest}, and there are {len(self._table)} classes (from "
                f"0; {IGNORED} counts for nothing): these are not the labels of this segmenter's classes"
            )
        truth = np.where(labels == IGNORED, -1, self._table[np.minimum(labels, len(self._table) - 1)])
        counted = truth >= 0
        self._confusion.add(np.maximum(truth, 0), found.labels, counted.reshape(-1))
        self._pictures += 1
        self._pixels += truth.size
        self._ignored += int(truth.size - counted.sum())

    def evaluation(self) -> MapEvaluation:
        """What was counted so far."""
        confusion = self._confusion
        return MapEvaluation(
            self._names,
            self._pictures,
            confusion.counts,
            confusion.ious(),
            confusion.mean_iou(),
            confusion.pixel_accuracy(),
            self._ignored / max(self._pixels, 1),
            self._left_out,
        )


def read_picture(record: MapRecord) -> NDArray[np.uint8]:
    """The picture of a record: uint8 [H, W, 3] BGR.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return read_image(record.picture)
    except SourceError as error:
        raise DatasetError(str(error)) from error


def _numbering(names: tuple[str, ...], dataset: MapDataset) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The segmenter's label of each of the dataset's class numbers, -1 of one that it does not know; and the names
    of those."""
    if not dataset.names:
        return np.arange(len(names)), ()
    own = {_spelling(name): label for label, name in enumerate(names)}
    table = np.array([own.get(_spelling(name), -1) for name in dataset.names])
    if (table < 0).all():
        raise DatasetError(
            f"{dataset.source} has the classes {', '.join(dataset.names[:5])}, and the segmenter knows "
            f"{', '.join(names[:5])}: not one is in both; export it with --classes"
        )
    return table, tuple(name for name, label in zip(dataset.names, table, strict=True) if label < 0)


def _spelling(name: str) -> str:
    folded = "".join(letter for letter in name.casefold() if letter not in " _-")
    return "background" if name.lower().strip() in BACKGROUND else folded


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value

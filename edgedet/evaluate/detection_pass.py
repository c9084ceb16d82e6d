"""Picture by picture: decode, detect, forget."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import Dataset, ImageRecord, Problem
from edgedet.detections import Detections
from edgedet.errors import DatasetError, FrameError, SourceError
from edgedet.pictures.image_file import read_image
from edgedet.prefetch import in_order, threads_beside

Frame = NDArray[np.uint8]
Detect = Callable[[Frame], Detections]
RESULTS_AHEAD = 32
"""Detections of so many pictures may wait for their turn: pictures are matched with their labels by sixteens."""


class DetectorLike(Protocol):
    """Anything that finds objects in a frame; :class:`edgedet.Detector` is one.

    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> class Blind:
    ...     def detect(self, frame):
    ...         return Detections.empty(("blue", "green", "red"), frame.shape[:2])
    >>> evaluate(Blind(), read_dataset("photos/labels.json")).at.missed_objects
    12
    """

    def detect(self, frame: Frame) -> Detections:
        """Find objects in one frame.

        Args:
            frame: uint8 [H, W, 3] BGR.

        Returns:
            Objects, with boxes in pixels of ``frame``.
        """
        ...


@runtime_checkable
class DetectsFiles(Protocol):
    """A detector that reads the pictures itself, such as one whose work is done on other machines."""

    def detect_files(self, paths: Sequence[Path]) -> Generator[Detections | SourceError | FrameError, None, None]:
        """Detections of every picture, in order, or why it cannot be read."""
        ...


Progress = Callable[[str, int, int], None]
"""Called with (stage, pictures done, number of pictures)."""


def silent(stage: str, done: int, total: int) -> None:
    """Report progress to nobody."""


def detect_function(detector: DetectorLike | Detect) -> Detect:
    """The function behind a detector, or the function itself."""
    found = getattr(detector, "detect", None)
    return found if found is not None else detector  # type: ignore[return-value]


def require_labels(dataset: Dataset) -> None:
    """Check that there is something to judge by.

    Raises:
        DatasetError: a folder of pictures, or not one box.
    """
    if not dataset.labelled:
        why = "; ".join([f"{dataset.source} has no annotations", *dataset.notes])
        raise DatasetError(f"{why}; judging needs labelled images")
    if not dataset.box_count:
        raise DatasetError(f"{dataset.describe()}: without a single box there is nothing to find")


def run_over(
    detector: DetectorLike | Detect,
    dataset: Dataset,
    *,
    unreadable: Callable[[Problem], None] | None = None,
    progress: Progress = silent,
    stage: str = "evaluating",
) -> Iterator[tuple[int, ImageRecord, Detections]]:
    """Number, record and detections (the detector's own labels) of every picture, in order.

    Pictures are decoded ahead on other threads. Where the detector has several lanes, they detect there, too; else
    that is done here, one picture after another. ``unreadable`` is told of every picture that cannot be decoded,
    and the rest goes on.

    Raises:
        DatasetError: a picture that cannot be decoded, with nobody to tell it to.
    """
    detect = detect_function(detector)
    with closing(_results(detector, dataset)) as results:
        for index, (record, result) in enumerate(zip(dataset.images, results, strict=True)):
            progress(stage, index, len(dataset))
            if isinstance(result, DatasetError):
                if unreadable is None:
                    raise result
                unreadable(Problem(record.path.name, str(result.__cause__), "image dropped"))
                continue
            yield index, record, result if isinstance(result, Detections) else detect(result)
    progress(stage, len(dataset), len(dataset))


def _results(
    detector: DetectorLike | Detect, dataset: Dataset
) -> Generator[Detections | Frame | DatasetError, None, None]:
    """Results of every picture, in order: its detections, or its pixels where they are still to be detected in."""
    if isinstance(detector, DetectsFiles):
        return _elsewhere(detector, dataset)
    lanes = getattr(detector, "lanes", ())
    if len(lanes) < 2:
        return in_order(dataset.images, [_reading(dataset)] * threads_beside())
    works = [_reading(dataset, lane.detect) for lane in lanes]
    # Detections may pile up while others are being matched. Pictures may not.
    return in_order(dataset.images, works, room=RESULTS_AHEAD + len(lanes))


def _elsewhere(detector: DetectsFiles, dataset: Dataset) -> Generator[Detections | DatasetError, None, None]:
    with closing(detector.detect_files([record.path for record in dataset.images])) as answers:
        for answer in answers:
            if isinstance(answer, FrameError):
                raise answer
            yield answer if isinstance(answer, Detections) else _unreadable(answer, dataset)


def _reading(
    dataset: Dataset, detect: Detect | None = None
) -> Callable[[ImageRecord], Frame | Detections | DatasetError]:
    """What a thread does for a picture: decodes it and, where it has ``detect`` for itself, detects.

    A picture that cannot be decoded is the error.
    """

    def work(record: ImageRecord) -> Frame | Detections | DatasetError:
        try:
            frame = read_record(record, dataset)
        except DatasetError as error:
            return error
        return frame if detect is None else detect(frame)

    return work


def read_record(record: ImageRecord, dataset: Dataset) -> Frame:
    """The picture of one of the dataset's records: uint8 [H, W, 3], BGR.

    Raises:
        DatasetError: it cannot be decoded.
    """
    try:
        return read_image(record.path)
    except SourceError as error:
        raise _unreadable(error, dataset) from error


def _unreadable(error: SourceError, dataset: Dataset) -> DatasetError:
    told = DatasetError(f"{error}; or take it out of {dataset.source}")
    told.__cause__ = error
    return told

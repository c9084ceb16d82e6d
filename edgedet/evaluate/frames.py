"""One frame at a time: decode, detect, forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.detections import Detections
from edgedet.errors import DatasetError

Frame = NDArray[np.uint8]
Detect = Callable[[Frame], Detections]


class DetectorLike(Protocol):
    """Whatever finds objects in a frame (uint8 [H, W, 3], BGR); ``edgedet.Detector`` is one."""

    def detect(self, frame: Frame) -> Detections:
        """What is in the frame."""
        ...


Progress = Callable[[str, int, int], None]


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


def read_frame(path: Path) -> Frame | None:
    """The picture as OpenCV decodes it (uint8 [H, W, 3], BGR, upright), or None."""
    import cv2

    frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if frame is None else np.asarray(frame, np.uint8)


def run_over(
    detector: DetectorLike | Detect, dataset: Dataset, *, progress: Progress = silent, stage: str = "evaluating"
) -> Iterator[tuple[int, ImageRecord, Detections]]:
    """Number, record and detections (the detector's own labels) of every picture, one at a time.

    Raises:
        DatasetError: a picture that cannot be decoded.
    """
    detect = detect_function(detector)
    for index, record in enumerate(dataset.images):
        progress(stage, index, len(dataset))
        frame = read_frame(record.path)
        if frame is None:
            raise DatasetError(f"{record.path} cannot be decoded although its header is sound; remove or mend it")
        yield index, record, detect(frame)
    progress(stage, len(dataset), len(dataset))

"""One frame at a time: decode, detect, speak the dataset's labels, forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.detections import Detections
from edgedet.errors import DatasetError, UsageError

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
        raise DatasetError(f"{dataset.source} has no annotations; judging needs labelled images")
    if not dataset.box_count:
        raise DatasetError(f"{dataset.describe()}: without a single box there is nothing to find")


def shared_classes(dataset_names: Sequence[str], detector_names: Sequence[str]) -> tuple[str, ...]:
    """The dataset's classes that the detector knows, in the dataset's order; letter case does not matter.

    >>> shared_classes(("cat", "Cell Phone", "ufo"), ("cell phone", "cat"))
    ('cat', 'Cell Phone')

    Raises:
        UsageError: no class in common.
    """
    known = {_plain(name) for name in detector_names}
    shared = tuple(name for name in dataset_names if _plain(name) in known)
    if not shared:
        raise UsageError(
            f"detector and dataset share no class: the detector finds {_some(detector_names)}, the dataset has "
            f"{_some(dataset_names)}; export with --classes, or choose another dataset"
        )
    return shared


def relabel(detections: Detections, names: Sequence[str]) -> Detections:
    """The detections whose class is one of ``names``, with labels that index ``names``."""
    places = {_plain(name): label for label, name in enumerate(names)}
    table = np.array([places.get(_plain(name), -1) for name in detections.names], np.int32)
    labels = table[detections.labels] if len(detections) else detections.labels
    kept = labels >= 0
    return Detections(
        detections.boxes[kept], detections.scores[kept], labels[kept], tuple(names), detections.frame_size
    )


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


def same_name(first: str, second: str) -> bool:
    """Whether two class names mean the same; letter case, spaces and underscores do not matter.

    >>> same_name("cell_phone", "Cell Phone")
    True
    """
    return _plain(first) == _plain(second)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

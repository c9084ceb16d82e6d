"""The pictures with most errors, with missed objects and false boxes drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import Dataset
from edgedet.detections import Detections
from edgedet.errors import OutputError
from edgedet.evaluate.class_match import relabel
from edgedet.evaluate.detection_pass import Detect, DetectorLike, detect_function
from edgedet.evaluate.evaluation import Evaluation
from edgedet.evaluate.matching import State, counted_objects, match_image
from edgedet.files import atomic_path
from edgedet.pictures.image_file import read_image

Colour = tuple[int, int, int]
# Blue and orange stay apart for most colour-blind eyes, which red and green do not; BGR.
FOUND: Colour = (200, 160, 60)
MISSED: Colour = (60, 60, 235)
EXTRA: Colour = (0, 165, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def save_worst(
    detector: DetectorLike | Detect, dataset: Dataset, evaluation: Evaluation, folder: Path, *, count: int
) -> dict[int, Path]:
    """Draw the worst pictures: found objects in blue, missed ones in red, false boxes in orange.

    The detector looks at them again, since an evaluation keeps no boxes. Pictures without errors are not drawn.

    Args:
        detector: the one that was judged.
        dataset: the one it was judged on.
        evaluation: what :func:`evaluate` gave.
        folder: where the JPEG files go.
        count: limit of pictures.

    Returns:
        Number of the picture in the dataset to the file that was written, worst first.

    Raises:
        OutputError: the folder cannot be written.
        SourceError: a picture can no longer be read.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> detector, dataset = Detector("model.onnx"), read_dataset("photos/labels.json")
    >>> result = evaluate(detector, dataset, threshold=0.9)
    >>> [path.name for path in save_worst(detector, dataset, result, Path("worst"), count=2).values()]
    ['01_00.jpg', '02_01.jpg']
    """
    detect = detect_function(detector)
    judged = dataset.select_classes(evaluation.names)
    saved: dict[int, Path] = {}
    worst = [entry for entry in evaluation.images[:count] if entry.errors]
    for rank, entry in enumerate(worst, 1):
        record = judged.images[entry.number]
        frame = read_image(record.path)
        found = _found(detect, frame, judged.names, evaluation)
        states, seen = match_image(record, found)
        boxes = [(box, FOUND, "") for box in found.boxes[states == State.TRUE]]
        missed = counted_objects(record) & ~seen
        boxes += [
            (box, MISSED, f"missed {judged.names[label]}")
            for box, label in zip(record.boxes[missed], record.labels[missed], strict=True)
        ]
        boxes += _false_boxes(found[states == State.FALSE])
        title = f"{entry.caption}, boxes from {evaluation.at.threshold:.2f}"
        path = folder / f"{rank:02d}_{record.path.stem}.jpg"
        _save(path, _drawn(frame, boxes, title))
        saved[entry.number] = path
    return saved


def save_false_alarms(
    detector: DetectorLike | Detect, negatives: Dataset, evaluation: Evaluation, folder: Path, *, count: int
) -> dict[int, Path]:
    """Draw the object-free pictures with the surest false boxes, those in orange.

    Args:
        detector: the one that was judged.
        negatives: the ones it was judged on.
        evaluation: what :func:`evaluate` gave.
        folder: where the JPEG files go.
        count: limit of pictures.

    Returns:
        Number of the picture among the negatives to the file that was written, the surest first.

    Raises:
        OutputError: the folder cannot be written.
        SourceError: a picture can no longer be read.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> detector, dataset = Detector("model.onnx"), read_dataset("photos/labels.json")
    >>> negatives = dataset.select_classes([])
    >>> result = evaluate(detector, dataset, negatives=negatives, threshold=0.5)
    >>> saved = save_false_alarms(detector, negatives, result, Path("worst"), count=1)
    >>> [path.name for path in saved.values()]
    ['negative_01_00.jpg']
    """
    detect = detect_function(detector)
    saved: dict[int, Path] = {}
    for rank, alarm in enumerate(evaluation.false_alarms[:count], 1):
        frame = read_image(negatives.images[alarm.number].path)
        boxes = _false_boxes(_found(detect, frame, evaluation.names, evaluation))
        path = folder / f"negative_{rank:02d}_{Path(alarm.path).stem}.jpg"
        _save(path, _drawn(frame, boxes, f"{alarm.caption}, from {evaluation.at.threshold:.2f}"))
        saved[alarm.number] = path
    return saved


Mark = tuple[NDArray[np.floating], Colour, str]
"""A box x1, y1, x2, y2, its colour, and the words above it."""


def _found(detect: Detect, frame: NDArray[np.uint8], names: Sequence[str], evaluation: Evaluation) -> Detections:
    """What is found in a frame at the working point, labels of ``names``."""
    found = relabel(detect(frame), tuple(names))
    return found[found.scores >= np.float32(evaluation.at.threshold)]


def _false_boxes(found: Detections) -> list[Mark]:
    return [(box, EXTRA, f"{name} {score:.2f}?") for box, score, _, name in found]


def _save(path: Path, picture: NDArray[np.uint8]) -> None:
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), picture):
            raise OutputError(f"cannot write {path}; is there room on the disk?")


def _drawn(frame: NDArray[np.uint8], boxes: Sequence[Mark], title: str) -> NDArray[np.uint8]:
    side = max(min(frame.shape[:2]), 1)
    line, scale = max(round(side / 270), 1), max(side / 1100, 0.38)
    bar = round(34 * scale) + 8
    picture = np.vstack([np.zeros((bar, frame.shape[1], 3), np.uint8), frame])
    cv2.putText(picture, title, (6, bar - 8), FONT, scale, (255, 255, 255), line, cv2.LINE_AA)
    for box, colour, _ in boxes:
        left, top, right, bottom = (round(float(value)) for value in box)
        cv2.rectangle(picture, (left, top + bar), (right, bottom + bar), colour, line, cv2.LINE_AA)
    # Above all boxes, or a later one would cross out the words.
    for box, colour, text in boxes:
        if text:
            _tag(picture, text, (round(float(box[0])), round(float(box[1])) + bar), colour, scale=scale, floor=bar)
    return picture


def _tag(
    picture: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour, *, scale: float, floor: int
) -> None:
    """Words on a plate above a box's corner, moved to lie inside the picture and below the title."""
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, 1)
    left = max(min(corner[0], picture.shape[1] - width - 4), 0)
    top = max(corner[1] - height - baseline - 2, floor)
    cv2.rectangle(picture, (left, top), (left + width + 4, top + height + baseline), colour, cv2.FILLED)
    cv2.putText(picture, text, (left + 2, top + height), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)

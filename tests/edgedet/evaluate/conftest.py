"""Labelled pictures and detectors that answer by rote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.datasets import Dataset, ImageRecord
from edgedet.datasets.rows import ProblemLog, Row, build_record
from edgedet.detections import Detections

NAMES = ("cat", "dog")
Objects = Sequence[tuple[int, tuple[float, float, float, float]]]
MakeDataset = Callable[..., Dataset]


def make_record(
    path: Path, objects: Objects, *, crowd: Sequence[int] = (), difficult: Sequence[int] = ()
) -> ImageRecord:
    rows = [
        Row("made", label, *box, crowd=index in crowd, difficult=index in difficult)
        for index, (label, box) in enumerate(objects)
    ]
    return build_record(path, (100, 80), rows, ProblemLog())


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """``make_dataset([objects of the first picture], …)`` of 100 × 80 pixels; picture i is of colour i."""

    def make(*pictures: Objects, names: tuple[str, ...] = NAMES, folder: str = "set") -> Dataset:
        (tmp_path / folder).mkdir()
        records = []
        for index, objects in enumerate(pictures):
            path = tmp_path / folder / f"{index}.png"
            cv2.imwrite(str(path), np.full((80, 100, 3), index, np.uint8))
            records.append(make_record(path, objects))
        return Dataset(names, tuple(records), "coco", "made")

    return make


@pytest.fixture
def rote() -> Callable[..., Callable[[np.ndarray], Detections]]:
    """``rote([(label, score, box), …], …)``: a detector that says the i-th list to a picture of colour i."""

    def make(*answers: Sequence[tuple[int, float, tuple[float, ...]]], names: tuple[str, ...] = NAMES):  # type: ignore[no-untyped-def]
        def detect(frame: np.ndarray) -> Detections:
            said = answers[int(frame[0, 0, 0])]
            boxes = np.array([box for _, _, box in said], np.float32).reshape(-1, 4)
            scores = np.array([score for _, score, _ in said], np.float32)
            labels = np.array([label for label, _, _ in said], np.int32)
            return Detections(boxes, scores, labels, names, (frame.shape[0], frame.shape[1]))

        return detect

    return make

"""Object-free pictures: how often each kind of them raises a false alarm, and which do, for the next training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgedet.datasets.convert import Pictures, convert
from edgedet.datasets.dataset import Dataset
from edgedet.errors import DatasetError
from edgedet.evaluate.intervals import Rate

HERE = "."


@dataclass(frozen=True)
class NegativeGroup:
    """The object-free pictures of one folder.

    Attributes:
        name: folder, directly below the one that was given; ``.`` for pictures that lie in that itself.
        false_alarms: share of the pictures with a box, with its interval: Wilson's, and of clips by clips too.

    >>> from edgedet.evaluate.intervals import share
    >>> NegativeGroup("phones", share([1, 0, 0, 0], [1, 1, 1, 1], unit="image")).false_alarms.value
    0.25
    """

    name: str
    false_alarms: Rate


@dataclass(frozen=True)
class FalseAlarm:
    """An object-free picture with a box.

    Attributes:
        number: place among the object-free pictures that were given, from 0.
        path: file of the picture.
        group: name of its :class:`NegativeGroup`.
        score: of its best box.
        boxes: number of boxes that score at least the threshold.

    >>> FalseAlarm(4, "empty/phones/4.jpg", "phones", 0.912, 2).caption
    'false alarm of phones: 0.91, 2 boxes'
    """

    number: int
    path: str
    group: str
    score: float
    boxes: int

    @property
    def caption(self) -> str:
        """What is wrong with it, for people."""
        kind = "" if self.group == HERE else f" of {self.group}"
        return f"false alarm{kind}: {self.score:.2f}, {self.boxes} box{'es' * (self.boxes != 1)}"


def group_names(negatives: Dataset) -> tuple[str, ...]:
    """For each picture the folder that it lies in or below, directly below the folder of them all."""
    paths = [record.path for record in negatives.images]
    given = Path(negatives.source)
    home = given if given.is_dir() else Path(os.path.commonpath([path.parent for path in paths]))
    names = []
    for path in paths:
        inside = path.relative_to(home).parts if path.is_relative_to(home) else path.parts[-2:]
        names.append(inside[0] if len(inside) > 1 else HERE)
    return tuple(names)


def write_false_alarms(
    negatives: Dataset,
    false_alarms: Sequence[FalseAlarm],
    folder: Path,
    *,
    names: Sequence[str],
    pictures: Pictures = "copy",
) -> int:
    """Write the pictures that raised a false alarm as a COCO dataset without a single box, to be trained on.

    Args:
        negatives: those that were judged.
        false_alarms: ``Evaluation.false_alarms``, or some of them.
        folder: new folder; ``instances_train.json`` and ``train/`` go there.
        names: class names of the categories, those of the set it is to be trained with.
        pictures: ``copy`` or ``link``.

    Returns:
        Number of pictures that were written.

    Raises:
        DatasetError: there is none to write.
        OutputError: the folder holds something, or cannot be written.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> detector, dataset = Detector("model.onnx"), read_dataset("photos/labels.json")
    >>> negatives = dataset.select_classes([])
    >>> result = evaluate(detector, dataset, negatives=negatives, threshold=0.5)
    >>> write_false_alarms(negatives, result.false_alarms, Path("hard"), names=detector.names)
    12
    """
    if not false_alarms:
        raise DatasetError("no picture raised a false alarm; there is nothing to write")
    records = [negatives.images[alarm.number] for alarm in sorted(false_alarms, key=lambda alarm: alarm.number)]
    # Of other classes they may hold boxes; whoever trains on these pictures has the truth of all or of none.
    free = tuple(replace(record.keep(np.zeros(len(record), np.bool_)), split="", clip=None) for record in records)
    dataset = Dataset(tuple(names), free, "coco", negatives.source)
    return sum(convert(dataset, folder, to="coco", pictures=pictures).images.values())

"""What a pass says of each class, and of each picture."""

from __future__ import annotations

import numpy as np

from edgedet.datasets.dataset import Dataset
from edgedet.evaluate.average_precision import ranked_average_precision
from edgedet.evaluate.class_and_image_results import ClassPrecision, ImageErrors
from edgedet.evaluate.collector import Collector
from edgedet.evaluate.matching import State
from edgedet.evaluate.voc import voc_average_precision


def class_precision(collector: Collector, label: int) -> ClassPrecision:
    """The average precisions of one class at IoU 0.5."""
    rows = collector.rows.where("label", label)
    rows = rows[rows["state"] != State.IGNORED]
    scores, correct, objects = rows["score"], rows["state"] == State.TRUE, int(collector.objects[label])
    return ClassPrecision(
        name=collector.names[label],
        voc_11_point=voc_average_precision(scores, correct, objects, rule="11-point"),
        voc_area=voc_average_precision(scores, correct, objects, rule="area"),
        ranked=ranked_average_precision(correct, scores, total=objects),
    )


def image_errors(collector: Collector, dataset: Dataset, threshold: float) -> tuple[ImageErrors, ...]:
    """Errors of every picture of the dataset at a threshold, worst first."""
    rows = collector.rows.all()
    kept = rows[rows["score"] >= np.float32(threshold)]
    numbers = collector.numbers
    found = np.bincount(kept["image"][kept["state"] == State.TRUE], minlength=len(numbers))
    false = np.bincount(kept["image"][kept["state"] == State.FALSE], minlength=len(numbers))
    missed = np.array(collector.to_find[: len(numbers)]) - found
    order = np.lexsort((np.arange(len(numbers)), -(missed + false)))
    return tuple(
        ImageErrors(numbers[i], str(dataset.images[numbers[i]].path), int(missed[i]), int(false[i])) for i in order
    )

"""What an evaluation says of one class, and of one image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassPrecision:
    """Average precision of one class at IoU 0.5 by three definitions, in [0, 1].

    Attributes:
        name: class name.
        voc_11_point: of Pascal VOC 2007, 11 points of recall.
        voc_area: of Pascal VOC 2010, area under the curve.
        ranked: of scikit-learn's ``average_precision_score``.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> result = evaluate(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> [(entry.name, entry.voc_area) for entry in result.classes]
    [('blue', 1.0), ('green', 1.0), ('red', 1.0)]
    """

    name: str
    voc_11_point: float
    voc_area: float
    ranked: float


@dataclass(frozen=True)
class ImageErrors:
    """Errors on one picture at the working point.

    Attributes:
        number: place in the dataset, from 0.
        path: file of the picture.
        missed: number of objects that are not found.
        false: number of boxes without an object.

    >>> entry = ImageErrors(7, "photos/07.png", missed=2, false=1)
    >>> entry.errors, entry.caption
    (3, '2 missed, 1 false')
    """

    number: int
    path: str
    missed: int
    false: int

    @property
    def errors(self) -> int:
        """Number of missed objects and false boxes."""
        return self.missed + self.false

    @property
    def caption(self) -> str:
        """Both numbers, for people."""
        return f"{self.missed} missed, {self.false} false"

"""Who says how good a segmenter's graph is: pictures with labels of every pixel, or the float graph itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.datasets.map_dataset import MapDataset
from edgedet.evaluate.maps import MapScores, read_picture
from edgedet.geometry import ResizeGeometry
from edgedet.masks.class_map import ClassMap
from edgedet.masks.class_map_reader import ClassMapReader
from edgedet.onnx_graph.network import Array
from edgedet.proof.map_parity import Confusion

from .executor import in_lanes
from .judge import Run
from .labelled_frames import LabelledPictures
from .measurement_cache import digest_of, digest_of_each

SURE = 0.5
"""Share that softmax gives a pixel's class from which the float graph is taken for the truth there. Along outlines
no class has as much, and which of two it is there is a matter of rounding."""


class MapReader:
    """Turns prepared tensors into class maps of the whole canvas, with a graph given as a function.

    ``scores``: whether each pixel's share is wanted.
    """

    def __init__(self, card: ModelCard, outputs: Sequence[str], *, scores: bool = False) -> None:
        self._read = ClassMapReader(card, outputs, scores=scores)
        self._batch = card.input.batch
        height, width = card.input.height, card.input.width
        self._canvas = ResizeGeometry(height, width, height, width, 0, 0, 1.0, 1.0)

    def __call__(self, run: Run, tensors: Sequence[Array]) -> Iterator[ClassMap]:
        """Maps of every place of every input tensor, in order."""
        for outputs in in_lanes(run, tensors):
            for slot in range(self._batch):
                yield self._read(outputs, self._canvas, slot)


def map_likeness(reference: Sequence[ClassMap], candidate: Sequence[ClassMap]) -> float | None:
    """Share of pixels with the same class; None of no pixel."""
    pixels = sum(each.labels.size for each in reference)
    equal = sum(
        int(np.count_nonzero(ours.labels == theirs.labels))
        for ours, theirs in zip(reference, candidate, strict=True)
    )
    return equal / pixels if pixels else None


class MapAgreementJudge:
    """How far a graph says the same of the calibration frames as the float graph, for want of labels.

    The figure is the mean intersection over union with the float graph's classes, of the pixels of which that is
    sure (:data:`SURE`).

    Args:
        card: model card of the float graph.
        frames: prepared inputs.
        outputs: names of the graph's outputs.
        reference: the float graph as a function of one prepared input, to its outputs by name.

    Attributes:
        name: what the figure is, for the model card.
        digest: identifies the frames.
        nothing: why there is no figure where there is none.
        unchanged: the float graph's own figure; None where there is nothing to judge by.
    """

    name = "mean IoU with the fp32 graph's classes, where it is sure of them"

    def __init__(self, card: ModelCard, frames: Sequence[Array], outputs: Sequence[str], reference: Run) -> None:
        self._reader = MapReader(card, outputs)
        self._frames = frames
        self._names = card.names
        self._reference: list[tuple[Array, Array]] = []
        for found in MapReader(card, outputs, scores=True)(reference, frames):
            assert found.scores is not None, "they were asked for"
            self._reference.append((found.labels, found.scores >= SURE))
        present = {int(label) for labels, sure in self._reference for label in np.unique(labels[sure])}
        self.nothing = (
            f"the fp32 graph is sure of {'one class' if present else 'no class'} alone in {len(self._reference)} "
            "calibration images"
        )
        self.unchanged = 1.0 if len(present) > 1 else None
        self.digest = digest_of_each(chain(("maps", len(frames)), frames))

    def __call__(self, run: Run) -> float | None:
        """Judge one graph.

        Args:
            run: the graph, as a function like ``reference``.

        Returns:
            The figure in [0, 1], larger is better; None where there is nothing to tell apart.
        """
        if self.unchanged is None:
            return None
        confusion = Confusion(len(self._names))
        for (labels, sure), found in zip(self._reference, self._reader(run, self._frames), strict=True):
            confusion.add(labels, found.labels, sure)
        return confusion.mean_iou()


class MeanIouJudge:
    """Mean IoU on labelled pictures, prepared and read exactly as on the device.

    Args:
        card: model card of the graphs to judge.
        dataset: pictures with labels of every pixel.
        outputs: names of the graphs' outputs.

    Attributes:
        name: what the figure is, for the model card.
        digest: identifies pictures, labels and settings.
        nothing: why there is no figure where there is none.

    Raises:
        OSError: a picture of the dataset is not there.
    """

    name = "mean IoU"
    nothing = "the evaluation images have no pixel of the segmenter's classes"

    def __init__(self, card: ModelCard, dataset: MapDataset, outputs: Sequence[str]) -> None:
        self._card = card
        self._dataset = dataset
        self._pictures = LabelledPictures(card, lambda number: read_picture(dataset.records[number]), len(dataset))
        self._read = ClassMapReader(card, outputs)
        parts: list[object] = [card.to_json(), dataset.names]
        for path in (path for record in dataset.records for path in (record.picture, record.labels)):
            status = path.stat()
            parts += [str(path), status.st_size, status.st_mtime_ns]
        self.digest = digest_of("mean IoU", *parts)

    def __len__(self) -> int:
        """Size of the dataset.

        Returns:
            Number of images that one figure takes.
        """
        return len(self._dataset)

    def __call__(self, run: Run) -> float | None:
        """Judge one graph.

        Args:
            run: a graph as a function of one prepared input, to its outputs by name.

        Returns:
            Mean IoU in [0, 1]; None where not one pixel has a label.

        Raises:
            DatasetError: labels that are not the segmenter's, or a picture that cannot be decoded.
        """
        scores = MapScores(self._card.names, self._dataset)
        for record, (outputs, place) in zip(self._dataset.records, self._pictures.through(run), strict=True):
            scores.add(record, self._read(outputs, place, 0))
        figure = scores.evaluation().mean_iou
        return None if math.isnan(figure) else figure

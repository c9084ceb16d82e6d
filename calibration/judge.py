"""Who says how good a graph is: labelled images, or the float graph itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON
from edgedet.detections import Detections
from edgedet.geometry import ResizeGeometry
from edgedet.onnx_graph.network import Array
from edgedet.postprocess import Postprocessor, settle_thresholds
from edgedet.proof.agreement import CONFIDENT, found_again

from .executor import in_lanes
from .labelled_frames import LabelledPictures
from .measurement_cache import digest_of, digest_of_each
from .moved_boxes import cost_of_keypoints, cost_of_moves, cost_of_outlines, moves

if TYPE_CHECKING:
    from edgedet.datasets import Dataset

Run = Callable[[Array], dict[str, Array]]
"""A graph: prepared input tensor to outputs by name."""


SURE = 0.5
"""Score that most of what a detector is confident of has where it sees objects; on noise few things score it."""


class Judge(Protocol):
    """Measures how good a graph is: anything with these attributes that can be called, such as :class:`MapJudge`.

    Attributes:
        name: what the figure is, for the model card.
        digest: identifies images, labels and settings behind the figure.
        nothing: why there is no figure where there is none.

    >>> import numpy as np
    >>> import onnx
    >>> from edgedet import Detector
    >>> from edgedet.calibration import CalibrationFrames, pictures_of
    >>> from edgedet.calibration.executor import GraphRunner
    >>> frames = CalibrationFrames(pictures_of("photos/*.png"), Detector("model.onnx").card)
    >>> class Found:
    ...     name, digest, nothing = "share of photos with a box", "photos", "there are no photos"
    ...     def __call__(self, run):
    ...         return float(np.mean([run(frame)["count"][0] for frame in frames]))
    >>> Found()(GraphRunner(onnx.load("model.onnx")))
    1.0
    """

    name: str
    digest: str
    nothing: str

    def __call__(self, run: Run) -> float | None:
        """Judge one graph.

        Args:
            run: a graph as a function of one prepared input, to its outputs by name, as
                :class:`edgedet.calibration.executor.GraphRunner` is one.

        Returns:
            The figure in [0, 1], larger is better; None where the images have nothing in them to judge by.
        """


@runtime_checkable
class ComparingJudge(Judge, Protocol):
    """A judge that compares with the float graph, which it has run already."""

    unchanged: float | None
    """The float graph's own figure; None where there is nothing to judge by."""


class Reader:
    """Turns prepared tensors into detections in canvas pixels, with a graph given as a function."""

    def __init__(self, card: ModelCard, outputs: Sequence[str]) -> None:
        self._post = Postprocessor(card, settle_thresholds(card), tuple(outputs))
        self._batch = card.input.batch
        height, width = card.input.height, card.input.width
        self._canvas = ResizeGeometry(height, width, height, width, 0, 0, 1.0, 1.0)

    def __call__(self, run: Run, tensors: Sequence[Array]) -> Iterator[Detections]:
        """Detections of every place of every input tensor, in order."""
        for outputs in in_lanes(run, tensors):
            yield from self.read(outputs)

    def read(self, outputs: dict[str, Array]) -> Iterator[Detections]:
        """Detections of every place of one run."""
        for slot in range(self._batch):
            yield self.detections(outputs, slot)

    def detections(self, outputs: dict[str, Array], slot: int) -> Detections:
        """Detections in one place of the batch."""
        return self._post(outputs, self._canvas, slot)


class AgreementJudge:
    """How much of what the float graph detects is detected again, for want of labels.

    The figure is the average precision at IoU 0.5 with the float graph's confident detections as ground truth, mean
    over classes (:func:`edgedet.proof.agreement.found_again`), less what it costs that boxes have moved
    (:func:`edgedet.calibration.moved_boxes.cost_of_moves`), which average precision there does not see; or, where
    there are masks or keypoints and that is more, what it costs that outlines have changed or keypoints moved.

    Args:
        card: model card of the float graph.
        frames: prepared inputs, each of the graph's input shape and dtype.
        outputs: names of the graph's outputs.
        reference: the float graph as a function of one prepared input, to its outputs by name.

    Attributes:
        name: what the figure is, for the model card.
        digest: identifies the frames.
        nothing: why there is no figure where there is none.
        confident: number of detections of the float graph there are to find again: those that score 0.3.
        sure: number of those that score 0.5.
        unchanged: the float graph's own figure; None where there is nothing to judge by.

    >>> import numpy as np
    >>> import onnx
    >>> from edgedet import Detector
    >>> from edgedet.calibration import CalibrationFrames, pictures_of
    >>> from edgedet.calibration.executor import GraphRunner
    >>> card, run = Detector("model.onnx").card, GraphRunner(onnx.load("model.onnx"))
    >>> frames = CalibrationFrames(pictures_of("photos/*.png"), card)
    >>> judge = AgreementJudge(card, frames, ["boxes", "scores", "labels", "count"], run)
    >>> judge.confident, judge(run), judge(lambda frame: run(np.zeros_like(frame)))
    (12, 1.0, 0.0)
    """

    name = "AP50 against the fp32 graph's detections, less what moved boxes cost"

    def __init__(self, card: ModelCard, frames: Sequence[Array], outputs: Sequence[str], reference: Run) -> None:
        self._reader = Reader(card, outputs)
        self._frames = frames
        self._reference = list(self._reader(reference, frames))
        self.confident = sum(int((found.scores >= CONFIDENT).sum()) for found in self._reference)
        self.sure = sum(int((found.scores >= SURE).sum()) for found in self._reference)
        self.nothing = (
            f"the fp32 graph finds nothing that scores {CONFIDENT:g} or more in {len(self._reference)} calibration "
            "images"
        )
        self.unchanged = found_again(self._reference, self._reference)
        self.digest = digest_of_each(chain(("agreement", len(frames)), frames))

    def __call__(self, run: Run) -> float | None:
        """Judge one graph.

        Args:
            run: the graph, as a function like ``reference``.

        Returns:
            The figure in [0, 1], larger is better; None where the float graph is confident of nothing.
        """
        found = list(self._reader(run, self._frames))
        again = found_again(self._reference, found)
        if again is None:
            return None
        cost = cost_of_moves(moves(self._reference, found, least=CONFIDENT))
        outlines = cost_of_outlines(self._reference, found, least=CONFIDENT)
        keypoints = cost_of_keypoints(self._reference, found, least=CONFIDENT)
        return max(again - max(cost, outlines, keypoints), 0.0)


class MapJudge:
    """COCO mAP on a labelled dataset, of frames prepared and read exactly as on the device.

    Args:
        card: model card of the graphs to judge.
        dataset: labelled pictures, whose labels are numbered as ``card.names`` are.
        outputs: names of the graphs' outputs.

    Attributes:
        name: what the figure is, for the model card.
        digest: identifies pictures, labels and settings.
        nothing: why there is no figure where there is none.

    Raises:
        OSError: a picture of the dataset is not there.

    >>> import onnx
    >>> from edgedet import Detector
    >>> from edgedet.calibration.executor import GraphRunner
    >>> from edgedet.datasets import read_dataset
    >>> card, dataset = Detector("model.onnx").card, read_dataset("photos/labels.json")
    >>> judge = MapJudge(card, dataset, ["boxes", "scores", "labels", "count"])
    >>> len(judge), judge(GraphRunner(onnx.load("model.onnx")))
    (12, 1.0)
    """

    name = "mAP"
    nothing = "the evaluation images hold no object of the detector's classes"

    def __init__(self, card: ModelCard, dataset: Dataset, outputs: Sequence[str]) -> None:
        self._card = card
        self._dataset = dataset
        self._pictures = LabelledPictures(card, self._frame, len(dataset))
        self._post = Postprocessor(card, settle_thresholds(card), tuple(outputs))
        self._of: Literal["boxes", "masks", "keypoints"] = "boxes"
        if card.output.masks is not None:
            from edgedet.evaluate.coco_iou_types import why_no_outlines

            # Masks lie in their boxes, so what costs boxes costs masks, too.
            self._of = "boxes" if why_no_outlines(dataset) else "masks"
            self.name = "mAP of masks" if self._of == "masks" else "mAP of boxes; the labels have no outlines"
        if card.output.keypoints is not None:
            has_own = (
                dataset.skeleton is not None and dataset.skeleton.names == card.output.keypoints.skeleton.names
            )
            judged = has_own and card.output.keypoints.skeleton.names == COCO_PERSON.names
            self._of = "keypoints" if judged else "boxes"
            self.name = "mAP of keypoints" if judged else "mAP of boxes; the labels have no keypoints of COCO's"
        parts: list[Any] = [card.to_json()]
        for image in dataset.images:
            status = image.path.stat()
            parts += [str(image.path), status.st_size, status.st_mtime_ns, image.boxes, image.labels]
            if self._of == "masks":
                parts.append(json.dumps(image.outlines))
            if self._of == "keypoints":
                parts.append(image.keypoints)
        self.digest = digest_of("map", *parts)

    def __len__(self) -> int:
        """Size of the dataset.

        Returns:
            Number of images that one figure takes.
        """
        return len(self._dataset)

    def __call__(self, run: Run) -> float | None:
        """Judge one graph.

        Args:
            run: a graph as a function of one prepared input, to its outputs by name, as
                :class:`edgedet.calibration.executor.GraphRunner` is one.

        Returns:
            mAP at IoU 0.50 to 0.95, in [0, 1], of masks or keypoints where the detector and the labels have them;
            None where no class has an object.

        Raises:
            DatasetError: the dataset has no box, or a picture that cannot be decoded.
        """
        from edgedet.evaluate.coco import coco_metrics, keypoint_metrics
        from edgedet.evaluate.detection_pass import require_labels

        require_labels(self._dataset)
        found = (self._post(outputs, place, 0) for outputs, place in self._pictures.through(run))
        if self._of == "keypoints":
            figure = float(keypoint_metrics(found, self._dataset).map)
        else:
            figure = float(coco_metrics(found, self._dataset, of=self._of).map)
        return None if math.isnan(figure) else figure

    def _frame(self, number: int) -> Any:
        from edgedet.evaluate.detection_pass import read_record

        return read_record(self._dataset.images[number], self._dataset)

"""What INT8 costs, told from made pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.onnx_graph.network import Array
from edgedet.proof.agreement import CONFIDENT, average_precisions

from .judge import Reader, Run
from .measurement_cache import digest_of_each
from .moved_boxes import cost_of_drift, moves

ENOUGH = 32
"""Detections to find again; where fewer are confident, as many of the best are taken for the truth."""
UNSURE = 1 / 6
"""Share of the score of a truth from which a detection may be found or not."""
LESS_ON_REAL = 1 / 3
"""mAP lost on real pictures, of what is lost on made ones: the largest share that was measured. Faster R-CNN
MobileNetV3-320 of blood cells lost 0.0046 of mAP where this average precision lost 0.038, and 0.0524 where it lost
0.164; SSDLite and YOLOX-Nano lost nothing of either. What a detector finds in made pictures are things it never
saw, near its thresholds, and so it takes less to lose them."""


class MadeJudge:
    """How much of what the float graph finds in made pictures is found again, as a share of what that tells of mAP.

    Args:
        card: model card of the float graph.
        frames: made pictures, prepared, each of the graph's input shape and dtype: ``held_out`` of
            :class:`MadeFrames`.
        outputs: names of the graph's outputs.
        reference: the float graph as a function of one prepared input, to its outputs by name.

    Attributes:
        name: what the figure is, for the model card.
        digest: identifies the frames.
        nothing: why there is no figure where there is none.
        level: score from which the float graph's detections are the truth, 0.3, or less where too few score that.
        truths: number of those detections.
        unchanged: the float graph's own figure, 1.0; None where there is nothing to judge by.

    >>> import onnx
    >>> from edgedet import Detector
    >>> from edgedet.calibration import CalibrationFrames, Pictures
    >>> from edgedet.calibration.executor import GraphRunner
    >>> from edgedet.calibration.procedural import made_picture
    >>> card, run = Detector("model.onnx").card, GraphRunner(onnx.load("model.onnx"))
    >>> drawn = Pictures("drawn", tuple(made_picture(number, 64, 64) for number in range(40)))
    >>> frames = CalibrationFrames(drawn, card)
    >>> judge = MadeJudge(card, frames, ["boxes", "scores", "labels", "count"], run)
    >>> judge.level, judge(run), judge(lambda frame: run(np.zeros_like(frame))) < 1
    (0.3, 1.0, True)
    """

    name = (
        "1 less a third of the AP50 lost against the fp32 graph's detections in made pictures, and less what boxes "
        "cost that all move alike"
    )
    nothing = "the fp32 graph finds nothing in the made pictures"

    def __init__(self, card: ModelCard, frames: Sequence[Array], outputs: Sequence[str], reference: Run) -> None:
        self._reader = Reader(card, outputs)
        self._frames = frames
        self._reference = list(self._reader(reference, frames))
        scores = np.sort(np.concatenate([np.zeros(0), *(found.scores for found in self._reference)]))[::-1]
        self.level = float(min(CONFIDENT, scores[min(ENOUGH, len(scores)) - 1])) if len(scores) else CONFIDENT
        self.truths = int((scores >= self.level).sum())
        self.unchanged = self._figure(self._reference)
        self.digest = digest_of_each(chain(("made",), frames))

    def __call__(self, run: Run) -> float | None:
        """Judge one graph.

        Args:
            run: the graph, as a function like ``reference``.

        Returns:
            The figure in [0, 1], larger is better; None where the float graph finds nothing.
        """
        return self._figure(list(self._reader(run, self._frames)))

    def __len__(self) -> int:
        """Size of the set.

        Returns:
            Number of prepared inputs that one figure takes.
        """
        return len(self._frames)

    def _figure(self, detections: Sequence[Detections]) -> float | None:
        found = average_precisions(
            self._reference,
            detections,
            least=self.level,
            unsure=self.level * UNSURE,
        )
        if not found:
            return None
        precisions, counts = zip(*found.values(), strict=True)
        # Boxes of things that the network never saw scatter, by 0.14 of IoU where nothing is lost of mAP; those
        # that all move alike do so in every picture.
        drift = cost_of_drift(moves(self._reference, detections, least=self.level))
        return max(1 - LESS_ON_REAL * (1 - float(np.average(precisions, weights=counts))) - drift, 0.0)

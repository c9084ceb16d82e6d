"""A judge for networks that find nothing in the calibration frames: what becomes of answers to made pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.detections import Detections
from edgedet.onnx_graph.network import Array
from edgedet.proof.agreement import CONFIDENT, average_precision

from .judge import Run
from .measurement_cache import digest_of_each
from .moved_boxes import OVERLAP, cost_of_lost_overlap, moves
from .weak_boxes import WeakReader

OWN_ERROR = 0.05
"""IoU that the boxes of eight one-class detectors lack to labelled ones anyway: with it
:func:`edgedet.calibration.moved_boxes.cost_of_lost_overlap` follows what they lose of mAP. A network that sees
nothing in the calibration frames is taken for one as exact."""
WEAKEST = 0.1
"""Score from which answers of the float graph are judged, at the lowest."""
MIN_ANSWERS = 20
"""Minimum number of answers; with fewer nothing is judged."""
USUAL_MOVE = 0.02
"""Distance by which scores move in INT8 graphs that lose nothing, as a share of their spread."""


class ResponseJudge:
    """How much of the float graph's strongest answers to made pictures is left, with its scores and boxes.

    The answers are read below the threshold. The figure is the average precision of the strong ones, less what it
    costs that boxes have moved, and scores beyond what rounding always does.

    Args:
        card: of the network.
        pictures: prepared inputs.
        outputs: names of the graph's, in order.
        reference: the float graph, opened (:func:`edgedet.calibration.weak_boxes.opened`); graphs that are judged
            have to be, too.
        blindness: what the calibration frames show, for :attr:`nothing`.
    """

    name = "AP50 of the fp32 graph's answers to made pictures, less what moved boxes and scores cost"

    def __init__(
        self,
        card: ModelCard,
        pictures: Sequence[Array],
        outputs: Sequence[str],
        reference: Run,
        *,
        blindness: str = "the fp32 graph is sure of next to nothing in the calibration images",
    ) -> None:
        self._reader = WeakReader(card, outputs)
        self._pictures = pictures
        self._reference = list(self._reader(reference, pictures))
        scores = np.concatenate([np.zeros(0, np.float32), *(found.scores for found in self._reference)])
        # Half as strong as the strong ones, or what counts as confident everywhere.
        strong = np.sort(scores)[::-1][: 2 * MIN_ANSWERS]
        self.least = float(np.clip(strong.mean() / 2 if len(strong) else 0.0, WEAKEST, CONFIDENT))
        self.answers = int((scores >= self.least).sum())
        """How many answers there are to give again."""
        self.nothing = (
            f"{blindness}, and in {len(pictures)} pictures made to provoke it only {self.answers} things that "
            f"score {self.least:.2g} or more"
        )
        self.unchanged = self._figure(self._reference)
        self.digest = digest_of_each(chain(("responses", len(pictures)), pictures))

    def __call__(self, run: Run) -> float | None:
        """The figure of ``run``; None where the float graph answers too little."""
        return self._figure(list(self._reader(run, self._pictures)))

    def _figure(self, found: Sequence[Detections]) -> float | None:
        if self.answers < MIN_ANSWERS:
            return None
        given = (
            average_precision(self._reference, found, least=self.least, overlap=OVERLAP, unsure=0.0, weak=False)
            or 0.0
        )
        boxes, scores = self.moves(found)
        cost = cost_of_lost_overlap(boxes, own=OWN_ERROR) + max(scores - USUAL_MOVE, 0.0)
        # Equalised channels change the float graph's own numbers in their last digits.
        return round(float(np.clip(given - cost, 0.0, 1.0)), 6)

    def moves(self, found: Sequence[Detections]) -> tuple[float, float]:
        """How far strong answers that are given again lie off on average: IoU lost, and scores.

        Scores up or down together, as a share of the highest: their spread is what ranks them.
        """
        highest = max((float(one.scores.max(initial=0.0)) for one in self._reference), default=0.0)
        again = moves(self._reference, found, least=self.least)
        return (again.scatter, abs(float(again.scores.mean())) / highest) if len(again.scores) else (0.0, 0.0)

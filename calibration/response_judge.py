"""A judge for networks that find nothing on the calibration frames: what becomes of their answers to made pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.box_overlap import pairwise_iou
from edgedet.detections import Detections
from edgedet.onnx_graph.network import Array

from .agreement import CONFIDENT, average_precision
from .judge import Run
from .ledger import digest_of
from .predictions import WeakReader

OVERLAPS = (0.5, 0.75)
"""IoU from which an answer counts as the same, each of them once."""
WEAKEST = 0.1
"""Score from which answers of the float graph are judged, at the lowest."""
FEWEST = 20
"""Answers; with fewer nothing is judged."""
USUAL_MOVE = 0.02
"""By which scores move in INT8 graphs that lose nothing, as a share of their spread."""


class ResponseJudge:
    """How much of the float graph's strongest answers to made pictures is left, with its scores and boxes.

    The answers are read below the threshold. The figure is the average precision of the strong ones, the mean over
    ``OVERLAPS``, less what scores have moved beyond what rounding always does, as a share of the range they spread
    over.

    Args:
        card: of the network.
        pictures: prepared inputs.
        outputs: names of the graph's, in order.
        reference: the float graph, opened (:func:`edgedet.calibration.predictions.opened`); graphs that are judged
            have to be, too.
    """

    name = "AP50 and AP75 against the fp32 graph's answers to pictures made for the purpose, and how scores move"

    def __init__(self, card: ModelCard, pictures: Sequence[Array], outputs: Sequence[str], reference: Run) -> None:
        self._reader = WeakReader(card, outputs)
        self._pictures = pictures
        self._run = reference
        self._reference = list(self._reader(reference, pictures))
        scores = np.concatenate([found.scores for found in self._reference] or [np.zeros(0)])
        # Half as strong as the strong ones, or what counts as confident everywhere.
        strong = np.sort(scores)[::-1][: 2 * FEWEST]
        self.least = float(np.clip(strong.mean() / 2 if len(strong) else 0.0, WEAKEST, CONFIDENT))
        self.answers = int((scores >= self.least).sum())
        """How many answers there are to give again."""
        self.nothing = (
            f"the fp32 graph finds nothing in the calibration images, and of {len(pictures)} pictures made to "
            f"provoke it only {self.answers} things were answered with a score of {self.least:g} or more"
        )
        self.digest = digest_of("responses", len(pictures), *(np.asarray(picture) for picture in pictures))

    def __call__(self, run: Run) -> float | None:
        """The figure of ``run``, 1 for the reference itself; None where that answers too little."""
        if self.answers < FEWEST:
            return None
        found = self._reference if run is self._run else list(self._reader(run, self._pictures))
        kept = [
            average_precision(self._reference, found, least=self.least, overlap=overlap, edge=False) or 0.0
            for overlap in OVERLAPS
        ]
        return float(np.clip(np.mean(kept) - max(self.moved(found) - USUAL_MOVE, 0.0), 0.0, 1.0))

    def moved(self, found: Sequence[Detections]) -> float:
        """How far strong answers' scores lie off on average, up or down together or each for itself, of 1."""
        moves = []
        spread = [float(ours.scores[ours.scores >= self.least].max(initial=0.0)) for ours in self._reference]
        for ours, theirs in zip(self._reference, found, strict=True):
            strong = ours[ours.scores >= self.least]
            same = (pairwise_iou(strong.boxes, theirs.boxes) >= OVERLAPS[0]) & (
                strong.labels[:, None] == theirs.labels[None]
            )
            best = np.where(same, theirs.scores[None], 0.0).max(axis=1, initial=0.0)
            moves += (best - strong.scores).tolist()
        return abs(float(np.mean(moves))) / max(max(spread), 1e-6)

"""The golden input of a segmenter: a frame made from a seed, and the classes it had when the artifact was made.

The card holds the class of every :data:`STEP`-th pixel, never the picture; see :mod:`edgedet.proof.golden`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard, Precision
from edgedet.errors import ArtifactError, SelftestError
from edgedet.masks.class_map import ClassMap
from edgedet.proof.golden import MAX_SIDE, drawn, nudge
from edgedet.proof.golden_scene import FRAME_HEIGHT, FRAME_WIDTH, golden_frame

STEP = 16
"""Pixels between those whose class is kept."""
SCENES = (1, 3, 5, 7)
MORE_SCENES = tuple(range(8, 20))
"""Further seeds, for where those are of one class throughout."""
TRIALS = 2
"""Changes of the grain of the scene, by which its steadiness is measured."""
REQUIRED: dict[Precision, float] = {"fp32": 0.98, "fp16": 0.95, "int8": 0.85}
"""Share of the pixels that another machine or runtime must give the same class, by precision."""
MIN_REQUIRED = 0.1


class MapSource(Protocol):
    """What is needed of a segmenter here."""

    card: ModelCard

    def segment(self, frame: NDArray[np.uint8], /) -> ClassMap:
        """Classes of one BGR frame."""


@dataclass(frozen=True)
class GoldenMapReport:
    """One replay: ``equal`` of ``pixels`` that the card holds have the class that they had at export, of
    ``classes`` different ones."""

    seed: int
    equal: int
    pixels: int
    classes: int
    required: float

    @property
    def passed(self) -> bool:
        """Whether enough of them have."""
        return self.equal >= self.required * self.pixels

    @property
    def telling(self) -> bool:
        """Whether there was more than one class to tell apart."""
        return self.classes > 1

    def __str__(self) -> str:
        said = (
            f"golden frame {self.seed}: {self.equal / self.pixels:.2%} of {self.pixels} pixels have the class that "
            f"they had at export, of {self.classes}"
        )
        return said if self.telling else f"{said}: it ran, which is all this shows; see edgedet parity"


def record_map(segmenter: MapSource, seeds: Iterable[int] = SCENES) -> dict[str, Any]:
    """Run the scenes of ``seeds`` and return the one with most classes as the card's ``golden`` object.

    ``steadiness`` is the share of the pixels that keep their class when the grain of the scene changes: what a grey
    level changes, another machine's arithmetic may change too.
    """
    found = [(seed, _kept(segmenter.segment(drawn(seed)))) for seed in seeds]
    for seed in MORE_SCENES:
        if any(_variety(labels) for _, labels in found):
            break
        found.append((seed, _kept(segmenter.segment(drawn(seed)))))
    seed, labels = max(found, key=lambda scene: _variety(scene[1]))
    frame = drawn(seed).astype(np.int16)
    shares = []
    for number in range(TRIALS):
        changed = np.clip(frame + nudge(number), 0, 255).astype(np.uint8)
        shares.append(float((_kept(segmenter.segment(changed)) == labels).mean()))
    return {
        "seed": seed,
        "height": FRAME_HEIGHT,
        "width": FRAME_WIDTH,
        "step": STEP,
        "classes": [[int(label), len(list(run))] for label, run in groupby(labels.reshape(-1).tolist())],
        "steadiness": int(1000 * min(shares)) / 1000,
    }


def replay_map(segmenter: MapSource) -> GoldenMapReport:
    """Run the golden frame and compare with the card.

    Raises:
        ArtifactError: the card carries no golden input, or a broken one.
    """
    golden = segmenter.card.golden
    if golden is None:
        raise ArtifactError("this artifact carries no golden input to replay; export it with this edgedet")
    try:
        seed, height, width, step = (int(golden[key]) for key in ("seed", "height", "width", "step"))
        steadiness = float(golden["steadiness"])
        runs = np.array(golden["classes"], np.int64).reshape(-1, 2)
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and step > 0 and 0 <= steadiness <= 1):
            raise ValueError(f"{width} x {height} pixels, step {step}, steadiness {steadiness}")
        shape = (len(range(step // 2, height, step)), len(range(step // 2, width, step)))
        if runs[:, 1].min(initial=0) < 0 or runs[:, 1].sum() != shape[0] * shape[1] or not len(runs):
            raise ValueError(f"{runs[:, 1].sum()} pixels, expected {shape[0] * shape[1]}")
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ArtifactError(f"the card's golden input is broken ({error}); export the model again") from error
    expected = np.repeat(runs[:, 0], runs[:, 1])
    labels = _kept(segmenter.segment(golden_frame(seed, height, width)), step).reshape(-1)
    return GoldenMapReport(
        seed,
        int((labels == expected).sum()),
        len(expected),
        len(np.unique(expected)),
        max(min(REQUIRED[segmenter.card.precision], steadiness), MIN_REQUIRED),
    )


def require_golden_map(segmenter: MapSource) -> GoldenMapReport:
    """Replay and insist.

    Raises:
        ArtifactError: nothing to replay.
        SelftestError: the classes differ from those at export by more than the precision explains.
    """
    report = replay_map(segmenter)
    if not report.passed:
        raise SelftestError(
            f"self-test failed: {report}; expected {report.required:.0%} to agree. This runtime computes something "
            "else than the exporting machine did: build the engine again here, or try runtime='onnxruntime'"
        )
    return report


def _kept(found: ClassMap, step: int = STEP) -> NDArray[Any]:
    """The labels that the card holds: of pixels in the middle of squares."""
    return found.labels[step // 2 :: step, step // 2 :: step]


def _variety(labels: NDArray[Any]) -> float:
    """How much a map tells: the entropy of its classes."""
    shares = np.unique(labels, return_counts=True)[1] / labels.size
    return float(-(shares * np.log(shares)).sum())

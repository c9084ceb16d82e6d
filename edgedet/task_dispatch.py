"""Artifacts of any task, for what works on all of them: opened as what they are, and replayed as what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from edgedet.artifacts.card import ModelCard
from edgedet.detector import Detector
from edgedet.errors import SelftestError, TaskError
from edgedet.inference_lane import Timing
from edgedet.masks.class_map import ClassMap
from edgedet.proof.golden import GoldenReport, require_golden
from edgedet.proof.golden_map import GoldenMapReport, require_golden_map
from edgedet.segmenter import Segmenter


def open_by_task(path: str | Path, **settings: Any) -> Detector | Segmenter:
    """An artifact opened as what it is for; ``settings`` go to either.

    Raises:
        EdgedetError: as :class:`edgedet.Detector` and :class:`edgedet.Segmenter`.
    """
    # Detectors are asked first, and so pay nothing for there being others.
    try:
        return Detector(path, **settings)
    except TaskError:
        return Segmenter(path, **settings)


def require_golden_of(
    opened: Detector | Segmenter, *, unproved: Literal["refuse", "accept"] = "refuse"
) -> GoldenReport | GoldenMapReport:
    """Replay an artifact's golden input and insist; see :func:`edgedet.proof.golden.require_golden`.

    Raises:
        ArtifactError: nothing to replay.
        SelftestError: it gives something else, or (unless ``unproved`` is ``accept``) shows nothing.
    """
    if isinstance(opened, Detector):
        return require_golden(opened, unproved=unproved)
    report = require_golden_map(opened)
    if not report.telling and unproved == "refuse":
        raise SelftestError(
            f"the self-test proves nothing: golden frame {report.seed} is of one class throughout. Compare with "
            "what it was made from on frames of your own: edgedet parity"
        )
    return report


class TimedSegmenter:
    """A segmenter under the names by which detectors are measured.

    Args:
        segmenter: what is measured.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    @property
    def card(self) -> ModelCard:
        """Model card of the artifact."""
        return self.segmenter.card

    @property
    def path(self) -> Path:
        """File of the artifact."""
        return self.segmenter.path

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, by label."""
        return self.segmenter.names

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        """Kind of device that the network runs on."""
        return self.segmenter.device

    @property
    def description(self) -> str:
        """Runtime, its version and where it runs."""
        return self.segmenter.description

    @property
    def last_timing(self) -> Timing:
        """Stages of the last call."""
        return self.segmenter.last_timing

    def detect(self, frame: NDArray[Any]) -> ClassMap:
        """As :meth:`edgedet.Segmenter.segment`."""
        return self.segmenter.segment(frame)

    def detect_batch(self, frames: Sequence[NDArray[Any]]) -> list[ClassMap]:
        """As :meth:`edgedet.Segmenter.segment_batch`."""
        return self.segmenter.segment_batch(frames)

    def close(self) -> None:
        """Release the runtime."""
        self.segmenter.close()

    def __enter__(self) -> TimedSegmenter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

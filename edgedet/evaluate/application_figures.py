"""The application's figures, as an evaluation has them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from edgedet.evaluate.detection_delay import Delay
from edgedet.evaluate.intervals import Rate
from edgedet.missing_figures import explained

EACH_FRAME = "each frame by itself"
NO_VISIT = "no object comes into view in the clips"
NO_NEGATIVES = "no object-free image (--negatives DIR)"


@dataclass(frozen=True)
class ImageRates:
    """How often by image, with 95 % intervals: of frames of clips by clips, else by images.

    Attributes:
        misses: share of the images with objects in which nothing is found.
        false_alarms: share of the object-free images with a box.
        missed_objects: number of objects that are not found, by image of the dataset.
        false_boxes: number of boxes that are not right, by image of the dataset and the negatives (FPPI of
            Dollár et al., "Pedestrian Detection: An Evaluation of the State of the Art", PAMI 2012).

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> rates = evaluate(Detector("model.onnx"), read_dataset("photos/labels.json"), threshold=0.9).per_image
    >>> rates.misses.value, rates.missed_objects.value, rates.false_boxes.value
    (1.0, 1.0, 0.0)
    """

    misses: Rate
    false_alarms: Rate
    missed_objects: Rate
    false_boxes: Rate


@dataclass(frozen=True)
class ClipFigures:
    """What clips tell and pictures do not: rates by hour of video, and how long it takes until something is found.

    Attributes:
        by: what makes an alarm: each frame by itself, or an alert rule in words.
        clips: number of clips.
        frames: number of their frames that were looked at.
        seconds: of video that these stand for.
        false_alarms: by hour. A false alarm is a row of frames with a box of a class none of which is there, or an
            alert that begins where none is.
        missed: share of the visits that are never found; a visit is an object from the first frame that shows it to
            the last, or frames in a row that show any of its class where objects have no marks of their own.
        misses: visits that are never found, by hour.
        delay: seconds until a visit is found.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> result = evaluate(Detector("model.onnx"), read_dataset("photos/labels.json"), fps=12, threshold=0.5)
    >>> result.clips.seconds, result.clips.false_alarms.value, result.clips.delay.visits, result.clips.delay.p90
    (1.0, 0.0, 12, 0.0)
    """

    by: str
    clips: int
    frames: int
    seconds: float
    false_alarms: Rate
    missed: Rate
    misses: Rate
    delay: Delay

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns:
            The fields. A delay without end is None, as one without a visit is, and ``absent`` says which; so is the
            end of an interval that reaches without end.
        """
        delay: dict[str, Any] = asdict(self.delay)
        never = f"without end: {self.delay.visits - self.delay.found} of {self.delay.visits} visits are never found"
        for name in ("p50", "p90"):
            delay[f"{name}_interval"] = tuple(map(_finite, delay[f"{name}_interval"]))
            delay[name] = _finite(delay[name])
        return {
            "by": self.by,
            "clips": self.clips,
            "frames": self.frames,
            "seconds": self.seconds,
            "false_alarms_per_hour": rate_dict(self.false_alarms, "no video"),
            "visits_missed": rate_dict(self.missed, NO_VISIT),
            "misses_per_hour": rate_dict(self.misses, "no video"),
            "delay": explained(delay, {}, otherwise=never if self.delay.visits else NO_VISIT),
        }


def rate_dict(figure: Rate, reason: str) -> dict[str, Any]:
    """A rate for JSON; ``reason`` why it has no value, where it has none."""
    return explained(asdict(figure), {}, otherwise=reason)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan

"""What an application can bear: figures that a budget may limit."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """``key``: of :data:`edgedet.evaluate.application_result.FIGURES`. ``option``: of the command. ``metavar``:
    what its value is called. ``words``: after a number. ``title``: of the column. ``form``: of numbers."""

    key: str
    option: str
    metavar: str
    words: str
    title: str
    help: str
    form: str = ".3g"

    def text(self, value: float) -> str:
        """A figure in words."""
        return "a delay without end" if math.isinf(value) else f"{value:{self.form}} {self.words}"


LIMITS = (
    Limit(
        "misses",
        "--max-misses",
        "SHARE",
        "of the images with objects missed",
        "misses",
        "maximum share of the images with objects in which nothing is found",
        ".1%",
    ),
    Limit(
        "false_alarms",
        "--max-false-alarms",
        "SHARE",
        "of the object-free images with a box",
        "false alarms",
        "maximum share of the object-free images with a box",
        ".1%",
    ),
    Limit(
        "missed_objects",
        "--max-misses-per-image",
        "X",
        "missed objects per image",
        "missed objects/image",
        "maximum number of missed objects per image",
    ),
    Limit(
        "false_boxes",
        "--max-false-boxes-per-image",
        "X",
        "false boxes per image",
        "false boxes/image",
        "maximum number of false boxes per image",
    ),
    Limit(
        "false_alarms_per_hour",
        "--max-false-alarms-per-hour",
        "X",
        "false alarms an hour",
        "false alarms/h",
        "maximum number of false alarms per hour of video (edgedet eval --fps)",
    ),
    Limit(
        "misses_per_hour",
        "--max-misses-per-hour",
        "X",
        "misses an hour",
        "misses/h",
        "maximum number of visits that are never found per hour of video",
    ),
    Limit(
        "delay_p90",
        "--max-delay",
        "S",
        "s of delay (p90)",
        "delay p90 s",
        "maximum delay to detection, p90 of all visits, in seconds",
    ),
)

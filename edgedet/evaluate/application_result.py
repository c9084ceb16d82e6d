"""The application's figures as result files have them: each with its interval, or why it is not there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BY_IMAGE = ("misses", "false_alarms", "missed_objects", "false_boxes")
BY_HOUR = ("false_alarms_per_hour", "misses_per_hour", "delay_p50", "delay_p90")
FIGURES = (*BY_IMAGE, *BY_HOUR)
EARLIER = "the evaluation was made by an earlier edgedet, which did not count it"


@dataclass(frozen=True)
class Figure:
    """``value``: None where there is none, and ``reason`` says why; infinite for a delay without end. ``high``: of
    its 95 % interval, None where that is not known."""

    value: float | None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class ApplicationResult:
    """``figures``: by names of :data:`FIGURES`, all of them. ``by``: what makes an alarm in those by hour, in
    words; None without any. Alerts by a rule are taken, where there are some, and each frame by itself else."""

    figures: Mapping[str, Figure]
    by: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ApplicationResult:
        """Read an evaluation's object; what earlier versions did not count is not there."""
        figures = {name: _figure(_object(data, "per_image").get(name)) for name in BY_IMAGE}
        clips = data.get("alerts") or data.get("clips")
        if not isinstance(clips, dict):
            why = _object(data, "absent").get("clips", EARLIER)
            return cls(figures | {name: Figure(None, reason=why) for name in BY_HOUR})
        for name in ("false_alarms_per_hour", "misses_per_hour"):
            figures[name] = _figure(clips.get(name))
        delay = _object(clips, "delay")
        if not delay.get("visits"):
            # Nothing can be missed where nothing comes into view.
            why = _object(delay, "absent").get("p90", EARLIER)
            return cls(
                figures | {name: Figure(None, reason=why) for name in BY_HOUR[1:]}, str(clips.get("by", "unknown"))
            )
        for name in ("p50", "p90"):
            figures[f"delay_{name}"] = _delay(delay, name)
        return cls(figures, str(clips.get("by", "unknown")))


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What another program wrote in the place of an object is none."""
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _figure(entry: Any) -> Figure:
    if not isinstance(entry, dict):
        return Figure(None, reason=EARLIER)
    value, interval = entry.get("value"), entry.get("interval") or (None, None)
    if value is None:
        return Figure(None, reason=_object(entry, "absent").get("value", EARLIER))
    return Figure(float(value), interval[1])


def _delay(entry: Mapping[str, Any], name: str) -> Figure:
    """None in the file is without end, since there are visits."""
    _, high = entry.get(f"{name}_interval") or (None, None)
    return Figure(_endless(entry.get(name)), _endless(high))


def _endless(number: float | None) -> float:
    return math.inf if number is None else float(number)

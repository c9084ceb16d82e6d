"""Beginnings and ends of alerts, as they are told to programs."""

from __future__ import annotations

import datetime
import json
import time as clock
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = "edgedet.alert/1"
"""Goes up when a field changes its meaning or goes away; further fields may come without."""

EndReason = Literal["gone", "lost", "ended", "stopped"]


@dataclass(frozen=True)
class AlertEvent:
    """The beginning or the end of an alert.

    Attributes:
        event: ``begin`` or ``end``.
        alert: number of the alert, from 1; beginning and end have the same.
        rule: name of the rule.
        source: name of the source.
        name: class name of the best detection so far.
        track: track id of that detection; -1 without one.
        score: its score.
        box: its box, x1, y1, x2, y2 in pixels.
        frame_size: (height, width) of its frame, in pixels.
        index: number of the last frame that was looked at.
        at: time of that frame by the source's own time stamps, in seconds from its beginning; None without any.
        age: milliseconds from that frame's capture to this event; None where the event came of no frame.
        seen: number of frames so far that showed it.
        delay: of a beginning, milliseconds from the capture of the first frame that counted to this event.
        seconds: of an end, from the first frame that showed it to the last.
        reason: of an end: ``gone``, ``lost`` (the source broke off or stalled), ``ended`` (the source came to its
            end) or ``stopped`` (the program did).
        time: when, in seconds since 1970 (UTC).

    >>> box = (1, 2, 30, 40)
    >>> event = AlertEvent("end", 1, "phone", "camera 0", "phone", 7, 0.91, box, (48, 64), 12, reason="gone")
    >>> event.to_dict()["reason"], event.to_dict()["class"]
    ('gone', 'phone')
    """

    event: Literal["begin", "end"]
    alert: int
    rule: str
    source: str
    name: str
    track: int
    score: float
    box: tuple[float, float, float, float]
    frame_size: tuple[int, int]
    index: int
    at: float | None = None
    age: float | None = None
    seen: int = 0
    delay: float | None = None
    seconds: float | None = None
    reason: EndReason | None = None
    time: float = field(default_factory=clock.time)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; docs/watch.md describes them.

        Returns:
            The fields, ``name`` as ``class``, ``time`` as ISO 8601 in UTC; beginnings have ``delay``, ends have
            ``seconds`` and ``reason``.
        """
        moment = datetime.datetime.fromtimestamp(self.time, datetime.timezone.utc)
        values: dict[str, Any] = {
            "schema": SCHEMA,
            "event": self.event,
            "alert": self.alert,
            "rule": self.rule,
            "source": self.source,
            "class": self.name,
            "track": self.track,
            "score": round(self.score, 5),
            "box": [round(value, 2) for value in self.box],
            "frame_size": list(self.frame_size),
            "index": self.index,
            "at": None if self.at is None else round(self.at, 4),
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "age": None if self.age is None else round(self.age, 1),
            "seen": self.seen,
        }
        if self.event == "begin":
            return values | {"delay": None if self.delay is None else round(self.delay, 1)}
        return values | {
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "reason": self.reason,
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON.

        Returns:
            One line of ASCII.
        """
        return json.dumps(self.to_dict())

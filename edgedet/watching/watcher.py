"""Detections of frame after frame to tracks and alerts."""

from __future__ import annotations

import itertools
import time as clock
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.pictures.frames import Frame
from edgedet.watching.alert import AlertEvent, EndReason
from edgedet.watching.rule import AlertRule
from edgedet.watching.tracker import NO_TRACK, TRACK, Tracker

Clock = Literal["captured", "time"]
ROUNDING = 1e-6
"""Seconds by which sums of frame times may be off."""


class Watcher:
    """Tracks what is detected and says when alerts begin and end. Sources are told apart by ``Frame.source``.

    Args:
        rules: what begins an alert; each source has at most one alert of each rule at a time.
        names: the detector's class names; None checks no class.
        clock: what tells the time of frames: ``captured`` for cameras and streams, ``time`` (of the file) for
            videos; pictures without it go by ``captured``.

    Raises:
        UsageError: no rule, two of one name, or a class that the detector does not know.

    >>> from edgedet import Detector
    >>> with Detector("model.onnx") as detector:
    ...     rule = AlertRule(("green", "red"), frames=(2, 3), evidence="class")
    ...     watcher = Watcher([rule], detector.names)
    ...     for frame, detections in detector.stream("photos"):
    ...         tracked, events = watcher.update(frame, detections)
    ...         for event in events:
    ...             print(event.event, event.name, event.index)
    begin green 2
    """

    def __init__(
        self, rules: Sequence[AlertRule], names: Sequence[str] | None = None, *, clock: Clock = "captured"
    ) -> None:
        if not rules:
            raise UsageError("there is no rule to watch by; expected one at least")
        twice = [label for label, count in Counter(rule.label for rule in rules).items() if count > 1]
        if twice:
            raise UsageError(f"two rules are called {twice[0]!r}; give each a name of its own")
        if names is not None:
            for rule in rules:
                rule.require_classes(names)
        self.rules = tuple(rules)
        self._clock = clock
        self._numbers = itertools.count(1)
        self._alerts = itertools.count(1)
        self._sources: dict[str, _Source] = {}

    @property
    def active(self) -> int:
        """Number of alerts that have begun and not ended."""
        return sum(state.alert is not None for each in self._sources.values() for state in each.states)

    def update(self, frame: Frame, detections: Detections) -> tuple[Detections, list[AlertEvent]]:
        """Look at the next frame of a source.

        Args:
            frame: as sources give it; its pixels are not looked at.
            detections: what was found in it.

        Returns:
            The detections with ``data["track"]``, and the alerts that begin or end with it.

        Raises:
            UsageError: the region of a rule is in pixels and reaches beyond the frame.
        """
        source = self._sources.get(frame.source)
        if source is None:
            source = self._sources[frame.source] = _Source(self.rules, self._numbers)
        time = frame.time if self._clock == "time" and frame.time is not None else frame.captured
        tracked = source.tracker.update(detections, time)
        found = [(state, rule.matching(tracked)) for state, rule in zip(source.states, self.rules, strict=True)]
        events = []
        for state, counts in found:
            event = state.update(frame, tracked[counts], time, self._alerts, self._clock)
            if event is not None:
                events.append(event)
        return tracked, events

    def lost(self, source: str, reason: EndReason = "lost") -> list[AlertEvent]:
        """A source broke off: what was seen there before counts no more.

        Args:
            source: its name, as ``Frame.source`` and ``Fault.source`` have it.
            reason: for the ends of its alerts.

        Returns:
            The ends of its alerts.
        """
        found = self._sources.get(source)
        if found is None:
            return []
        found.tracker.forget()
        return [event for state in found.states if (event := state.forget(source, reason)) is not None]

    def finish(self, reason: EndReason = "stopped") -> list[AlertEvent]:
        """There are no more frames.

        Args:
            reason: for the ends of alerts: ``stopped``, or ``ended`` where the sources came to their ends.

        Returns:
            The ends of all alerts that have not ended.
        """
        return [event for source in list(self._sources) for event in self.lost(source, reason)]


class _Source:
    """What is known of one source."""

    def __init__(self, rules: Sequence[AlertRule], numbers: Iterator[int]) -> None:
        # Whatever may begin an alert has a track.
        start, weakest = min(rule.conf for rule in rules), min(rule.lowest for rule in rules)
        self.tracker = Tracker(start=start, weakest=weakest, numbers=numbers)
        self.states = [_State(rule) for rule in rules]


@dataclass
class _Sight:
    """What one frame shows of a rule's classes.

    ``sure``: by their tracks, the best detections that suffice for a beginning. ``weak``: tracks of what does not.
    ``shown``: whether an alert goes on with it.
    """

    time: float
    captured: float
    sure: dict[int, _Best]
    weak: frozenset[int]
    shown: bool

    @property
    def best(self) -> _Best | None:
        return max(self.sure.values(), key=lambda best: best.score, default=None)


@dataclass(frozen=True)
class _Best:
    """A detection, and the frame it is of."""

    name: str
    track: int
    score: float
    box: tuple[float, float, float, float]
    frame_size: tuple[int, int]


@dataclass
class _Alert:
    """One that has begun. ``first``, ``last``: times of frames that showed it. ``tracks``: what it is about."""

    number: int
    best: _Best
    tracks: frozenset[int]
    seen: int
    first: float
    last: float
    index: int
    at: float | None


@dataclass
class _State:
    """One rule in one source."""

    rule: AlertRule
    alert: _Alert | None = None
    sights: deque[_Sight] = field(init=False)

    def __post_init__(self) -> None:
        self.sights = deque(maxlen=self.rule.frames[1])

    def update(
        self, frame: Frame, matching: Detections, time: float, numbers: Iterator[int], kind: Clock
    ) -> AlertEvent | None:
        """The next frame, with the detections that match the rule."""
        sight = _sight(self.rule, frame, matching, time)
        self.sights.append(sight)
        alert = self.alert
        if alert is None:
            counted = self._evidence()
            if not counted:
                return None
            best = max((best for _, best in counted), key=lambda best: best.score)
            first, tracks = counted[0][0], frozenset(best.track for _, best in counted) - {NO_TRACK}
            self.alert = _Alert(
                next(numbers), best, tracks, len(counted), first.time, time, frame.index, frame.time
            )
            # Of a file, by its own time; of a camera, with the time that detecting took.
            waited = time - first.time if kind == "time" else clock.monotonic() - first.captured
            return self._event("begin", frame.source, frame, delay=waited * 1e3)
        alert.index, alert.at = frame.index, frame.time
        # What is not sure keeps an alert alive only where it goes on with the same object.
        best_now = sight.best
        sight.shown = best_now is not None or bool(sight.weak & alert.tracks)
        if sight.shown:
            alert.seen, alert.last = alert.seen + 1, time
            alert.tracks |= sight.sure.keys() - {NO_TRACK}
            if best_now is not None and best_now.score > alert.best.score:
                alert.best = best_now
        elif not any(one.shown for one in self.sights) and time - alert.last >= self.rule.hold - ROUNDING:
            return self._end(frame.source, "gone", frame)
        return None

    def forget(self, source: str, reason: EndReason) -> AlertEvent | None:
        """No frame that was seen counts any more."""
        self.sights.clear()
        return None if self.alert is None else self._end(source, reason, None)

    def _evidence(self) -> list[tuple[_Sight, _Best]]:
        """The frames that make a beginning, and what they show; none where they are too few."""
        needed, newest = self.rule.frames[0], self.sights[-1]
        if self.rule.evidence == "class":
            counted = [(one, best) for one in self.sights if (best := one.best) is not None]
            return counted if len(counted) >= needed and newest.sure else []
        counts = Counter(track for one in self.sights for track in one.sure)
        ready = [track for track in newest.sure if track != NO_TRACK and counts[track] >= needed]
        if not ready:
            return []
        track = max(ready, key=lambda track: (counts[track], newest.sure[track].score))
        return [(one, one.sure[track]) for one in self.sights if track in one.sure]

    def _end(self, source: str, reason: EndReason, frame: Frame | None) -> AlertEvent:
        alert = self.alert
        assert alert is not None
        event = self._event("end", source, frame, seconds=alert.last - alert.first, reason=reason)
        self.alert = None
        self.sights.clear()
        return event

    def _event(
        self,
        kind: Literal["begin", "end"],
        source: str,
        frame: Frame | None,
        *,
        delay: float | None = None,
        seconds: float | None = None,
        reason: EndReason | None = None,
    ) -> AlertEvent:
        alert = self.alert
        assert alert is not None
        best = alert.best
        return AlertEvent(
            event=kind,
            alert=alert.number,
            rule=self.rule.label,
            source=source,
            name=best.name,
            track=best.track,
            score=best.score,
            box=best.box,
            frame_size=best.frame_size,
            index=alert.index,
            at=alert.at,
            age=None if frame is None else frame.age * 1e3,
            seen=alert.seen,
            delay=delay,
            seconds=seconds,
            reason=reason,
        )


def _sight(rule: AlertRule, frame: Frame, matching: Detections, time: float) -> _Sight:
    """What a frame's matching detections say."""
    sure: dict[int, _Best] = {}
    weak = set()
    for (box, score, _, name), track in zip(matching, matching.data[TRACK].tolist(), strict=True):
        if np.float32(score) < np.float32(rule.conf):
            weak.add(track)
        elif track not in sure or score > sure[track].score:
            x1, y1, x2, y2 = (float(value) for value in box)
            sure[track] = _Best(name, track, score, (x1, y1, x2, y2), matching.frame_size)
    return _Sight(time, frame.captured, sure, frozenset(weak - {NO_TRACK}), bool(sure))

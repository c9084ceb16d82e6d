"""Detections of frame after frame to tracks and alerts."""

from __future__ import annotations

import itertools
import time as clock
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edgedet.box_overlap import pairwise_iou
from edgedet.detections import Detections
from edgedet.errors import UsageError
from edgedet.pictures.frames import Frame
from edgedet.watching.alert import AlertEvent, EndReason
from edgedet.watching.rule import AlertRule
from edgedet.watching.tracker import NO_TRACK, TRACK, Tracker

Clock = Literal["captured", "time"]
ROUNDING = 1e-6
"""Seconds by which sums of frame times may be off."""
SAME_PLACE = 0.3
"""IoU with an object that was lost, from which a new track is taken for the same object."""


class Watcher:
    """Tracks what is detected and says when alerts begin and end. Sources are told apart by ``Frame.source``.

    Args:
        rules: what begins an alert. Each object has an alert of its own where a rule's evidence is ``track``; where
            it is ``class``, a source has at most one of the rule at a time.
        names: the detector's class names; None checks no class.
        clock: what tells the time of frames: ``captured`` for cameras and streams, ``time`` (of the file) for
            videos; pictures without it go by ``captured``.
        misfit: told, by source and in one sentence, once when the frames of a source take a size that a rule is not
            meant for (its region in pixels or its least size is beyond them). The rule's alerts there end as lost,
            and it gives none there until the size fits again. None: that is an error.

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
        self,
        rules: Sequence[AlertRule],
        names: Sequence[str] | None = None,
        *,
        clock: Clock = "captured",
        misfit: Callable[[str, str], None] | None = None,
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
        self._misfit = misfit
        self._numbers = itertools.count(1)
        self._alerts = itertools.count(1)
        self._sources: dict[str, _Source] = {}

    @property
    def active(self) -> int:
        """Number of alerts that have begun and not ended."""
        return sum(len(state.alerts) for each in self._sources.values() for state in each.states)

    def update(self, frame: Frame, detections: Detections) -> tuple[Detections, list[AlertEvent]]:
        """Look at the next frame of a source.

        Args:
            frame: as sources give it; its pixels are not looked at.
            detections: what was found in it.

        Returns:
            The detections with ``data["track"]``, and the alerts that begin or end with it.

        Raises:
            UsageError: a rule is not meant for frames of this size, and it is the first frame of its source, or
                ``misfit`` is None.
        """
        source = self._sources.get(frame.source)
        misfits = [rule.misfit(detections.frame_size) for rule in self.rules]
        told = dict.fromkeys(reason for reason in misfits if reason is not None)
        if told and (source is None or self._misfit is None):
            raise UsageError(next(iter(told)))
        if source is None:
            source = self._sources[frame.source] = _Source(self.rules, self._numbers)
        time = frame.time if self._clock == "time" and frame.time is not None else frame.captured
        tracked = source.tracker.update(detections, time)
        source.frames += 1
        events: list[AlertEvent] = []
        for state, reason in zip(source.states, misfits, strict=True):
            if reason is not None:
                events += state.forget(frame.source, "lost")
                continue
            matching = tracked[state.rule.matching(tracked)]
            events += state.update(frame, matching, time, self._alerts, self._clock)
        for reason in told:
            if reason not in source.misfits and self._misfit is not None:
                self._misfit(frame.source, reason)
        source.misfits = set(told)
        return tracked, events

    def too_short(self) -> dict[str, int]:
        """Sources that no rule could alert of.

        Returns:
            By name, the number of their frames, which is less than the N of every rule.
        """
        needed = min(rule.frames[0] for rule in self.rules)
        return {name: source.frames for name, source in self._sources.items() if source.frames < needed}

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
        return [event for state in found.states for event in state.forget(source, reason)]

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
        self.frames = 0
        self.misfits: set[str] = set()


@dataclass
class _Sight:
    """What one frame shows of a rule's classes.

    ``sure``: by their tracks, the best detections that suffice for a beginning. ``weak``: those that do not.
    """

    time: float
    captured: float
    sure: dict[int, _Best]
    weak: dict[int, _Best]

    @property
    def best(self) -> _Best | None:
        return _best_of(self.sure.values())


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
    """One that has begun.

    Attributes:
        best: the surest detection of it.
        newest: the last one.
        tracks: what it is about.
        seen: number of frames that showed it.
        first, last: times of frames that did.
        recent: whether each of the last M frames did.
        index, at: of the last frame that was looked at.
    """

    number: int
    best: _Best
    newest: _Best
    tracks: set[int]
    seen: int
    first: float
    last: float
    recent: deque[bool]
    index: int
    at: float | None


@dataclass
class _State:
    """One rule in one source."""

    rule: AlertRule
    alerts: list[_Alert] = field(default_factory=list)
    sights: deque[_Sight] = field(init=False)

    def __post_init__(self) -> None:
        self.sights = deque(maxlen=self.rule.frames[1])

    def update(
        self, frame: Frame, matching: Detections, time: float, numbers: Iterator[int], kind: Clock
    ) -> list[AlertEvent]:
        """The next frame, with the detections that match the rule: the alerts that end, and that begin."""
        sight = _sight(self.rule, frame, matching, time)
        self.sights.append(sight)
        events = []
        self._go_on(sight)
        for alert in list(self.alerts):
            alert.index, alert.at = frame.index, frame.time
            if not any(alert.recent) and time - alert.last >= self.rule.hold - ROUNDING:
                events.append(self._end(alert, frame.source, "gone", frame))
        while counted := self._evidence():
            best = max((best for _, best in counted), key=lambda best: best.score)
            first, newest = counted[0][0], counted[-1][1]
            tracks = {best.track for _, best in counted} - {NO_TRACK}
            if (lost := self._lost_since(first)) is not None:
                lost.tracks |= tracks
                lost.seen, lost.last, lost.newest, lost.recent[-1] = lost.seen + len(counted), time, newest, True
                lost.best = max(lost.best, best, key=lambda best: best.score)
                continue
            alert = _Alert(
                number=next(numbers),
                best=best,
                newest=newest,
                tracks=tracks,
                seen=len(counted),
                first=first.time,
                last=time,
                recent=deque([True], maxlen=self.rule.frames[1]),
                index=frame.index,
                at=frame.time,
            )
            self.alerts.append(alert)
            # Of a file, by its own time; of a camera, with the time that detecting took.
            waited = time - first.time if kind == "time" else clock.monotonic() - first.captured
            events.append(self._event("begin", alert, frame.source, frame, delay=waited * 1e3))
        return events

    def forget(self, source: str, reason: EndReason) -> list[AlertEvent]:
        """No frame that was seen counts any more."""
        events = [self._end(alert, source, reason, None) for alert in list(self.alerts)]
        self.sights.clear()
        return events

    def _go_on(self, sight: _Sight) -> None:
        """Tell every alert whether the frame shows what it is about."""
        for alert in self.alerts:
            sure = self._sure_of(alert, sight)
            # What is not sure keeps an alert alive only where it goes on with the same object.
            shown = _best_of(sure) or _best_of(sight.weak[track] for track in alert.tracks & sight.weak.keys())
            alert.recent.append(shown is not None)
            if shown is None:
                continue
            alert.seen, alert.last, alert.newest = alert.seen + 1, sight.time, shown
            alert.tracks |= {best.track for best in sure} - {NO_TRACK}
            if sure and shown.score > alert.best.score:
                alert.best = shown

    def _sure_of(self, alert: _Alert, sight: _Sight) -> list[_Best]:
        """What a frame surely shows of an alert's object; of any, where an alert is about a class."""
        if self.rule.evidence == "class":
            return list(sight.sure.values())
        own = [best for track, best in sight.sure.items() if track in alert.tracks]
        if own or alert.tracks & sight.weak.keys():
            return own
        # A track that was lost is often found again as another one, at the same place.
        taken = self._taken()
        near = [
            (_iou(best.box, alert.newest.box), best) for track, best in sight.sure.items() if track not in taken
        ]
        closest = max(near, key=lambda pair: pair[0], default=None)
        return [closest[1]] if closest is not None and closest[0] >= SAME_PLACE else []

    def _lost_since(self, first: _Sight) -> _Alert | None:
        """The alert whose object was in no frame since ``first``: it jumped, as all does when a head turns."""
        frames = len(self.sights) - next(place for place, one in enumerate(self.sights) if one is first)
        return next((alert for alert in self.alerts if not any(list(alert.recent)[-frames:])), None)

    def _taken(self) -> set[int]:
        """The tracks that alerts are about."""
        return set().union(*(alert.tracks for alert in self.alerts))

    def _evidence(self) -> list[tuple[_Sight, _Best]]:
        """The frames that make a beginning, and what they show; none where they are too few."""
        needed, newest = self.rule.frames[0], self.sights[-1]
        if self.rule.evidence == "class":
            counted = [(one, best) for one in self.sights if (best := one.best) is not None]
            return counted if len(counted) >= needed and newest.sure and not self.alerts else []
        counts = Counter(track for one in self.sights for track in one.sure)
        taken = self._taken() | {NO_TRACK}
        ready = [track for track in newest.sure if track not in taken and counts[track] >= needed]
        if not ready:
            return []
        track = max(ready, key=lambda track: (counts[track], newest.sure[track].score))
        return [(one, one.sure[track]) for one in self.sights if track in one.sure]

    def _end(self, alert: _Alert, source: str, reason: EndReason, frame: Frame | None) -> AlertEvent:
        event = self._event("end", alert, source, frame, seconds=alert.last - alert.first, reason=reason)
        self.alerts.remove(alert)
        return event

    def _event(
        self,
        kind: Literal["begin", "end"],
        alert: _Alert,
        source: str,
        frame: Frame | None,
        *,
        delay: float | None = None,
        seconds: float | None = None,
        reason: EndReason | None = None,
    ) -> AlertEvent:
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


def _best_of(found: Iterable[_Best]) -> _Best | None:
    return max(found, key=lambda best: best.score, default=None)


def _iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    return float(pairwise_iou(np.array([first]), np.array([second]))[0, 0])


def _sight(rule: AlertRule, frame: Frame, matching: Detections, time: float) -> _Sight:
    """What a frame's matching detections say."""
    sure: dict[int, _Best] = {}
    weak: dict[int, _Best] = {}
    for (box, score, _, name), track in zip(matching, matching.data[TRACK].tolist(), strict=True):
        x1, y1, x2, y2 = (float(value) for value in box)
        best = _Best(name, track, score, (x1, y1, x2, y2), matching.frame_size)
        if np.float32(score) >= np.float32(rule.conf):
            if track not in sure or score > sure[track].score:
                sure[track] = best
        elif track != NO_TRACK and (track not in weak or score > weak[track].score):
            weak[track] = best
    return _Sight(time, frame.captured, sure, weak)

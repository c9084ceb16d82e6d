"""Inbox of the frames of live sources: one place per source, taken in turns."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from edgedet.pictures.frames import Frame
from edgedet.pictures.live.fault import Fault

MAX_WAITING = 1000
"""Largest number of reports that wait to be taken; all of them are counted."""


@dataclass
class Place:
    """What has arrived from one source.

    ``waiting``: the frame that nobody has taken yet. ``error``: why it ended, None where it ended as it should.
    """

    waiting: Frame | None = None
    dropped: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    finished: bool = False
    error: Exception | None = None


class Inbox:
    """Frames and faults of several sources for one taker. Every method may be called from any thread."""

    def __init__(self, places: int) -> None:
        self.places = [Place() for _ in range(places)]
        self._changed = threading.Condition()
        self._reports: deque[Fault] = deque(maxlen=MAX_WAITING)
        self._turn = 0
        self._closed = False
        self._failure: BaseException | None = None

    def put(self, number: int, make: Callable[[int], Frame], *, wanted: Callable[[], bool], every: bool) -> bool:
        """Give source ``number`` its newest frame; the one that was still waiting counts as dropped.

        ``make``: the frame, by how many were dropped before it. ``wanted``: whether it still is, asked when it is
        its turn. ``every``: wait until the one before it was taken. Returns whether the frame went in.
        """
        place = self.places[number]
        with self._changed:
            while every and place.waiting is not None and wanted() and not self._closed:
                self._changed.wait(0.1)
            if self._closed or not wanted():
                return False
            place.dropped += place.waiting is not None
            place.waiting = make(place.dropped)
            self._changed.notify_all()
            return True

    def report(self, number: int, fault: Fault) -> None:
        """A fault of source ``number``."""
        with self._changed:
            self.places[number].faults[fault.kind] += 1
            self._reports.append(fault)
            self._changed.notify_all()

    def finish(self, number: int, error: Exception | None = None) -> None:
        """Source ``number`` gives nothing more."""
        with self._changed:
            self.places[number].finished = True
            self.places[number].error = error
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Something that no reopening mends: whoever takes next gets the error."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def take(self, timeout: float | None = None) -> Frame | Fault | None:
        """The next report, or else the newest frame of the source whose turn it is; None after ``timeout`` seconds.

        Raises:
            EOFError: every source has finished, and nothing waits any more. ``__cause__`` is why, if there is one.
        """
        with self._changed:
            if not self._changed.wait_for(self._is_ready, timeout):
                return None
            if self._reports:
                return self._reports.popleft()
            if self._failure is not None:
                raise self._failure
            count = len(self.places)
            for step in range(count):
                number = (self._turn + step) % count
                place = self.places[number]
                if place.waiting is not None and not self._closed:
                    frame, place.waiting = place.waiting, None
                    self._turn = (number + 1) % count
                    self._changed.notify_all()
                    return frame
            raise EOFError from next((place.error for place in self.places if place.error is not None), None)

    def renew(self, frame: Frame) -> Frame | None:
        """A newer frame of the same source in place of ``frame``, which counts as dropped; None where there is
        none. Nobody's turn passes by that."""
        with self._changed:
            for place in self.places:
                newer = place.waiting
                if newer is not None and newer.source == frame.source and not self._closed:
                    place.waiting = None
                    place.dropped += 1
                    self._changed.notify_all()
                    return replace(newer, dropped=place.dropped)
            return None

    def close(self) -> None:
        """Nothing more is wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_ready(self) -> bool:
        return (
            bool(self._reports)
            or self._closed
            or self._failure is not None
            or any(place.waiting is not None for place in self.places)
            or all(place.finished for place in self.places)
        )

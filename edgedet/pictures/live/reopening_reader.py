"""One live source: a thread that reads it, and one that watches over the first and opens the source again.

A native read can block for ever. It is never waited for: the watcher leaves such a reader behind, which closes what
it holds as soon as its call comes back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from edgedet.errors import SourceEndedError, SourceError
from edgedet.pictures.frames import Frame
from edgedet.pictures.live.capture import Capture, Damaged, Finished, Gone, Opener, Shot
from edgedet.pictures.live.fault import Fault, FaultKind
from edgedet.pictures.live.inbox import Inbox
from edgedet.pictures.live.settings import LiveSettings

FIRST_WAIT = 0.1
"""Seconds from the first fault to the next attempt."""
MAX_DAMAGED = 10
"""Frames in a row that cannot be decoded before the source is opened again."""
MAX_BLOCKED = 4
"""Readers left behind in calls that do not return, before no further one is started."""
_OVERTIME = 1.0
"""Seconds that a library may exceed the limit it was given, before its call counts as blocked."""
_CLOSING = 1.0
"""Seconds that a source may take to close, before it is opened again all the same."""


class Outcome(NamedTuple):
    """Why a reader stopped: a fault, an error that no reopening mends, or neither at the source's own end."""

    kind: FaultKind | None
    reason: str = ""
    error: BaseException | None = None


class Feed:
    """Reads one source into its place of an inbox, from :meth:`start` to :meth:`close`."""

    def __init__(self, name: str, opener: Opener, settings: LiveSettings, inbox: Inbox, number: int) -> None:
        self.name = name
        self.rate: float | None = None
        self.count: int | None = None
        self.opened = threading.Event()
        """Set when the first attempt to open the source has succeeded or failed."""
        self.refusal: BaseException | None = None
        """Why the first attempt failed."""
        self._opener = opener
        self._settings = settings
        self._inbox = inbox
        self._number = number
        self._changed = threading.Condition()
        self._closing = False
        self._blocked: list[_Reader] = []
        self._index = 0
        self._times = _Times()
        self._size: tuple[int, ...] | None = None
        self._watcher = threading.Thread(target=self._watch, name=f"edgedet-watch {name}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._watcher.start()

    def close(self, seconds: float = 0.0) -> None:
        """End, and wait for it ``seconds`` at most."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._watcher.ident is not None and self._watcher is not threading.current_thread():
            self._watcher.join(seconds)

    def _watch(self) -> None:
        try:
            self._keep_open()
        except BaseException as error:  # a fault of ours; without this the taker would wait for ever
            self._inbox.fail(error)
        finally:
            self.opened.set()

    def _keep_open(self) -> None:
        settings, attempts, last_good = self._settings, 0, time.monotonic()
        while not self._closing:
            reader = _Reader(self)
            reader.start()
            outcome = self._outcome(reader)
            last_good = max(last_good, reader.last_frame)
            # What works for a while may fail at once again: only then do the waits begin anew.
            if reader.last_frame - reader.since > settings.longest_wait:
                attempts = 0
            if not self._is_over(reader) or self._closing:
                self._blocked.append(reader)
            if self._closing:
                reader.join(_CLOSING)
                return
            if outcome.kind is None:
                if outcome.error is not None and not self.opened.is_set():
                    self.refusal = outcome.error
                elif outcome.error is not None:
                    self._inbox.fail(outcome.error)
                self._inbox.finish(self._number)
                return
            if not self.opened.is_set():
                self.refusal = outcome.error or SourceError(outcome.reason)
                self._inbox.finish(self._number, SourceError(outcome.reason))
                return
            limit, without = settings.give_up_seconds, time.monotonic() - last_good
            if limit is not None and without >= limit:
                self._give_up(outcome, without)
                return
            wait = min(FIRST_WAIT * 2 ** min(attempts, 30), settings.longest_wait)
            attempts += 1
            self._report(outcome.kind, outcome.reason, wait)
            self._wait(wait)
            self._wait_for_blocked()

    def _outcome(self, reader: _Reader) -> Outcome:
        """Wait until the reader stops, or must be left behind."""
        settings = self._settings
        with self._changed:
            while True:
                if reader.outcome is not None:
                    return reader.outcome
                if self._closing:
                    reader.abandoned = True
                    return Outcome(None)
                limit = settings.stall_seconds if reader.opened else settings.open_seconds + _OVERTIME
                left = reader.progress + limit - time.monotonic()
                if left <= 0 and not reader.delivering:
                    reader.abandoned = True
                    if not reader.opened:
                        return Outcome("unreachable", f"{self.name} did not open within {limit - _OVERTIME:g} s")
                    return Outcome("stalled", f"{self.name} gave no frame for {limit:g} s")
                self._changed.wait(max(left, 0.01))

    def _is_over(self, reader: _Reader) -> bool:
        """A device can be opened again only when it is closed."""
        if reader.abandoned:
            # Its call may return any moment, or never.
            return self._wait(min(0.2, self._settings.stall_seconds), lambda: not reader.is_alive())
        return self._wait(_CLOSING, lambda: not reader.is_alive())

    def _wait_for_blocked(self) -> None:
        def few() -> bool:
            self._blocked = [reader for reader in self._blocked if reader.is_alive()]
            return len(self._blocked) < MAX_BLOCKED

        while not self._closing and not few():
            self._wait(0.5, few)

    def _wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Wait at most so long, or until ``until()`` is true; shorter when the feed closes. Returns ``until()``."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                if until is not None and until():
                    return True
                left = end - time.monotonic()
                if left <= 0 or self._closing:
                    return False
                # Threads tell nobody when they end.
                self._changed.wait(left if until is None else min(left, 0.02))

    def _give_up(self, outcome: Outcome, without: float) -> None:
        limit = self._settings.give_up_seconds
        reason = (
            outcome.reason if not limit else f"{self.name} was given up after {without:.1f} s: {outcome.reason}"
        )
        self._report("ended", reason, None)
        self._inbox.finish(self._number, SourceEndedError(reason))

    def _report(self, kind: FaultKind, reason: str, wait: float | None) -> None:
        self._inbox.report(self._number, Fault(self.name, kind, reason, self._index, time.monotonic(), wait))

    # Called by the reader's thread.

    def take_in(self, reader: _Reader, shot: Shot) -> None:
        """A frame has come."""
        if reader.abandoned:
            return
        index = self._index
        media = self._times.of(shot, first_of_reader=reader.size is None)

        def make(dropped: int) -> Frame:
            self._index = index + 1
            return Frame(shot.image, f"{self.name} #{index}", index, media, shot.captured, self.name, dropped)

        self._inbox.put(
            self._number, make, wanted=lambda: not reader.abandoned, every=self._settings.keep == "every"
        )

    def tell_damaged(self, reason: str) -> None:
        """A frame has come that cannot be decoded."""
        self._report("damaged", f"frame {self._index} of {self.name} {reason}", None)
        self._index += 1

    def tell_opened(self, reader: _Reader, capture: Capture) -> None:
        """The source is open."""
        self.rate, self.count = capture.rate, capture.count
        with self._changed:
            reader.opened, reader.progress = True, time.monotonic()
            self._changed.notify_all()
        self.opened.set()

    def tell_outcome(self, reader: _Reader, outcome: Outcome) -> None:
        """The reader has stopped."""
        with self._changed:
            reader.outcome = outcome
            self._changed.notify_all()

    def resized(self, reader: _Reader, size: tuple[int, ...]) -> Outcome | None:
        """What frames of another size amount to. At an opening they need no other one, and are only reported."""
        if reader.abandoned:
            return None
        before, self._size = self._size, size
        if before is None or before == size:
            return None
        old, new = (f"{width}x{height}" for height, width in (before, size))
        outcome = Outcome("resized", f"{self.name} changed its frames from {old} to {new}")
        if reader.size is None:
            self._report("resized", outcome.reason, None)
        return outcome

    def broken(self, gone: Gone) -> Outcome:
        """What a source that broke off amounts to."""
        count = "1 frame" if self._index == 1 else f"{self._index} frames"
        return Outcome("disconnected", f"{self.name} {gone.verb} after {count}; {gone.hint}")

    def open(self) -> Capture:
        """Open the source."""
        return self._opener()


class _Reader(threading.Thread):
    """Opens the source once and reads it until it breaks, or until nobody wants it any more."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(name=f"edgedet-read {feed.name}", daemon=True)
        self.opened = False
        self.delivering = False
        self.abandoned = False
        self.outcome: Outcome | None = None
        self.size: tuple[int, ...] | None = None
        self.since = self.progress = time.monotonic()
        self.last_frame = 0.0
        self._feed = feed

    def run(self) -> None:
        """See :class:`threading.Thread`."""
        feed = self._feed
        capture: Capture | None = None
        outcome = Outcome(None)
        try:
            capture = feed.open()
            if not self.abandoned:
                feed.tell_opened(self, capture)
                outcome = self._read(capture)
        except SourceError as error:
            outcome = Outcome("unreachable", str(error), error)
        except Gone as gone:
            outcome = feed.broken(gone)
        except Finished:
            pass
        except BaseException as error:  # handed to whoever takes frames
            outcome = Outcome(None, "", error)
        finally:
            feed.tell_outcome(self, outcome)
            if capture is not None:
                capture.close()

    def _read(self, capture: Capture) -> Outcome:
        feed, damaged = self._feed, 0
        while not self.abandoned:
            try:
                shot = capture.read()
            except Damaged as error:
                damaged += 1
                if not self.abandoned:
                    feed.tell_damaged(str(error))
                if damaged >= MAX_DAMAGED:
                    return Outcome("disconnected", f"{feed.name} gave {damaged} damaged frames in a row")
                continue
            damaged, size = 0, shot.image.shape[:2]
            resized = feed.resized(self, size)
            if resized is not None and self.size is not None:
                return resized
            self.delivering = True
            feed.take_in(self, shot)
            self.size = size
            self.progress = self.last_frame = time.monotonic()
            self.delivering = False
        return Outcome(None)


class _Times:
    """Times of presentation over several openings: each begins where the clock says, and goes on by its stamps."""

    def __init__(self) -> None:
        self._begin: float | None = None
        self._shift = 0.0
        self._latest = -1.0

    def of(self, shot: Shot, *, first_of_reader: bool) -> float | None:
        if shot.stamp is None:
            return None
        if self._begin is None:
            self._begin = shot.captured
        if first_of_reader:
            self._shift = shot.captured - self._begin - shot.stamp
        time_ = shot.stamp + self._shift
        if time_ <= self._latest:
            return None
        self._latest = time_
        return time_

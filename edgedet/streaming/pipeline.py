"""The threads of a stream: frames are taken, prepared and run while the caller works on the result before.

Recorded frames come in order, none is left out, and at most one frame's time is added to the way of each. A frame
of a live source is taken just in time (:meth:`Pace.begin_at`): whatever waits in a queue grows old there.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from edgedet.errors import FrameError
from edgedet.pictures.frames import Frame
from edgedet.streaming.pace import Limits, Pace, Rest

CLOSING_SECONDS = 0.8
"""How long closing waits for the threads; one that is inside a long native call ends after it."""
_MOMENT = 0.2
"""Seconds; waits are cut into pieces of this length, so that Ctrl-C is heard on every system."""


MAX_WAIT_FACTOR = 4
"""Maximum wait of a prepared frame, in times of preparing one: after it a newer one is prepared in its place."""
MIN_WAIT = 0.01
"""Seconds that it may wait at any rate."""


class Work(Protocol):
    """What is done with each frame. ``prepare`` and ``run`` are called by one thread each."""

    def prepare(self, frame: Frame, buffer: int) -> Any:
        """Make the network's input in buffer 0 or 1.

        Raises:
            FrameError: not an image.
        """

    def run(self, prepared: Any) -> Any:
        """The result."""


class Taken(NamedTuple):
    """What a source gave: a frame, or something to be told in the caller's thread at its place in the order."""

    frame: Frame | None
    tell: Callable[[], None] | None = None


class Taker(Protocol):
    """Source of frames. One thread calls it."""

    live: bool

    def take(self) -> Taken | None:
        """The next frame or notice; None when nothing has come for a moment.

        Raises:
            EOFError: nothing more comes.
        """

    def renew(self, frame: Frame) -> Frame | None:
        """A newer frame in place of one that has waited; at once, None where there is none."""

    def refuse(self, frame: Frame, error: FrameError) -> Taken:
        """What becomes of a frame that is no image; raises where nobody is told."""

    def release(self) -> None:
        """Close the source; called by the thread that takes, at its end."""


@dataclass
class _Item:
    """On its way: a frame with what was made of it, a notice, or the end."""

    taken: Taken | None
    made: Any = None
    ready_at: float = math.inf
    error: BaseException | None = None

    @property
    def frame(self) -> Frame | None:
        return None if self.taken is None else self.taken.frame


class Pipeline:
    """Runs ``work`` on what ``taker`` gives. :meth:`next` gives frames with their results, in order."""

    def __init__(self, taker: Taker, work: Work, limits: Limits) -> None:
        self.pace = Pace()
        self._taker = taker
        self._work = work
        self._rest = Rest(limits)
        self._changed = threading.Condition()
        self._stopped = False
        # One place between every two stages; None is empty.
        self._captured: _Item | None = None
        self._prepared: _Item | None = None
        self._delivered: _Item | None = None
        self._preparing = False
        self._stale = False
        self._running_since: float | None = None
        self._away_since: float | None = None
        self._asked = False
        stages = [self._prepare, self._run] if taker.live else [self._capture, self._prepare, self._run]
        self._threads = [
            threading.Thread(target=self._guarded, args=(stage,), name=f"edgedet-{stage.__name__[1:]}", daemon=True)
            for stage in stages
        ]

    def set_limits(self, limits: Limits) -> None:
        """From the next run on."""
        self._rest.limits = limits

    def start(self) -> None:
        """Begin; returns at once."""
        for thread in self._threads:
            thread.start()

    def next(self) -> tuple[Frame, Any]:
        """The next frame and its result. Notices on the way to it are told.

        Raises:
            StopIteration: nothing more comes.
            Exception: whatever went wrong in any stage, after the results before it.
        """
        with self._changed:
            self._asked = True
            if self._away_since is not None:
                self.pace.away.add(time.monotonic() - self._away_since)
                self._away_since = None
            self._changed.notify_all()
        while True:
            with self._changed:
                while self._delivered is None:
                    if self._stopped:
                        raise StopIteration
                    self._changed.wait(_MOMENT)
                item, self._delivered = self._delivered, None
                if item.taken is not None and item.taken.frame is not None:
                    self._asked, self._away_since = False, time.monotonic()
                self._changed.notify_all()
            if item.taken is None:
                self.close()
                if item.error is not None:
                    raise item.error
                raise StopIteration
            if item.taken.tell is not None:
                item.taken.tell()
            if item.frame is not None:
                return item.frame, item.made

    def close(self) -> None:
        """Stop, and wait a moment for the threads; calling twice is harmless."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        end = time.monotonic() + CLOSING_SECONDS
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(end - time.monotonic(), 0.0))

    # The stages, each a thread.

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:  # raised in the caller's thread
            with self._changed:
                while self._delivered is not None and not self._stopped:
                    self._changed.wait(_MOMENT)
                self._delivered = _Item(None, error=error)
                self._changed.notify_all()
        finally:
            if stage == (self._prepare if self._taker.live else self._capture):
                self._taker.release()

    def _capture(self) -> None:
        for item in self._taken(lambda: self._captured is None and self._may_look_ahead()):
            with self._changed:
                self._captured = item
                self._changed.notify_all()

    def _prepare(self) -> None:
        buffer = 0
        for taken in self._taken(self._is_time) if self._taker.live else self._handed_over():
            item, frame = taken, taken.frame
            if frame is not None:
                item = self._made(item, frame, buffer)
            with self._changed:
                # One buffer is being run, the other holds this; the next one needs a free one.
                self._prepared, self._preparing = item, False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._prepared is None or self._stopped or self._stale)
                stale = self._stale
            if stale and frame is not None:
                newer = self._taker.renew(frame)
                if newer is not None:
                    item = self._made(_Item(Taken(newer)), newer, buffer)
                with self._changed:
                    self._prepared, self._stale = item, False
                    item.ready_at = math.inf
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._prepared is None or self._stopped)
            buffer = 1 - buffer

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._prepared is not None or self._stopped):
                    continue
                item = self._prepared
                if self._stopped or item is None:
                    return
                began = time.monotonic()
                if self._taker.live and item.frame is not None and self._has_waited(item, began):
                    self._stale = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: not self._stale or self._stopped)
                    continue
                self._prepared = None
                self._running_since = began if item.frame is not None else None
                self._changed.notify_all()
            if item.frame is not None:
                item.made = self._work.run(item.made)
            ended = time.monotonic()
            with self._changed:
                self._changed.wait_for(lambda: self._delivered is None or self._stopped)
                if self._stopped:
                    return
                self._delivered = item
                self._changed.notify_all()
                if item.taken is None:
                    return
                if item.frame is None:
                    continue
                until = self._rest.until(began, ended)
                self.pace.run.add(ended - began)
                self.pace.busy.add(max(until, ended) - began)
                while not self._stopped and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                self._running_since = None
                self._changed.notify_all()

    def _taken(self, when: Callable[[], bool | float]) -> Iterator[_Item]:
        """What the source gives, each item taken when ``when`` says so; the last one is the end.

        ``when``: whether it is time, or else after how many seconds to ask again.
        """
        while True:
            with self._changed:
                while not self._stopped and (answer := when()) is not True:
                    self._changed.wait(_MOMENT if answer is False else answer)
                if self._stopped:
                    return
                self._preparing = self._taker.live
            began = time.monotonic()
            try:
                taken = self._taker.take()
            except EOFError as end:
                yield _Item(None, error=end.__cause__)
                return
            except BaseException as error:  # comes after the results before it
                yield _Item(None, error=error)
                return
            if taken is not None:
                self.pace.capture.add(time.monotonic() - began)
                yield _Item(taken)

    def _handed_over(self) -> Iterator[_Item]:
        """What :meth:`_capture` has taken."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._captured is not None or self._stopped)
                item, self._captured = self._captured, None
                if self._stopped or item is None:
                    return
                self._preparing = True
                self._changed.notify_all()
            yield item

    def _made(self, item: _Item, frame: Frame, buffer: int) -> _Item:
        """The item with the network's input; or what becomes of it where its frame is no image."""
        began = time.monotonic()
        try:
            item.made = self._work.prepare(frame, buffer)
        except FrameError as error:
            return self._refused(frame, error)
        except BaseException as error:  # goes the way of the frame, so that it overtakes no result
            return _Item(None, error=error)
        item.ready_at = time.monotonic()
        self.pace.prepare.add(item.ready_at - began)
        return item

    def _has_waited(self, item: _Item, now: float) -> bool:
        """Whether a prepared frame has waited so long, for a run or a caller slower than usual, that preparing a
        newer one is worth its time."""
        return now - item.ready_at > max(MAX_WAIT_FACTOR * self.pace.prepare.seconds, MIN_WAIT)

    def _refused(self, frame: Frame, error: FrameError) -> _Item:
        try:
            return _Item(self._taker.refuse(frame, error))
        except FrameError as refused:
            return _Item(None, error=refused)

    def _may_look_ahead(self) -> bool:
        """Whether to take a recorded frame although the one before it has not begun to run: where taking and
        preparing together last as long as running, the network would wait otherwise; else only the frame would."""
        if self._prepared is None and not self._preparing:
            return True
        pace = self.pace
        return bool(pace.busy) and pace.capture.seconds + pace.prepare.seconds >= pace.busy.seconds

    def _is_time(self) -> bool | float:
        """Whether to take a frame of a live source: when it will be wanted, or is already."""
        if self._prepared is not None or self._delivered is not None:
            return False
        if self._asked and self._running_since is None:
            return True
        left = self.pace.begin_at(self._running_since, None if self._asked else self._away_since) - time.monotonic()
        return True if left <= 0 else left

"""A thread that carries events to a place outside, so that nothing outside holds up the watch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from edgedet.watching.alert import AlertEvent

MAX_WAITING = 1000
"""Events that wait to be delivered; when more come, the oldest are lost, counted and told."""
CLOSING_SECONDS = 0.3
"""How long closing waits for all deliveries after Ctrl-C, which must end a program within a second."""

Say = Callable[[str], None]


class Failed(Exception):
    """An event that was not delivered. ``retry``: seconds until it is tried again, None for never."""

    def __init__(self, reason: str, retry: float | None = None) -> None:
        super().__init__(reason)
        self.retry = retry


class Carrier(Protocol):
    """What knows how to deliver one event. One thread calls it; ``stop`` may come from another."""

    name: str

    def deliver(self, event: AlertEvent) -> None:
        """Deliver one event; may take its time.

        Raises:
            Failed: it could not be delivered.
        """

    def stop(self) -> None:
        """Give up what is under way."""


class Outlet(Protocol):
    """A place that events go to."""

    name: str

    def send(self, event: AlertEvent) -> None:
        """Take an event; returns at once."""

    def close(self, seconds: float) -> int:
        """Wait at most so long for what is under way; the number of events that were lost or not delivered."""


class Courier:
    """Hands events to a carrier one by one, in order, and keeps those that it cannot deliver yet.

    Args:
        carrier: delivers them.
        say: told, in one sentence, when a delivery fails, once until one succeeds again.
    """

    def __init__(self, carrier: Carrier, say: Say, *, max_waiting: int = MAX_WAITING) -> None:
        self.name = carrier.name
        self._carrier = carrier
        self._say = say
        self._waiting: deque[AlertEvent] = deque()
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False
        self._lost = 0
        self._thread = threading.Thread(target=self._carry, name=f"edgedet-outlet {carrier.name}", daemon=True)
        self._thread.start()

    def send(self, event: AlertEvent) -> None:
        """Take an event; returns at once."""
        full = False
        with self._changed:
            if len(self._waiting) >= self._max_waiting:
                self._waiting.popleft()
                self._lost += 1
                full = True
            self._waiting.append(event)
            self._changed.notify_all()
        if full:
            self._tell(f"{self._max_waiting} events are waiting; the oldest is lost")

    def close(self, seconds: float) -> int:
        """Wait at most so long for what is under way; the number of events that were lost or not delivered."""
        with self._changed:
            end = time.monotonic() + seconds
            while (self._waiting or self._busy) and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.1))
            undelivered = len(self._waiting) + self._lost + self._busy
            self._closing = True
            self._waiting.clear()
            self._changed.notify_all()
        self._carrier.stop()
        self._thread.join(0.1)
        return undelivered

    def _tell(self, text: str) -> None:
        # Where nobody can be told, the events still go.
        with contextlib.suppress(OSError, ValueError):
            self._say(f"{self.name}: {text}")

    def _carry(self) -> None:
        quiet = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                event = self._waiting.popleft()
                self._busy = True
            retry: float | None = None
            try:
                self._carrier.deliver(event)
                quiet = False
            except Exception as error:
                retry = error.retry if isinstance(error, Failed) else None
                if not quiet and not self._closing:
                    unexpected = f"unexpected {type(error).__name__}: {error}; the event is lost"
                    self._tell(str(error) if isinstance(error, Failed) else unexpected)
                # What is tried again would say the same each time.
                quiet = retry is not None
                with self._changed:
                    if retry is None or len(self._waiting) >= self._max_waiting:
                        self._lost += 1
                    else:
                        self._waiting.appendleft(event)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
            if retry is not None:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, retry)

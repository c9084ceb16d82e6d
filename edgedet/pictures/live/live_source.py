"""Live sources as frame sources: one or several, the newest frame of each in turns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from edgedet.errors import SourceEndedError
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.live.address import names_of, opener_of
from edgedet.pictures.live.capture import Opener
from edgedet.pictures.live.fault import Fault
from edgedet.pictures.live.inbox import Inbox
from edgedet.pictures.live.reopening_reader import Feed
from edgedet.pictures.live.settings import LiveSettings

CLOSING_SECONDS = 0.5
"""How long closing waits for the readers; a call that blocks is left behind."""


class LiveSource:
    """Cameras and streams, read in threads of their own; see :class:`edgedet.pictures.sources.FrameSource`.

    Args:
        captures: name and opener of every source.
        settings: how they are read.
        fault: told of every fault, in the thread that iterates.
        unreadable: told when all have ended; without it, that raises.

    Raises:
        SourceError: one of them cannot be opened.
    """

    count: int | None = None
    endless = True

    def __init__(
        self,
        captures: Sequence[tuple[str, Opener]],
        settings: LiveSettings | None = None,
        *,
        fault: Callable[[Fault], None] | None = None,
        unreadable: Callable[[Unreadable], None] | None = None,
    ) -> None:
        settings = settings or LiveSettings()
        self.description = ", ".join(name for name, _ in captures)
        self._fault = fault
        self._unreadable = unreadable
        self._inbox = Inbox(len(captures))
        self._feeds = [
            Feed(name, opener, settings, self._inbox, number) for number, (name, opener) in enumerate(captures)
        ]
        for feed in self._feeds:
            feed.start()
        try:
            for feed in self._feeds:
                # In short waits, so that Ctrl-C is heard on every system.
                while not feed.opened.wait(0.2):
                    if feed.refusal is not None:
                        break
                if feed.refusal is not None:
                    raise feed.refusal
        except BaseException:
            self.close()
            raise
        self.rate: float | None = self._feeds[0].rate if len(self._feeds) == 1 else None

    @property
    def recorded(self) -> bool:
        """Whether it is a single recording of known length after all."""
        return len(self._feeds) == 1 and self._feeds[0].count is not None

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones."""
        return sum(place.dropped for place in self._inbox.places)

    @property
    def faults(self) -> Counter[str]:
        """Number of faults of each kind."""
        return sum((place.faults for place in self._inbox.places), Counter())

    def take(self, timeout: float | None = None) -> Frame | Fault | None:
        """The next fault or newest frame; None after ``timeout`` seconds. Several threads may call it.

        Raises:
            EOFError: the sources have ended; ``__cause__`` is why, where it was too early.
        """
        return self._inbox.take(timeout)

    def renew(self, frame: Frame) -> Frame | None:
        """A newer frame of the same source in place of ``frame``, which counts as dropped, where there is one."""
        return self._inbox.renew(frame)

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            try:
                item = self.take(0.5)
            except EOFError as end:
                cause = end.__cause__
                if cause is None:
                    return
                if self._unreadable is None or not isinstance(cause, SourceEndedError):
                    raise cause from None
                self._unreadable(Unreadable(f"{self.description} #{index}", index, str(cause), ends=True))
                return
            if isinstance(item, Fault):
                if self._fault is not None:
                    self._fault(item)
            elif item is not None:
                index = item.index + 1
                yield item

    def close(self) -> None:
        """Stop reading; a reader whose call blocks is left behind. Calling twice is harmless."""
        self._inbox.close()
        end = time.monotonic() + CLOSING_SECONDS
        for feed in self._feeds:
            feed.close()
        for feed in self._feeds:
            feed.close(max(end - time.monotonic(), 0.0))

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # The threads hold the feeds, not this.
        if hasattr(self, "_feeds"):
            self._inbox.close()
            for feed in self._feeds:
                feed.close()


def open_live(
    sources: Sequence[str | int | Path],
    settings: LiveSettings | None = None,
    *,
    fault: Callable[[Fault], None] | None = None,
    unreadable: Callable[[Unreadable], None] | None = None,
) -> LiveSource:
    """Open cameras and streams by their addresses.

    Raises:
        SourceError: one of them cannot be opened.
        MissingDependencyError: the library that it needs is not installed.
    """
    settings = settings or LiveSettings()
    names = names_of(sources)
    captures = [(name, opener_of(source, settings, name)) for source, name in zip(sources, names, strict=True)]
    return LiveSource(captures, settings, fault=fault, unreadable=unreadable)

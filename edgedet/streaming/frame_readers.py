"""Frame sources as streams take them: recorded ones frame by frame, live ones the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from edgedet.errors import FrameError, SourceEndedError
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.live.fault import Fault
from edgedet.pictures.live.live_source import LiveSource
from edgedet.pictures.sources import FrameSource, ReadsAhead
from edgedet.streaming.pipeline import Taken

MOMENT = 0.1
"""Seconds that a taker waits before it looks whether the stream was closed."""

TellUnreadable = Callable[[Unreadable], None] | None
TellFault = Callable[[Fault], None] | None


class RecordedTaker:
    """Every frame of an image, folder or video; see :class:`edgedet.streaming.pipeline.Taker`.

    What cannot be read is told by the source, in the caller's thread; one of the user's own that cannot do that
    tells when it is read. ``owned``: whether the source is closed at the end.
    """

    live = False

    def __init__(self, source: FrameSource, unreadable: TellUnreadable, *, owned: bool) -> None:
        self._source = source
        self._frames: Iterator[Frame | Unreadable] | None = None
        self._unreadable = unreadable
        self._owned = owned

    def take(self) -> Taken:
        """The next frame, or what was lost in its place."""
        source = self._source
        if self._frames is None:
            self._frames = map(source.read, source.items()) if isinstance(source, ReadsAhead) else iter(source)
        taken = next(self._frames, None)
        if taken is None:
            raise EOFError
        if isinstance(taken, Unreadable):
            assert isinstance(source, ReadsAhead)
            return Taken(None, partial(source.tell, taken))
        return Taken(taken)

    def renew(self, frame: Frame) -> None:
        """Every frame counts."""

    def refuse(self, frame: Frame, error: FrameError) -> Taken:
        """A frame that is no image is told like one that cannot be read."""
        return refused(frame, error, self._unreadable)

    def release(self) -> None:
        """Close the source."""
        if self._owned:
            self._source.__exit__(None, None, None)


class LiveTaker:
    """The newest frame of cameras and streams; see :class:`edgedet.streaming.pipeline.Taker`."""

    live = True

    def __init__(self, source: LiveSource, unreadable: TellUnreadable, fault: TellFault, *, owned: bool) -> None:
        self._source = source
        self._unreadable = unreadable
        self._fault = fault
        self._owned = owned
        self._index = 0
        self._ended = False

    def take(self) -> Taken | None:
        """The newest frame, or a fault; None when nothing has come for a moment."""
        if self._ended:
            raise EOFError
        try:
            item = self._source.take(MOMENT)
        except EOFError as end:
            cause = end.__cause__
            if self._unreadable is None or not isinstance(cause, SourceEndedError):
                raise
            self._ended = True
            name = f"{self._source.description} #{self._index}"
            return Taken(None, partial(self._unreadable, Unreadable(name, self._index, str(cause), ends=True)))
        if isinstance(item, Fault):
            return Taken(None, None if self._fault is None else partial(self._fault, item))
        if item is None:
            return None
        self._index = item.index + 1
        return Taken(item)

    def renew(self, frame: Frame) -> Frame | None:
        """A newer frame of the same source, where there is one."""
        return self._source.renew(frame)

    def refuse(self, frame: Frame, error: FrameError) -> Taken:
        """A frame that is no image is told like one that cannot be read."""
        return refused(frame, error, self._unreadable)

    def release(self) -> None:
        """Close the source."""
        if self._owned:
            self._source.close()


def refused(frame: Frame, error: FrameError, unreadable: TellUnreadable) -> Taken:
    """A frame that is no image, as something to be told; raises ``error`` where nobody is."""
    if unreadable is None:
        raise error
    return Taken(None, partial(unreadable, Unreadable(frame.name, frame.index, str(error))))

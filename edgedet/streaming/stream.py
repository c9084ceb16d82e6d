"""A running stream: frames with what was found in them, one after another, and figures of how it goes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgedet.errors import FrameError
from edgedet.pictures.frames import Frame
from edgedet.pictures.live.live_source import LiveSource
from edgedet.pictures.live.settings import LiveSettings
from edgedet.pictures.sources import CallersFrames, FrameSource, ReadsAhead, Source, open_source
from edgedet.streaming.frame_readers import LiveTaker, RecordedTaker, TellFault, TellUnreadable, refused
from edgedet.streaming.lanes import LaneRun
from edgedet.streaming.meter import Meter, StreamStats
from edgedet.streaming.pace import Limits
from edgedet.streaming.pipeline import Pipeline, Work

if TYPE_CHECKING:
    from edgedet.inference_lane import Lane

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Plan(Generic[Result]):
    """What a stream needs: see :meth:`Detector.stream`.

    ``source``: a source, or an opened one. ``work``: what is done with each frame. ``finish``: makes the result of
    what ``work`` gave, in the caller's thread. ``lanes``: with several, recorded frames go through these.
    """

    source: Any
    work: Work
    finish: Callable[[Any], Result]
    lanes: Sequence[Lane[Result]]
    limits: Limits
    unreadable: TellUnreadable
    fault: TellFault
    live: LiveSettings | None


def start_stream(
    source: Source | FrameSource,
    work: Work,
    finish: Callable[[Any], Result],
    *,
    lanes: Sequence[Lane[Result]] = (),
    limits: Limits,
    unreadable: TellUnreadable = None,
    fault: TellFault = None,
    live: LiveSettings | None = None,
) -> Stream[Result]:
    """A stream over ``source``: ``work`` is done with each frame, ``finish`` makes the result of it.

    ``lanes``: where there are several, recorded frames that no limit slows down go through these in place of
    ``work``, each giving what ``work`` gives.
    """
    return Stream(_Plan(source, work, finish, lanes, limits, unreadable, fault, live))


class Stream(Iterator[tuple[Frame, Result]], Generic[Result]):
    """What :meth:`Detector.stream` gives: an iterator over frames and their detections; and
    :meth:`Segmenter.stream`, over frames and their class maps.

    The source is opened, and the threads start, when the first result is asked for. They end with the iteration,
    with :meth:`close`, at the end of a ``with`` block, or when nobody holds the stream any more.

    Args:
        plan: what :meth:`Detector.stream` was asked for.

    >>> from edgedet import Detector
    >>> with Detector("model.onnx") as detector, detector.stream("photos") as stream:
    ...     found = sum(len(detections) for frame, detections in stream)
    ...     found, stream.stats.frames
    (12, 12)
    """

    def __init__(self, plan: _Plan[Result]) -> None:
        self._plan = plan
        self._meter = Meter()
        self._opened: FrameSource | None = None
        self._running: Pipeline | LaneRun | None = None
        self._frames: Iterator[Frame] | None = None
        self._closed = False
        self._closer: weakref.finalize | None = None

    @property
    def stats(self) -> StreamStats:
        """Figures so far: rates, ages, drops, faults."""
        opened = self._opened
        if isinstance(opened, LiveSource):
            return self._meter.stats(opened.dropped, opened.faults)
        return self._meter.stats(0, {})

    def __iter__(self) -> Stream[Result]:
        return self

    def __next__(self) -> tuple[Frame, Result]:
        if self._closed:
            raise StopIteration
        if self._opened is None:
            self._begin()
        try:
            frame, made = self._one_by_one() if self._running is None else self._running.next()
        except BaseException:
            self.close()
            raise
        self._meter.delivered(frame)
        return frame, self._plan.finish(made)

    def set_limits(self, *, max_fps: float | None = None, duty: float = 1.0) -> None:
        """Change what the stream may use, from the next frame on. Where several lanes work, nothing changes.

        Args:
            max_fps: as in :meth:`Detector.stream`.
            duty: the same.

        Raises:
            UsageError: out of range.

        >>> from edgedet import Detector
        >>> with Detector("model.onnx") as detector, detector.stream("photos") as stream:
        ...     stream.set_limits(max_fps=1000)
        ...     sum(1 for _ in stream)
        12
        """
        limits = Limits(max_fps, duty)
        self._plan = replace(self._plan, limits=limits)
        if isinstance(self._running, Pipeline):
            self._running.set_limits(limits)

    def close(self) -> None:
        """Stop the threads and close the source; calling twice is harmless."""
        self._closed = True
        self._frames = None
        if self._closer is not None:
            self._closer()

    def __enter__(self) -> Stream[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        plan = self._plan
        owned = not is_opened(plan.source)
        opened: FrameSource = plan.source
        if owned:
            opened = open_source(plan.source, unreadable=plan.unreadable, live=plan.live)
        self._opened = opened
        if isinstance(opened, CallersFrames):
            self._frames = iter(opened)
            return
        if isinstance(opened, LiveSource):
            live = LiveTaker(opened, plan.unreadable, plan.fault, owned=owned)
            self._running = Pipeline(live, plan.work, plan.limits)
        elif len(plan.lanes) > 1 and plan.limits.are_none and isinstance(opened, ReadsAhead) and opened.waits:
            self._running = LaneRun(opened, plan.lanes, plan.unreadable, owned=owned)
        else:
            recorded = RecordedTaker(opened, plan.unreadable, owned=owned)
            self._running = Pipeline(recorded, plan.work, plan.limits)
        # The threads hold what runs, not the stream: when the stream goes, they are told.
        self._closer = weakref.finalize(self, self._running.close)
        self._running.start()

    def _one_by_one(self) -> tuple[Frame, Any]:
        """The caller's own frames are asked for in the caller's thread, one at a time and never ahead: whoever
        makes them may use one array for all."""
        assert self._frames is not None
        for frame in self._frames:
            try:
                return frame, self._plan.work.run(self._plan.work.prepare(frame, 0))
            except FrameError as error:
                told = refused(frame, error, self._plan.unreadable)
                if told.tell is not None:
                    told.tell()
        raise StopIteration


def is_opened(source: Any) -> bool:
    """Whether it is what :func:`open_source` gives.

    >>> is_opened("photos"), is_opened(open_source("photos"))
    (False, True)
    """
    return all(hasattr(source, name) for name in ("description", "rate", "__iter__", "__exit__"))

"""Recorded frames from reading to detections on one thread for each lane of a detector, results in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from edgedet.errors import FrameError
from edgedet.inference_lane import Lane, Timing
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.sources import ReadsAhead
from edgedet.prefetch import in_order
from edgedet.streaming.frame_readers import TellUnreadable, refused

Made = tuple[Any, Timing]


class LaneRun:
    """Detects in what ``source`` has, a picture in each lane; :meth:`next` gives frames and results, in order.

    What cannot be read is told by the source, and what is no image to ``unreadable``, in the thread that asks, at
    its turn. ``owned``: whether the source is closed at the end.
    """

    def __init__(
        self, source: ReadsAhead, lanes: Sequence[Lane[Any]], unreadable: TellUnreadable, *, owned: bool
    ) -> None:
        self._source = source
        self._unreadable = unreadable
        self._owned = owned
        self._results = in_order(source.items(), [partial(_detected, source, lane) for lane in lanes])
        # Whoever closes it from another thread waits for the result that is being waited for.
        self._asking = threading.RLock()

    def start(self) -> None:
        """Nothing yet: the threads begin when the first result is asked for."""

    def next(self) -> tuple[Frame, Made]:
        """The next frame and its result. What was lost on the way to it is told.

        Raises:
            StopIteration: nothing more comes.
            Exception: whatever went wrong, after the results before it.
        """
        while True:
            with self._asking:
                result = next(self._results)
            if isinstance(result, Unreadable):
                self._source.tell(result)
                continue
            frame, made = result
            if not isinstance(made, FrameError):
                return frame, made
            told = refused(frame, made, self._unreadable)
            if told.tell is not None:
                told.tell()

    def close(self) -> None:
        """Wait for what the threads are at, and end them; calling twice is harmless."""
        with self._asking:
            self._results.close()
            if self._owned:
                self._source.__exit__(None, None, None)


def _detected(source: ReadsAhead, lane: Lane[Any], item: Any) -> Unreadable | tuple[Frame, Made | FrameError]:
    """What a lane's thread does for each item."""
    frame = source.read(item)
    if isinstance(frame, Unreadable):
        return frame
    try:
        (found,), timing = lane.detect_timed([frame.image])
    except FrameError as error:
        return frame, error
    return frame, (found, timing)

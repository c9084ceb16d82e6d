"""Detections in frame after frame of a source: frames that wait are read ahead, and results come in their order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from edgedet.detections import Detections
from edgedet.errors import FrameError
from edgedet.in_order import in_order, threads_beside
from edgedet.lane import Lane, Timing
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.sources import FrameSource, ReadsAhead

Found = tuple[Frame, Detections, Timing]


def detect_frames(
    lanes: Sequence[Lane], frames: FrameSource, unreadable: Callable[[Unreadable], None] | None
) -> Generator[Found, None, None]:
    """Every frame of an opened source with its detections.

    Pictures and frames of video files are read ahead on other threads. With one lane, detecting is done in the
    thread that asks for results; with several, each has a thread that reads and detects. ``unreadable``: told of
    the caller's own frames that are no images.

    Raises:
        FrameError: a frame is no image, and ``unreadable`` is None.
        SourceError: as iterating over ``frames``.
    """
    if not isinstance(frames, ReadsAhead) or not frames.waits:
        for frame in frames:
            try:
                found = _detect(lanes[0], frame)
            except FrameError as error:
                if unreadable is None:
                    raise
                unreadable(Unreadable(frame.name, frame.index, str(error)))
                continue
            yield found
        return
    alone = len(lanes) == 1
    works = [frames.read] * threads_beside() if alone else [_reading(frames, lane) for lane in lanes]
    with closing(in_order(frames.items(), works)) as results:
        for result in results:
            if isinstance(result, Unreadable):
                frames.tell(result)
            else:
                yield _detect(lanes[0], result) if isinstance(result, Frame) else result


def _reading(frames: ReadsAhead, lane: Lane) -> Callable[[Any], Found | Unreadable]:
    """What a thread with a lane of its own does for each item."""

    def work(item: Any) -> Found | Unreadable:
        frame = frames.read(item)
        return frame if isinstance(frame, Unreadable) else _detect(lane, frame)

    return work


def _detect(lane: Lane, frame: Frame) -> Found:
    (found,), timing = lane.detect_timed([frame.image])
    return frame, found, timing

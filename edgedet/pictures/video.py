"""Frames of a video, camera or stream: when they are to be shown, which are damaged, and whether it ended early."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from types import TracebackType

import cv2

from edgedet.errors import SourceError
from edgedet.pictures.frames import Frame, Unreadable, tell
from edgedet.pictures.image_file import quiet
from edgedet.pictures.live.opencv_capture import has_backend
from edgedet.pictures.video_container import VideoFile, is_broken_matroska, look_into

_STAMPING = ("FFMPEG", "V4L2", "MSMF")
"""Backends whose CAP_PROP_POS_MSEC is the time stamp of the frame that was read; others count by the rate."""
_CONSTANT = ("CV_MJPEG",)
"""Backends that read nothing but containers of one rate."""
_MIN_TRIES, _MAX_TRIES = 256, 20_000
"""Reads in a row that fail before a file is believed to be at its end. Each takes microseconds there."""
_LIMIT_MS = 10_000
"""Milliseconds that a web server may take to answer, or to send a frame."""
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_TELLING_JITTER = 0.002
"""Seconds; containers round times to milliseconds."""
_NEVER = 1 << 62
_LEFT_OUT = 3
"""Frames that decoders may rightly leave out at the ends of a video whose frames build on one another."""
_WHOLE_PICTURES = ("MJPG", "mjpg", "jpeg", "png ", "MPNG", "FFV1", "HFYU")
"""Codecs whose frames do not."""
_SPARED_SECONDS = 1.0
"""Sound may go on for longer than pictures, and no more is known of a stream's length."""


class Video:
    """An opened video, camera or stream; see :class:`edgedet.pictures.sources.FrameSource`.

    ``Frame.time``: as the file's or stream's time stamps say, counted from the first frame; None where they say
    nothing and nothing else is known, as in the bare stream of an encoder. A frame that cannot be decoded keeps its
    number. ``unreadable`` is told of it, and of an end that comes too early; without it, that raises.

    Raises:
        SourceError: it cannot be opened, gives no frame, or one of its frames is damaged.
        SourceEndedError: it ended early.
    """

    def __init__(
        self,
        source: str | int,
        description: str,
        api: int = cv2.CAP_ANY,
        *,
        unreadable: Callable[[Unreadable], None] | None = None,
    ) -> None:
        self.description = description
        self._source = source
        self._unreadable = unreadable
        with quiet():
            if "://" in str(source) and api == cv2.CAP_ANY and has_backend(cv2.CAP_FFMPEG):
                # OpenCV's own limits are 30 s each.
                limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _LIMIT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _LIMIT_MS]
                self._capture = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG, limits)
            else:
                self._capture = cv2.VideoCapture(source, api)
        if not self._capture.isOpened():
            self._capture.release()
            if isinstance(source, int):
                raise SourceError(
                    f"camera {source} cannot be opened; is it connected, and /dev/video{source} readable?"
                )
            raise SourceError(
                f"cannot open {description} as a video; it is damaged, unreachable, or its codec is unknown here"
            )
        self._backend = self._capture.getBackendName()
        self._is_file = isinstance(source, str) and os.path.isfile(source)  # noqa: PTH113 (also of what no file can be named)
        self._file = look_into(str(source)) if self._is_file else VideoFile()
        # FFmpeg turns the pictures of phones upright by itself, GStreamer does not.
        self._turn = _TURNS.get(self._file.turn) if self._backend == "GSTREAMER" else None
        frames = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.count: int | None = int(frames) if 0 < frames < 1e12 else None
        timed = self._file.timed and not self._is_pushed_jpegs()
        self.rate: float | None = rate if timed and 0 < rate < 1000 else None
        self._clock = _Clock(self.rate, stamped=timed and self._backend in _STAMPING)

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.items():
            if isinstance(frame, Unreadable):
                self.tell(frame)
            else:
                yield frame

    def items(self) -> Iterator[Frame | Unreadable]:
        """See :class:`edgedet.pictures.sources.ReadsAhead`; only one at a time can be read of a video."""
        index = given = 0
        while True:
            good, image = self._capture.read()
            if not good:
                failed = self._failed_reads(index)
                if failed is None:
                    break
                good, image = self._capture.retrieve()
                failed += not good
                for number in range(index, index + failed):
                    reason = f"frame {number} of {self.description} is damaged and cannot be decoded"
                    yield Unreadable(self._name(number), number, reason)
                index += failed
                if not good:
                    continue
            if self._turn is not None:
                image = cv2.rotate(image, self._turn)
            yield Frame(image, self._name(index), index, self._time(index), source=self.description)
            index += 1
            given += 1
        if not given:
            raise SourceError(f"{self.description} gave no frame; it is damaged, or the camera is busy")
        why = self._early_end(index, given)
        if why is not None:
            yield Unreadable(self._name(index), index, why, ends=True)

    def read(self, item: Frame | Unreadable) -> Frame | Unreadable:
        """See :class:`edgedet.pictures.sources.ReadsAhead`."""
        return item

    def tell(self, lost: Unreadable) -> None:
        """See :class:`edgedet.pictures.sources.ReadsAhead`."""
        tell(lost, self._unreadable)

    @property
    def waits(self) -> bool:
        """Whether it keeps its frames until they are read: a file does, a camera shows what is there now."""
        return self._is_file

    @property
    def endless(self) -> bool:
        """Whether it goes on for as long as it is read: a camera, or a stream of unknown length."""
        return not self._is_file and self.count is None

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._capture.release()

    def _name(self, index: int) -> str:
        return f"{self.description} #{index}"

    def _failed_reads(self, index: int) -> int | None:
        """After one failed read: how many fail until the next frame is there to be retrieved; None at the end."""
        if not self._is_file:
            # A camera or stream makes every further try wait for its time-out.
            return None
        ahead = (self.count or 0) - index
        for failed in range(1, min(max(ahead, _MIN_TRIES), _MAX_TRIES)):
            if self._capture.grab():
                return failed
        return None

    def _time(self, index: int) -> float | None:
        if self._clock.stamped:
            return self._clock.time(index, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
        return index / self.rate if self.rate and self._backend in _CONSTANT else None

    def _early_end(self, index: int, given: int) -> str | None:
        """Why the frames ended before they should have, None where there is no sign of it.

        ``index``: frames that were read or failed; ``given``: those that were read.
        """
        if not self._is_file:
            return self._broken_stream(given)
        expected = self._file.frames
        if self._file.kind == "avi" and self.count and self.rate and self._clock.is_steady:
            # An AVI counts frames that are left out to keep the rate, too, and is not steady then.
            expected = self.count
        # Of what is cut off, the index may be all that was at the end; in an MP4 it is frames.
        if index >= (expected or self.count or _NEVER) and not (self._file.cut_off and self._file.kind == "mp4"):
            return None
        if self._file.cut_off:
            return f"{self.description} ends early, after {_frames(given)}: the file is cut off; copy it again"
        spared = 0 if self._codec() in _WHOLE_PICTURES else _LEFT_OUT
        if expected is not None and index + spared >= expected:
            return None
        if expected is None and not (self._file.kind == "matroska" and is_broken_matroska(str(self._source))):
            return None
        of = f"{given} of {expected} frames" if expected is not None else _frames(given)
        return (
            f"{self.description} ends early, after {of}: the file is damaged, and the rest cannot be "
            "read; copy it again"
        )

    def _broken_stream(self, given: int) -> str | None:
        name = str(self._source)
        if isinstance(self._source, int) or name.startswith("/dev/"):
            return f"{self.description} stopped after {_frames(given)}; is it still connected?"
        if "://" not in name and " ! " not in name:
            return None
        latest = self._clock.latest
        if self.count and self.rate and latest is not None:
            length = self.count / self.rate
            if latest > length - _SPARED_SECONDS - 2 / self.rate:
                return None
            return f"{self.description} ended early, after {latest:.1f} of {length:.1f} s; the connection broke"
        if "filesrc" in name or "num-buffers" in name:
            return None
        return f"{self.description} ended after {_frames(given)}; the connection broke, or the sender stopped"

    def _codec(self) -> str:
        return int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(8, "little", signed=True)[:4].decode("latin-1")

    def _is_pushed_jpegs(self) -> bool:
        """JPEG after JPEG over HTTP: without time stamps, and FFmpeg counts 25 a second."""
        return (
            str(self._source).startswith(("http://", "https://"))
            and self.count is None
            and (self._codec() in _WHOLE_PICTURES)
        )


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


class _Clock:
    """Times of presentation from time stamps, in seconds from the first frame."""

    def __init__(self, rate: float | None, *, stamped: bool) -> None:
        self.stamped = stamped
        self.latest: float | None = None
        self.is_steady = rate is not None
        """Whether every frame so far came one period after the one before it."""
        self._period = 1 / rate if rate else 0.0
        self._begin = 0.0
        self._index = 0

    def time(self, index: int, stamp: float) -> float | None:
        """The time of frame ``index``, whose stamp is ``stamp``; None where it is none."""
        if not math.isfinite(stamp):
            return None
        if index == 0:
            # Streams begin at any time; and where AVI reorders frames, stamps are those of decoding, all too late.
            self._begin = stamp
        time = stamp - self._begin
        if self.latest is not None and time <= self.latest:
            # What a decoder held back until the end comes without a stamp.
            if not self.is_steady or not self.latest:
                return None
            time = self.latest + (index - self._index) * self._period
        elif self.latest is not None:
            expected = (index - self._index) * self._period
            self.is_steady &= abs(time - self.latest - expected) <= _TELLING_JITTER
        if time < 0:
            return None
        self.latest, self._index = time, index
        return time

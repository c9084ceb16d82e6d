"""Streams through PyAV, where OpenCV was built without FFmpeg."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from edgedet.errors import MissingDependencyError, SourceError
from edgedet.pictures.live.capture import Damaged, Finished, Gone, Shot


class PyAvCapture:
    """See :class:`edgedet.pictures.live.capture.Capture`.

    Raises:
        MissingDependencyError: PyAV is not installed.
        SourceError: the source cannot be opened, or holds no pictures.
    """

    def __init__(self, url: str, name: str, *, open_seconds: float, stall_seconds: float) -> None:
        try:
            import av
        except ImportError as error:
            raise MissingDependencyError(
                f"{name} needs an OpenCV with FFmpeg (pip install opencv-python-headless), or PyAV: pip install av"
            ) from error
        self._av = av
        options = {"rtsp_flags": "prefer_tcp"} if url.startswith("rtsp") else {}
        # FFmpeg's words go nowhere: our error is the one to read.
        av.logging.set_level(None)
        try:
            self._container = av.open(url, options=options, timeout=(open_seconds, stall_seconds))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"cannot open {name} as a video: {_reason(error)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{name} holds no pictures")
        stream = self._container.streams.video[0]
        stream.thread_type = "SLICE"  # a thread per frame would hold as many frames back as there are threads
        self.rate: float | None = float(stream.average_rate) if stream.average_rate else None
        self.count: int | None = int(stream.frames) or None
        self._frames = self._decode(stream)

    def read(self) -> Shot:
        """Wait for the next picture; see :class:`edgedet.pictures.live.capture.Capture`."""
        frame = next(self._frames, None)
        if frame is None:
            raise Finished if self.count else Gone("ended", "the sender stopped")
        captured = time.monotonic()
        if isinstance(frame, Exception):
            raise Damaged(f"is damaged and cannot be decoded: {_reason(frame)}")
        if frame.is_corrupt:
            raise Damaged("is damaged: parts of it are missing")
        stamp = None if frame.time is None else float(frame.time)
        return Shot(_upright(frame), captured, stamp)

    def close(self) -> None:
        """Release it."""
        self._container.close()

    def _decode(self, stream: Any) -> Iterator[Any]:
        """Frames, and errors in place of frames that cannot be decoded."""
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (self._av.FFmpegError, OSError) as error:
                raise Gone("ended", f"the connection broke: {_reason(error)}") from error
            if packet is None:
                return
            try:
                yield from packet.decode()
            except self._av.FFmpegError as error:
                yield error


def _upright(frame: Any) -> Any:
    """Its pixels, uint8 [H, W, 3] BGR, turned as the stream says."""
    import numpy as np

    image = frame.to_ndarray(format="bgr24")
    # PyAV before 14 does not tell.
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())

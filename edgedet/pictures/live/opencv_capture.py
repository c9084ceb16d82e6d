"""Cameras, streams and pipelines through OpenCV."""

from __future__ import annotations

import math
import time
from typing import Any

import cv2

from edgedet.errors import SourceError
from edgedet.pictures.image_file import quiet
from edgedet.pictures.live.capture import Damaged, Finished, Gone, Shot

_STAMPING = ("FFMPEG", "V4L2", "MSMF")
"""Backends whose CAP_PROP_POS_MSEC is the time stamp of the frame that was read; others count by the rate."""
_DRIVER_DELAY = 2.0
"""Seconds; a V4L2 stamp further back than that is of another clock."""
_SPARED_SECONDS = 1.0
"""How much may be missing at the end of a recording that is sent as a stream."""


def has_backend(api: int) -> bool:
    """Whether this OpenCV can use a backend, plugins included."""
    with quiet():
        return bool(cv2.videoio_registry.hasBackend(api))


class OpenCvCapture:
    """See :class:`edgedet.pictures.live.capture.Capture`.

    Raises:
        SourceError: it cannot be opened.
    """

    def __init__(
        self, source: str | int, name: str, api: int, *, open_seconds: float, stall_seconds: float
    ) -> None:
        self._is_camera = isinstance(source, int) or source.startswith("/dev/")
        options: list[int] = []
        if api == cv2.CAP_FFMPEG:
            # OpenCV's own limits are 30 s each.
            options = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                max(round(open_seconds * 1e3), 1),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                max(round(stall_seconds * 1e3), 1),
            ]
        with quiet():
            # Without options, the shorter call: some backends refuse an empty list.
            self._capture = cv2.VideoCapture(source, api, options) if options else cv2.VideoCapture(source, api)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(cannot_open(source, name))
        self._stamping = self._capture.getBackendName() in _STAMPING
        self._driver_stamps = self._capture.getBackendName() == "V4L2"
        rate, count = float(self._get(cv2.CAP_PROP_FPS)), float(self._get(cv2.CAP_PROP_FRAME_COUNT))
        self.rate: float | None = rate if 0 < rate < 1000 else None
        self.count: int | None = int(count) if 0 < count < 1e12 else None
        self._begin: float | None = None
        self._latest = 0.0

    def read(self) -> Shot:
        """Wait for the next picture; see :class:`edgedet.pictures.live.capture.Capture`."""
        try:
            with quiet():
                good = self._capture.grab()
            captured = time.monotonic()
            if not good:
                raise self._end()
            decoded, image = self._capture.retrieve()
        except cv2.error as error:
            raise Damaged(f"cannot be decoded: {error.err}") from error
        if not decoded or image is None or not image.size:
            raise Damaged("is damaged and cannot be decoded")
        stamp = float(self._get(cv2.CAP_PROP_POS_MSEC)) / 1e3 if self._stamping else math.nan
        if self._driver_stamps and 0 <= captured - stamp < _DRIVER_DELAY:
            captured = stamp
        if not math.isfinite(stamp):
            return Shot(image, captured)
        self._begin = stamp if self._begin is None else self._begin
        self._latest = max(self._latest, stamp - self._begin)
        return Shot(image, captured, stamp)

    def close(self) -> None:
        """Release it."""
        with quiet():
            self._capture.release()

    def _get(self, what: int) -> Any:
        return self._capture.get(what)

    def _end(self) -> Exception:
        if self._is_camera:
            return Gone("stopped", "is it still connected?")
        if self.count and self.rate and self._latest > self.count / self.rate - _SPARED_SECONDS - 2 / self.rate:
            return Finished()
        return Gone("ended", "the connection broke, or the sender stopped")


def cannot_open(source: str | int, name: str) -> str:
    """Why a source cannot be opened, as far as OpenCV lets it be told."""
    if isinstance(source, int):
        return f"camera {source} cannot be opened; is it connected, and /dev/video{source} readable?"
    if source.startswith("/dev/"):
        return f"the camera {name} cannot be opened; is it connected, readable and not in use?"
    if " ! " in source:
        return (
            f"cannot open the pipeline {name}; try it with gst-launch-1.0 first, with fakesink in place of appsink"
        )
    return f"cannot open {name} as a video; it is damaged, unreachable, or its codec is unknown here"

"""Pipelines through GStreamer's own Python binding, where OpenCV was built without GStreamer."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np

from edgedet.errors import MissingDependencyError, SourceError
from edgedet.pictures.live.capture import Damaged, Finished, Gone, Shot

_CAPS = "video/x-raw,format=BGR"
_SECOND = 1_000_000_000
"""GStreamer counts nanoseconds."""


class GStreamerCapture:
    """See :class:`edgedet.pictures.live.capture.Capture`. The pipeline ends in ``appsink``. ``drops``: whether a
    picture that waits gives way to a newer one, or makes the pipeline wait.

    Raises:
        MissingDependencyError: the binding is not installed.
        SourceError: the pipeline is wrong, or does not start.
    """

    rate: float | None = None
    count: int | None = None

    def __init__(self, pipeline: str, name: str, *, open_seconds: float, stall_seconds: float, drops: bool) -> None:
        self._gst = gst = _gstreamer(name)
        self._stall = round(stall_seconds * _SECOND)
        # Whatever comes out is converted where it must; one picture waits, and no other.
        drop = "true" if drops else "false"
        sink = f"videoconvert ! {_CAPS} ! appsink name=edgedet_sink max-buffers=1 drop={drop} sync=false"
        text = re.sub(r"appsink[^!]*$", sink, pipeline.strip())
        try:
            self._pipeline = gst.parse_launch(text)
        except Exception as error:  # GLib.Error, whose module is loaded by gi
            raise SourceError(f"the pipeline {name} is wrong: {_reason(error)}") from error
        self._sink = self._pipeline.get_by_name("edgedet_sink")
        self._bus = self._pipeline.get_bus()
        self._pipeline.set_state(gst.State.PLAYING)
        changed, *_ = self._pipeline.get_state(round(open_seconds * _SECOND))
        if changed in (gst.StateChangeReturn.FAILURE, gst.StateChangeReturn.ASYNC):
            why = self._error() or f"nothing came within {open_seconds:g} s"
            self.close()
            raise SourceError(f"cannot open the pipeline {name}: {why}")

    def read(self) -> Shot:
        """Wait for the next picture; see :class:`edgedet.pictures.live.capture.Capture`."""
        sample = self._sink.emit("try-pull-sample", self._stall)
        captured = time.monotonic()
        if sample is None:
            why = self._error()
            if why is None and self._sink.get_property("eos"):
                raise Finished
            raise Gone("ended", why or f"the pipeline gave nothing for {self._stall / _SECOND:g} s")
        buffer, shape = sample.get_buffer(), sample.get_caps().get_structure(0)
        height, width = shape.get_value("height"), shape.get_value("width")
        mapped, memory = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise Damaged("cannot be read")
        try:
            # GStreamer pads rows of 24-bit pixels to whole words.
            row = -(-width * 3 // 4) * 4
            pixels = np.frombuffer(memory.data, np.uint8)
            if len(pixels) < row * height:
                raise Damaged(f"has {len(pixels)} bytes, {row * height} expected")
            rows = pixels[: row * height].reshape(height, row)[:, : width * 3]
            image = rows.reshape(height, width, 3).copy()
        finally:
            buffer.unmap(memory)
        stamp = None if buffer.pts == self._gst.CLOCK_TIME_NONE else buffer.pts / _SECOND
        return Shot(image, captured, stamp)

    def close(self) -> None:
        """Release it."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _error(self) -> str | None:
        message = self._bus.pop_filtered(self._gst.MessageType.ERROR)
        return None if message is None else _reason(message.parse_error()[0])


def _gstreamer(name: str) -> Any:
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        raise MissingDependencyError(
            f"the pipeline {name} needs an OpenCV with GStreamer (JetPack's, or one you build), or GStreamer's "
            "Python binding: apt install python3-gst-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good, and "
            "a Python that sees the system's packages (python3 -m venv --system-site-packages)"
        ) from error
    if not Gst.is_initialized():
        Gst.init(None)
    return Gst


def _reason(error: Any) -> str:
    return " ".join(str(getattr(error, "message", error)).split())

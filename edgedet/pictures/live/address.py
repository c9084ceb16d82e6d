"""Addresses of live sources: which they are, how they are called, and through which capture they are opened."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2

from edgedet.errors import UsageError
from edgedet.pictures.live.capture import Capture, Opener
from edgedet.pictures.live.opencv_capture import OpenCvCapture, has_backend
from edgedet.pictures.live.passwords import without_passwords
from edgedet.pictures.live.settings import LiveSettings

CSI = re.compile(r"csi://(\d+)/?$")
_ENDING = ("filesrc", "num-buffers")
"""Signs of a recording in a pipeline."""


def csi_pipeline(number: int) -> str:
    """GStreamer's pipeline for a CSI camera of a Jetson: 1280 x 720, 30 frames a second, the newest frame only.

    >>> csi_pipeline(1).startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280")
    True
    """
    return (
        f"nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 ! "
        "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
        "appsink drop=1 max-buffers=1 sync=0"
    )


def is_pipeline(text: str) -> bool:
    """GStreamer's notation."""
    return text.rstrip().endswith("appsink") or " ! " in text


def is_live(source: object) -> bool:
    """Whether a source is a camera or stream: a number, a device, a URL or a pipeline that reads no file.

    A video that lies on a web server looks like a stream until it is opened.

    >>> [is_live(source) for source in (0, "1", "rtsp://host/live", "csi://0", "street.mp4", "file:///a.mp4")]
    [True, True, True, True, False, False]
    """
    if isinstance(source, int) and not isinstance(source, bool):
        return True
    if not isinstance(source, str | Path):
        return False
    text = str(source)
    if is_pipeline(text):
        return not any(sign in text for sign in _ENDING)
    if text.isdigit() or ("://" in text and not text.startswith("file://")):
        return True
    return text.startswith("/dev/") and Path(text).is_char_device()


def may_be_recorded(source: object) -> bool:
    """Whether only opening it tells if a URL is a stream or a file on a web server."""
    return str(source).startswith(("http://", "https://")) and not is_pipeline(str(source))


def name_of(source: str | int | Path) -> str:
    """The source's name for people; passwords of addresses are left out.

    >>> name_of(0), name_of("rtsp://admin:1234@10.0.0.7/live")
    ('camera 0', 'rtsp://admin:***@10.0.0.7/live')
    """
    text = str(source)
    if text.isdigit():
        return f"camera {text}"
    return without_passwords(text, pipeline=is_pipeline(text))


def names_of(sources: Sequence[str | int | Path]) -> list[str]:
    """A name for each of several sources, in their order: of equal ones, all but the first have a number.

    Whoever goes by names, alerts or saved videos, would otherwise take two cameras for one.

    >>> names_of(["http://h/?pin=1&key=a", "http://h/?pin=1&key=b", 0])
    ['http://h/?pin=1&key=***', 'http://h/?pin=1&key=*** (2)', 'camera 0']
    """
    names: list[str] = []
    for name in map(name_of, sources):
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        names.append(name if name not in names else next(each for each in numbered if each not in names))
    return names


def opener_of(source: str | int | Path, settings: LiveSettings, name: str | None = None) -> Opener:
    """What opens a live source, by the libraries that are here.

    Args:
        source: its address.
        settings: how it is read.
        name: what messages call it; None goes by the address.

    Raises:
        UsageError: the library that the settings name cannot open such a source.
    """
    name = name_of(source) if name is None else name
    limits = {"open_seconds": settings.open_seconds, "stall_seconds": settings.stall_seconds}
    text = str(source)
    csi = CSI.match(text)
    if csi is not None:
        text = csi_pipeline(int(csi[1]))
    if text.isdigit():
        _refuse(settings, name, "pyav", "gstreamer")
        return partial(OpenCvCapture, int(text), name, cv2.CAP_ANY, **limits)
    if is_pipeline(text):
        _refuse(settings, name, "pyav")
        if settings.through == "opencv" or (settings.through == "auto" and has_backend(cv2.CAP_GSTREAMER)):
            return partial(OpenCvCapture, text, name, cv2.CAP_GSTREAMER, **limits)
        return _through_gstreamer(text, name, settings)
    if text.startswith("/dev/"):
        _refuse(settings, name, "pyav", "gstreamer")
        return partial(OpenCvCapture, text, name, cv2.CAP_ANY, **limits)
    _refuse(settings, name, "gstreamer")
    if settings.through == "opencv" or (settings.through == "auto" and has_backend(cv2.CAP_FFMPEG)):
        return partial(OpenCvCapture, text, name, cv2.CAP_FFMPEG, **limits)
    return _through_pyav(text, name, settings)


def _refuse(settings: LiveSettings, name: str, *unable: str) -> None:
    if settings.through in unable:
        raise UsageError(f"{name} cannot be opened through {settings.through}; leave the choice to edgedet (auto)")


def _through_pyav(url: str, name: str, settings: LiveSettings) -> Opener:
    def open_capture() -> Capture:
        from edgedet.pictures.live.pyav_capture import PyAvCapture

        return PyAvCapture(url, name, open_seconds=settings.open_seconds, stall_seconds=settings.stall_seconds)

    return open_capture


def _through_gstreamer(pipeline: str, name: str, settings: LiveSettings) -> Opener:
    def open_capture() -> Capture:
        from edgedet.pictures.live.gstreamer_capture import GStreamerCapture

        return GStreamerCapture(
            pipeline,
            name,
            open_seconds=settings.open_seconds,
            stall_seconds=settings.stall_seconds,
            drops=settings.keep == "newest",
        )

    return open_capture

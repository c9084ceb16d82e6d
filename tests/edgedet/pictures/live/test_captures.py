"""The libraries behind live sources: each opens what it should, and what is missing is named."""

from __future__ import annotations

import http.server
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import LiveSettings, open_source
from edgedet.errors import MissingDependencyError, SourceError, UsageError
from edgedet.pictures.live import address, opencv_capture
from edgedet.pictures.live.address import name_of, opener_of
from edgedet.pictures.live.capture import Damaged, Gone
from edgedet.pictures.live.live_source import LiveSource
from edgedet.pictures.live.opencv_capture import OpenCvCapture
from tests.rectangle_detector import frame_with_rectangle

PIPELINE = "videotestsrc is-live=true pattern=white ! video/x-raw,width=45,height=32,framerate=30/1 ! appsink"


class Camera:
    """OpenCV's capture of a V4L2 camera whose driver stamps pictures 80 ms before they are handed over."""

    fails: tuple[str, int] = ("", -1)

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.grabbed = 0

    def isOpened(self) -> bool:
        return True

    def getBackendName(self) -> str:
        return "V4L2"

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_POS_MSEC: (time.monotonic() - 0.08) * 1e3, cv2.CAP_PROP_FPS: 30.0}.get(what, -1.0)

    def grab(self) -> bool:
        self.grabbed += 1
        return self.fails != ("grab", self.grabbed)

    def retrieve(self) -> tuple[bool, Any]:
        return self.fails != ("retrieve", self.grabbed), np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass


def test_a_camera_s_driver_says_when_the_picture_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    capture = opener_of(0, LiveSettings())()
    shot = capture.read()
    assert time.monotonic() - shot.captured == pytest.approx(0.08, abs=0.05)
    assert shot.stamp == pytest.approx(shot.captured) and capture.rate == 30 and capture.count is None


def test_damage_and_an_end_are_two_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(Camera, "fails", ("retrieve", 1))
    capture = opener_of("0", LiveSettings())()
    with pytest.raises(Damaged, match="cannot be decoded"):
        capture.read()
    capture.read()
    monkeypatch.setattr(Camera, "fails", ("grab", 3))
    with pytest.raises(Gone, match="stopped; is it still connected"):
        capture.read()


def test_streams_get_time_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's own are 30 seconds each."""
    made: list[Camera] = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: made.append(Camera(*arguments)) or made[-1])
    opener_of("rtsp://host/1", LiveSettings(open_seconds=3, stall_seconds=2))()
    assert made[0].arguments[1:] == (
        cv2.CAP_FFMPEG,
        [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 3000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 2000],
    )


@pytest.mark.parametrize(
    ("source", "through", "words"),
    [
        ("0", "pyav", "camera 0 cannot be opened through pyav"),
        ("rtsp://host/1", "gstreamer", "cannot be opened through gstreamer"),
        ("v4l2src ! appsink", "pyav", "cannot be opened through pyav"),
    ],
)
def test_a_library_that_cannot_is_refused(source: str, through: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_source(source, live=LiveSettings(through=through))


@pytest.mark.parametrize(
    ("source", "module", "words"),
    [
        ("rtsp://host/1", "av", r"an OpenCV with FFmpeg .*pip install av"),
        ("v4l2src ! appsink", "gi", r"an OpenCV with GStreamer .*apt install python3-gst-1.0"),
        ("csi://0", "gi", r"the pipeline csi://0 needs an OpenCV with GStreamer"),
    ],
)
def test_what_is_missing_is_named(source: str, module: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "has_backend", lambda api: False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=words):
        open_source(source)


def test_passwords_stay_out_of_names() -> None:
    assert name_of("rtsp://me:secret@host/1") == "rtsp://me:***@host/1"
    assert name_of("rtsp://host:8554/1") == "rtsp://host:8554/1"
    assert "secret" not in name_of("rtspsrc location=rtsp://h/1 user-id=me user-pw=secret ! appsink")


@pytest.mark.parametrize(
    "settings",
    [{"keep": "all"}, {"through": "ffmpeg"}, {"stall_seconds": 0}, {"open_seconds": "5"}, {"give_up_seconds": -1}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        LiveSettings(**settings)
    assert LiveSettings(give_up_seconds=0).give_up_seconds == 0


@pytest.fixture
def gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    """GStreamer's binding, of the system's Python where this one does not have it."""
    monkeypatch.setattr(address, "has_backend", lambda api: False)
    monkeypatch.setattr(sys, "path", [*sys.path, "/usr/lib/python3/dist-packages"])
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        pytest.skip(f"no Python binding of GStreamer ({error}): apt install python3-gst-1.0")
    Gst.init(None)
    if Gst.ElementFactory.find("videotestsrc") is None:
        pytest.skip("no videotestsrc: apt install gstreamer1.0-plugins-base")


def test_a_pipeline_runs_without_opencv_s_gstreamer(gstreamer: None) -> None:
    with open_source(PIPELINE) as source:
        frames = iter(source)
        found = [next(frames) for _ in range(5)]
    # Rows of 45 pixels are padded.
    assert all(frame.image.shape == (32, 45, 3) and frame.image.min() > 230 for frame in found)
    assert found[-1].time is not None and found[-1].time > 0 and found[0].age < 60


def test_a_pipeline_that_reads_a_recording_gives_every_frame(
    gstreamer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedet.pictures.sources.has_backend", lambda api: False)
    recorded = "videotestsrc num-buffers=25 ! video/x-raw,width=45,height=32,framerate=30/1 ! appsink"
    with open_source(recorded) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(25))
    assert frames[-1].time == pytest.approx(24 / 30, abs=0.01)


def test_a_wrong_pipeline_says_what_is_wrong(gstreamer: None) -> None:
    with pytest.raises(SourceError, match=r'is wrong: no element "nonsense"'):
        open_source("videotestsrc ! nonsense ! appsink")
    with pytest.raises(SourceError, match=r"cannot open the pipeline v4l2src device=/dev/none"):
        open_source("v4l2src device=/dev/none ! appsink")


class Pushing(http.server.BaseHTTPRequestHandler):
    """JPEG after JPEG, as cheap cameras send them; or a file, /clip.avi."""

    clip: bytes = b""
    limit = 1 << 30

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/clip.avi":
            self.send_header("Content-Length", str(len(self.clip)))
            self.end_headers()
            self.wfile.write(self.clip)
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
        self.end_headers()
        for number in range(self.limit):
            width = 80 if "resize" not in self.path or number < 10 else 120
            good = cv2.imencode(".jpg", frame_with_rectangle(60, width, (10, 10, 40, 40)))[1].tobytes()
            head = f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {len(good)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + good + b"\r\n")
            except OSError:
                return
            time.sleep(0.02)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pushing)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_pushed_jpegs_are_a_live_source(web: str) -> None:
    with open_source(f"{web}/pushed.mjpg") as source:
        assert isinstance(source, LiveSource)
        for frame in source:
            assert frame.image.shape == (60, 80, 3)
            if frame.index >= 20:
                break
        assert not source.faults


def test_pyav_tells_that_the_size_has_changed(web: str) -> None:
    """OpenCV scales every further frame to the size of the first (findings/opencv-stream-size.sh)."""
    pytest.importorskip("av", reason="needs edgedet[pyav]")
    told: list[Any] = []
    with open_source(f"{web}/resize.mjpg", fault=told.append, live=LiveSettings(through="pyav")) as source:
        for frame in source:
            wide = frame.image.shape[1]
            seen = np.flatnonzero(frame.image[25, :, 1] > 100)
            assert (seen[0], seen[-1], len(frame.image)) == (10, 39, 60) and wide in (80, 120)
            if len(told) > 1:
                break
    assert {one.kind for one in told} == {"resized"} and "from 80x60 to 120x60" in told[0].reason


def test_pyav_gives_what_opencv_gives_and_comes_back(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="needs edgedet[pyav]")
    monkeypatch.setattr(Pushing, "limit", 30)
    told: list[Any] = []
    with open_source(f"{web}/pushed.mjpg", fault=told.append, live=LiveSettings("every", through="pyav")) as source:
        frames = iter(source)
        while not told:
            frame = next(frames)
            seen = np.flatnonzero(frame.image[25, :, 1] > 100)
            assert (seen[0], seen[-1], frame.image.shape) == (10, 39, (60, 80, 3))
        next(frames)
    assert told[0].kind == "disconnected" and "pushed.mjpg ended after 30 frames" in told[0].reason
    with pytest.raises(SourceError, match="Connection refused"):
        open_source("http://127.0.0.1:9/none", live=LiveSettings(through="pyav"))


def test_a_video_on_a_web_server_gives_every_frame(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
    for index in range(12):
        writer.write(frame_with_rectangle(60, 80, (10 + index, 10, 40 + index, 40)))
    writer.release()
    monkeypatch.setattr(Pushing, "clip", (tmp_path / "x.avi").read_bytes())
    with open_source(f"{web}/clip.avi") as source:
        assert not isinstance(source, LiveSource)
        assert [frame.index for frame in source] == list(range(12))


def test_opencv_s_backends_are_asked_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    assert opencv_capture.has_backend(cv2.CAP_FFMPEG) or cv2.videoio_registry.getBackends()
    opencv_capture.has_backend(cv2.CAP_GSTREAMER)
    with pytest.raises(SourceError, match="cannot open the pipeline"):
        OpenCvCapture("nothing ! appsink", "nothing ! appsink", cv2.CAP_GSTREAMER, open_seconds=1, stall_seconds=1)
    assert capfd.readouterr().err == ""

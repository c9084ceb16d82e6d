"""A real RTSP server, killed and started again, and one that freezes; and what only pretends to be a server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedet import Detector, Fault, LiveSettings, open_source
from edgedet.errors import SourceError
from tests.rectangle_detector import save_rectangle_graph

SERVER = Path(__file__).with_name("rtsp_server.py")
BOX = [40.0, 20.0, 88.0, 52.0]


def able_python() -> str:
    """A Python that sees GStreamer's RTSP server."""
    why = ""
    for python in dict.fromkeys((sys.executable, "/usr/bin/python3", shutil.which("python3") or sys.executable)):
        if Path(python).exists():
            tried = subprocess.run([python, str(SERVER)], capture_output=True, text=True, timeout=60, check=False)
            if tried.returncode == 0:
                return python
            why = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else why
    pytest.skip(
        f"no RTSP server ({why}): apt install gir1.2-gst-rtsp-server-1.0 python3-gst-1.0 gstreamer1.0-plugins-good "
        "gstreamer1.0-plugins-ugly"
    )


class Server:
    """The server as a process on a free port."""

    def __init__(self, python: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._python = python
        self._process: subprocess.Popen[str] | None = None
        self.url = f"rtsp://127.0.0.1:{self._port}/live"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._python, str(SERVER), str(self._port)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)


@pytest.fixture(scope="module")
def python() -> str:
    return able_python()


@pytest.fixture
def server(python: str) -> Iterator[Server]:
    running = Server(python)
    running.start()
    yield running
    running.kill()


def test_it_comes_back_each_time_the_server_does(server: Server, tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "model.onnx")
    told: list[Fault] = []
    waited: list[float] = []
    times: list[float] = []
    with (
        Detector(tmp_path / "model.onnx", threads=1) as detector,
        detector.stream(server.url, fault=told.append) as stream,
    ):
        for _ in range(5):
            for _ in range(10):
                frame, detections = next(stream)
                assert detections.boxes[0] == pytest.approx(BOX, abs=2.5)
            server.kill()
            time.sleep(0.5)
            server.start()
            began = time.monotonic()
            count = len(told)
            # What was still on its way when the server died is not yet the new one.
            while len(told) == count or frame.captured < told[-1].time:
                frame, detections = next(stream)
            waited.append(time.monotonic() - began)
            assert detections.boxes[0] == pytest.approx(BOX, abs=2.5)
            # Encoders stamp some frames alike: those have no time of their own.
            while frame.time is None:
                frame, _ = next(stream)
            times.append(frame.time)
        stats = stream.stats
    assert max(waited) < 3, waited
    assert stats.faults["disconnected"] == 5 and set(stats.faults) <= {"disconnected", "unreachable"}
    # Numbers and times go on.
    assert frame.index > 50 and times == sorted(times) and times[-1] > 5


def test_a_server_that_freezes_counts_as_stalled(server: Server) -> None:
    told: list[Fault] = []
    settings = LiveSettings(stall_seconds=1, open_seconds=1, longest_wait=0.2)
    with open_source(server.url, fault=told.append, live=settings) as source:
        frames = iter(source)
        for _ in range(5):
            next(frames)
        server.freeze()
        threading.Timer(4, lambda: (server.kill(), server.start())).start()
        count = 0
        while not told or count < 5:
            next(frames)
            count += bool(told)
    assert told[0].kind in ("stalled", "disconnected")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_answers_is_not_waited_for(scheme: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/live"
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"unreachable|did not open"):
            open_source(url, live=LiveSettings(open_seconds=0.5))
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("when", ["opening", "reading", "away"])
def test_ctrl_c_ends_the_command_within_a_second(when: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A machine with much else to do may take longer once, but not three times."""
    save_rectangle_graph(tmp_path / "model.onnx")
    took: list[float] = []
    while len(took) < 3 and not any(seconds < 1 for seconds in took):
        took.append(seconds_to_end(when, str(tmp_path / "model.onnx"), request))
    assert min(took) < 1, took


def seconds_to_end(when: str, model: str, request: pytest.FixtureRequest) -> float:
    """From Ctrl-C to the end of the process, while the source is being opened, is read, or is away."""
    if when == "opening":
        silent = socket.socket()
        request.addfinalizer(silent.close)
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
    else:
        server = request.getfixturevalue("server")
        server.kill()
        server.start()
        url = server.url
    command = [sys.executable, "-m", "edgedet", "detect", model, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    if when == "opening":
        # It has begun to open when it has called.
        silent.settimeout(60)
        call, _ = silent.accept()
        request.addfinalizer(call.close)
        time.sleep(0.2)
    else:
        assert '"detections"' in process.stdout.readline()
        if when == "away":
            server.kill()
            while '"fault"' not in process.stdout.readline():
                pass
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    took = time.monotonic() - began
    assert process.returncode == 130 and said.strip().splitlines()[-1] == "edgedet: error: interrupted", said
    return took

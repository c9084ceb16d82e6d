"""``edgedet detect`` on cameras and streams."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgedet.cli import main
from edgedet.pictures.live import live_source
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph
from tests.virtual_camera import VirtualCamera, box_of


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_rectangle_graph(tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts virtual cameras behind the numbers of real ones."""

    def put(**by_number: VirtualCamera) -> None:
        monkeypatch.setattr(live_source, "opener_of", lambda source, settings, name: by_number[f"camera{source}"])

    return put


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def detect(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    code = main(["detect", *arguments])
    shown = capsys.readouterr()
    return code, [json.loads(line) for line in shown.out.splitlines()], shown.err.splitlines()


def test_lines_have_ages_and_drops_and_faults_have_lines_of_their_own(
    model: str, cameras: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    cameras(camera0=VirtualCamera(rate=60, count=60, trouble={20: "disconnect", 40: "damage"}.get))
    code, lines, said = detect(capsys, model, "0")
    results = [line for line in lines if "detections" in line]
    assert code == 0 and len(results) > 20
    for line in results:
        assert line["source"] == f"camera 0 #{line['index']}" and line["age"] >= 0 and line["time"] >= 0
        assert len(line["detections"]) == 1
    assert results[-1]["dropped"] + len(results) == 58
    faults = [(line["fault"], line["source"], line["error"]) for line in lines if "detections" not in line]
    assert faults == [
        ("disconnected", "camera 0", "camera 0 stopped after 20 frames; is it still connected?"),
        ("damaged", "camera 0", "frame 39 of camera 0 is damaged and cannot be decoded"),
    ]
    assert said[0] == (
        "edgedet: disconnected: camera 0 stopped after 20 frames; is it still connected?; opening it again in 0.1 s"
    )


def test_several_cameras_take_turns(
    model: str, cameras: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    cameras(**{f"camera{n}": VirtualCamera(rate=100, channel=n) for n in range(3)})
    _, lines, _ = detect(capsys, model, "0", "1", "2", "--limit", "30", "--max-fps", "60")
    counts = [sum(line["source"].startswith(f"camera {n} ") for line in lines) for n in range(3)]
    assert sum(counts) == 30 and min(counts) >= 8
    for line in lines:
        assert line["detections"][0]["label"] == int(line["source"][7])


def test_the_terminal_shows_how_it_goes(
    model: str, cameras: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras(camera0=VirtualCamera(rate=100, count=60, trouble={30: "disconnect"}.get))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["detect", model, "0", "--duty", "0.5"]) == 0
    shown = terminal.getvalue()
    assert "frames/s, age " in shown and "(p99 " in shown and "dropped" in shown
    assert "edgedet: disconnected: camera 0 stopped" in shown
    assert "faults: 1 disconnected" in shown.splitlines()[-1]


def test_a_camera_is_saved_as_a_video_and_blurred(
    model: str, cameras: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras(camera0=VirtualCamera(rate=100))
    code, lines, _ = detect(capsys, model, "0", "--limit", "10", "--save", str(tmp_path / "out"))
    assert code == 0 and len(lines) == 10 and (tmp_path / "out/camera-0.mp4").exists()
    assert lines[0]["detections"][0]["box"] == box_of(0) or lines[0]["index"] > 0


def test_a_camera_that_is_not_there_is_an_error(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines, said = detect(capsys, model, "87")
    assert (code, lines) == (2, [])
    assert said == [
        "edgedet: error: camera 87 cannot be opened; is it connected, and /dev/video87 readable?",
    ]


def test_limits_of_pace_are_for_live_sources(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), frame_with_rectangle(60, 80, (10, 10, 40, 40)))
    code, _, said = detect(capsys, model, str(tmp_path / "a.png"), "--max-fps", "5")
    assert code == 2 and "--max-fps and --duty are for cameras and streams" in said[0]
    code, _, said = detect(capsys, model, "0", str(tmp_path / "a.png"))
    assert code == 2 and "0 is no image; several sources at once can be images" in said[0]


def test_a_window_needs_an_opencv_that_has_them(
    model: str, cameras: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras(camera0=VirtualCamera(rate=100))
    monkeypatch.setenv("DISPLAY", ":0")

    def refuse(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    code, _, said = detect(capsys, model, "0", "--show")
    assert code == 2 and "pip install opencv-python in place of opencv-python-headless" in said[0]
    shown: list[Any] = []
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "waitKey", lambda milliseconds: ord("q") if len(shown) == 3 else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    code, lines, _ = detect(capsys, model, "0", "--show")
    assert code == 0 and len(lines) == len(shown) == 3

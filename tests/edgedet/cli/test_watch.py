"""``edgedet watch``: lines of events, ends by every way, and mistakes in one sentence."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgedet.cli import main
from edgedet.pictures.live import live_source
from tests.edgedet.watching.broker import Broker, Listener, find_broker
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph
from tests.virtual_camera import VirtualCamera


@pytest.fixture
def model(tmp_path: Path) -> str:
    save_rectangle_graph(tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """Six seconds: nothing, a green thing from second 2 to 3, nothing."""
    path = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for number in range(60):
        box = (10 + number, 20, 26 + number, 40) if 20 <= number < 30 else (0, 0, 0, 0)
        writer.write(frame_with_rectangle(64, 64, box))
    writer.release()
    return path


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts virtual cameras behind the numbers of real ones."""

    def put(**by_number: VirtualCamera) -> None:
        monkeypatch.setattr(live_source, "opener_of", lambda source, settings, name: by_number[f"camera{source}"])

    return put


def watch(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    code = main(["watch", *arguments])
    shown = capsys.readouterr()
    return code, [json.loads(line) for line in shown.out.splitlines()], shown.err


def test_a_video_goes_by_its_own_time(model: str, clip: str, capsys: Any, tmp_path: Path) -> None:
    code, lines, said = watch(capsys, model, clip, "--json", str(tmp_path / "events.jsonl"))
    begin, end = lines
    assert (code, said) == (0, "")
    assert (begin["event"], begin["class"], begin["rule"], begin["index"]) == ("begin", "green", "green", 22)
    assert begin["at"] == pytest.approx(2.2) and begin["delay"] == pytest.approx(200)
    assert (end["reason"], end["alert"], end["track"]) == ("gone", begin["alert"], begin["track"])
    assert end["at"] == pytest.approx(3.9) and end["seconds"] == pytest.approx(0.9) and end["seen"] == 10
    assert [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()] == lines


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--class", "green"], 2),
        (["--class", "red,green"], 2),
        (["--class", "red", "--class", "blue"], 0),
        (["--conf", "0.9"], 0),
        (["--frames", "11/20"], 0),
        (["--frames", "10/20"], 2),
        (["--min-size", "0.4"], 0),
        (["--min-size", "18"], 2),
        (["--region", "0.8,0,1,1"], 0),
        (["--region", "0,0 64,0 64,64 0,64"], 2),
        (["--hold", "60"], 2),
    ],
)
def test_what_begins_an_alert(model: str, clip: str, options: list[str], expected: int, capsys: Any) -> None:
    code, lines, _ = watch(capsys, model, clip, *options)
    assert (code, len(lines)) == (0, expected)
    if options[0] == "--hold":
        assert lines[1]["reason"] == "ended"


def test_detections_are_shown_with_their_tracks(model: str, clip: str, capsys: Any) -> None:
    _, lines, _ = watch(capsys, model, clip, "--detections", "--limit", "24")
    frames = [line for line in lines if "detections" in line]
    assert len(frames) == 24 and [frame["detections"][0]["track"] for frame in frames[20:]] == [1] * 4
    assert lines[-1]["reason"] == "stopped"


def test_a_video_that_is_cut_off_loses_its_alert(model: str, clip: str, capsys: Any) -> None:
    whole = Path(clip).read_bytes()
    Path(clip).write_bytes(whole[: len(whole) * 2 // 3])
    code, lines, said = watch(capsys, model, clip, "--hold", "60")
    assert code == 1 and "ends early" in said
    assert [(line["event"], line.get("reason")) for line in lines] == [("begin", None), ("end", "lost")]


def test_a_camera_that_breaks_ends_its_alert_and_begins_another(
    model: str, cameras: Callable[..., None], capsys: Any
) -> None:
    cameras(camera0=VirtualCamera(rate=40, count=60, trouble={30: "disconnect"}.get))
    code, lines, said = watch(capsys, model, "0", "--frames", "2/3")
    assert code == 0 and "edgedet: disconnected: camera 0 stopped" in said
    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("begin", None),
        ("fault", lines[1]["reason"]),
        ("end", "lost"),
        ("begin", None),
        ("end", "ended"),
    ]
    assert lines[1]["kind"] == "disconnected" and lines[0]["age"] < lines[0]["delay"]


def test_two_cameras_have_alerts_of_their_own(model: str, cameras: Callable[..., None], capsys: Any) -> None:
    cameras(
        camera0=VirtualCamera(rate=40, count=30, channel=0), camera1=VirtualCamera(rate=40, count=30, channel=2)
    )
    code, lines, _ = watch(capsys, model, "0", "1", "--frames", "2/2")
    begun = {(line["source"], line["class"]) for line in lines if line["event"] == "begin"}
    assert code == 0 and begun == {("camera 0", "blue"), ("camera 1", "red")}


def test_a_camera_that_comes_back_in_another_size_is_a_fault_of_its_own(
    model: str, cameras: Callable[..., None], capsys: Any
) -> None:
    """It shows 128 x 128 pixels first, and 64 x 64 between its 30th frame and its 60th."""
    small = VirtualCamera(rate=40, count=90, trouble={30: "resize", 60: "resize"}.get)
    large = VirtualCamera(rate=40, count=100)
    small.scale = large.scale = 2
    cameras(camera0=small, camera1=large)
    code, lines, said = watch(capsys, model, "0", "1", "--region", "0,0,128,128", "--frames", "2/3")
    assert code == 0 and said.count("misfit: camera 0 gives no alerts while its frames have this size") == 1
    told = [
        (line["event"], line.get("kind", line.get("reason")))
        for line in lines
        if line["source"] == "camera 0" and line.get("kind") not in ("resized", "ended")
    ]
    assert told == [("begin", None), ("end", "lost"), ("fault", "misfit"), ("begin", None), ("end", "ended")]
    assert [line.get("reason") for line in lines if line["source"] == "camera 1" and "alert" in line] == [
        None,
        "ended",
    ]


def test_a_picture_is_too_few_frames_for_an_alert(model: str, capsys: Any, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), frame_with_rectangle(64, 64, (10, 20, 26, 40)))
    code, lines, said = watch(capsys, model, str(tmp_path / "one.png"))
    assert (code, lines) == (0, []) and "could not alert: it gave 1 frame, and an alert needs 3 (--frames)" in said
    code, lines, said = watch(capsys, model, str(tmp_path / "one.png"), "--frames", "1/1")
    assert (code, len(lines), said) == (0, 2, "")


def test_programs_and_brokers_are_told(
    model: str, clip: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'edgedet[mqtt]'")
    broker = Broker(find_broker(), tmp_path)
    broker.start()
    listener = Listener(broker.port, "alerts")
    monkeypatch.chdir(tmp_path)
    code, lines, said = watch(
        capsys, model, clip, "--mqtt", f"mqtt://127.0.0.1:{broker.port}/alerts", "--exec", "tee -a told.jsonl"
    )
    assert (code, said) == (0, "")
    assert listener.wait_for(2, 10) == lines
    assert [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()] == lines
    listener.close()
    broker.kill()


def test_what_could_not_be_delivered_is_an_exit_code(model: str, clip: str, capsys: Any) -> None:
    code, lines, said = watch(capsys, model, clip, "--exec", "false")
    assert code == 1 and len(lines) == 2
    assert said.splitlines()[-1].startswith("edgedet: error: 2 events were not delivered to program ")


def test_a_full_file_ends_the_watch_and_programs_hear_of_the_end(
    model: str, clip: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    slow = "sh -c 'sleep 0.3; exec tee -a told.jsonl'"
    code, lines, said = watch(capsys, model, clip, "--json", "/dev/full", "--exec", slow)
    assert code == 1 and said == (
        "edgedet: error: cannot write the output: No space left on device; make room, or write to another place\n"
    )
    assert [(line["event"], line.get("reason")) for line in lines] == [("begin", None), ("end", "stopped")]
    assert [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()] == lines


@pytest.mark.parametrize("options", [[], ["--detections"]])
def test_a_reader_that_leaves_ends_the_watch_and_all_others_hear_of_the_end(
    model: str, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """The reader of standard output; it takes the beginning with it."""

    class Left(io.StringIO):
        def write(self, text: str) -> int:
            if '"begin"' in self.getvalue():
                raise BrokenPipeError
            return super().write(text)

        def fileno(self) -> int:
            return nowhere

    nowhere = os.open(os.devnull, os.O_WRONLY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", out := Left())
    code = main(["watch", model, clip, *options, "--json", "file.jsonl", "--exec", "tee -a told.jsonl"])
    os.close(nowhere)
    told = (tmp_path / "told.jsonl").read_text()
    assert code == 141 and '"end"' not in out.getvalue()
    assert [json.loads(line)["event"] for line in told.splitlines()] == ["begin", "end"]
    assert (tmp_path / "file.jsonl").read_text() == told


@pytest.mark.parametrize("hangs", [[], ["--exec", "sleep 600"], ["--webhook"]])
def test_ctrl_c_ends_it_within_a_second(model: str, tmp_path: Path, hangs: list[str]) -> None:
    """While a camera is watched, a program runs for ever, and a web server answers nothing."""
    import socket

    silent = socket.create_server(("127.0.0.1", 0))
    if hangs == ["--webhook"]:
        hangs = ["--webhook", f"http://127.0.0.1:{silent.getsockname()[1]}/"]
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from edgedet.cli import command\n"
        "from edgedet.pictures.live import live_source\n"
        "from tests.virtual_camera import VirtualCamera\n"
        "live_source.opener_of = lambda source, settings, name: VirtualCamera(rate=30)\n"
        "command()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), "watch", model, "0", "--frames", "1/1", *hangs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
    )
    guard = threading.Timer(120, process.kill)
    guard.start()
    assert process.stdout is not None
    first = process.stdout.readline()
    assert json.loads(first)["event"] == "begin"
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    took = time.monotonic() - began
    guard.cancel()
    silent.close()
    assert process.returncode == 130 and said.endswith("edgedet: error: interrupted\n")
    assert json.loads(out.splitlines()[-1])["reason"] == "stopped"
    assert took < 1.0 or os.getloadavg()[0] > (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--class", "geen"], "knows no class 'geen'; did you mean green?"),
        (["--class", ","], "a rule names no class"),
        (["--class", "red", "--class", "red"], "two rules are called 'red'"),
        (["--frames", "5/3"], "'5/3' is not N/M"),
        (["--frames", "three"], "'three' is not N/M"),
        (["--region", "0,0,100,100"], "reaches to 100,100, and the frame has 64x64 pixels"),
        (["--min-size", "65"], "the minimum size is 65 pixels, and the frame has 64x64: no box is as large"),
        (["--region", "0.5,0,1.2,1"], "the region has a corner at 0.5 and one at 1.2; expected shares"),
        (["--region", "1,2,3"], "region '1,2,3' is not understood"),
        (["--min-size", "-1"], "expected pixels"),
        (["--hold", "x"], "expected seconds"),
        (["--keep-conf", "0.6"], "--keep-conf 0.6 is above --conf 0.5"),
        (["--conf", "0.3", "--keep-conf", "0.1"], "conf 0.1 is below 0.25, under which NMS inside this artifact"),
        (["--exec", "no-such-program"], "there is no program 'no-such-program'"),
        (["--webhook", "http://example.org/"], "events stay on this one"),
        (["--webhook-anywhere"], "--webhook-anywhere is about --webhook"),
        (["--mqtt", "localhost"], "'localhost' is no topic of a broker"),
        (["--json", "/no/such/folder/x"], "/no/such/folder/x"),
        (["--max-fps", "5"], "--max-fps and --duty are for cameras and streams"),
    ],
)
def test_mistakes_are_one_sentence(model: str, clip: str, options: list[str], words: str, capsys: Any) -> None:
    code, lines, said = watch(capsys, model, clip, *options)
    assert (code, lines) == (2, []) and words in said and len(said.strip().splitlines()) == 1


def test_sources_that_are_not_there(model: str, capsys: Any) -> None:
    assert watch(capsys, model)[0] == 2
    code, _, said = watch(capsys, model, "87")
    assert code == 2 and "camera 87 cannot be opened" in said
    code, _, said = watch(capsys, model, "0", "gone.png")
    assert code == 2 and "0 is no image" in said


class TestRunningForGood:
    def test_figures_are_served_while_it_runs(
        self, model: str, cameras: Callable[..., None], capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import urllib.request

        from edgedet.service.service import Service
        from tests.edgedet.watching.broker import free_port

        port, texts = free_port(), []
        counted = Service.frame

        def ask(service: Service, *arguments: Any) -> None:
            counted(service, *arguments)
            if len(texts) < 12:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                    texts.append(answer.read().decode())

        monkeypatch.setattr(Service, "frame", ask)
        for command in ("watch", "detect"):
            texts.clear()
            cameras(camera0=VirtualCamera(rate=40, count=60))
            assert main([command, model, "0", "--metrics", str(port)]) == 0
            assert 'edgedet_frames_total{source="camera 0"} 12' in texts[-1]
            assert 'edgedet_stage_seconds_count{stage="run"} 12' in texts[-1]
            assert 'sha256="' in texts[-1]
            assert ("edgedet_alerts_active 1" in texts[-1]) is (command == "watch")
        capsys.readouterr()

    @pytest.mark.parametrize("options", [["--metrics", "9100"], ["--max-age", "100"], ["--max-temp", "80"]])
    def test_it_is_for_live_sources(self, model: str, clip: str, options: list[str], capsys: Any) -> None:
        for command in ("watch", "detect"):
            assert main([command, model, clip, *options]) == 2
            assert f"{options[0]} is for cameras and streams" in capsys.readouterr().err

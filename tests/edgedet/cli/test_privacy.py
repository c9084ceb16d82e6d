"""docs/privacy.md, proved: what every command writes and whom it calls, watched from outside."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.cli import COMMANDS, OPENING, main
from edgedet.detections import Detections
from edgedet.selftest import SELFTEST_GRAPH
from tests.edgedet.cli.watch_process import Watched, can_trace, watch
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files in memory and strace are Linux's")

TRACED = can_trace()
MODEL, OTHER = "model.onnx", "other.onnx"
BENCH = ["--seconds", "0.3", "--max-seconds", "1", "--warmup", "2", "--min-frames", "2"]
BENCH += ["--batches", "1", "--streams", "1", "--cold-starts", "1"]

ASKED: dict[str, tuple[list[str], str]] = {
    "detect": (["detect", MODEL, "photos"], ""),
    "detect a clip": (["detect", MODEL, "clip.avi"], ""),
    "eval": (["eval", MODEL, "photos/annotation.txt"], ""),
    "bench": (["bench", MODEL, "--frames", "photos", *BENCH], ""),
    "parity": (["parity", MODEL, OTHER, "--frames", "photos"], ""),
    "inspect": (["inspect", MODEL, "--verify"], ""),
    "doctor": (["doctor", MODEL], ""),
    # An engine of the graph that came with the program, in a folder that goes with the command.
    "selftest": (["selftest", MODEL], ""),
    "selftest of the machine": (["selftest"], r"tmp/.*"),
    "watch": (["watch", MODEL, "clip.avi"], ""),
    "watch with events": (["watch", "sharp.onnx", "moving.avi", "--frames", "1/1", "--exec", "cat"], ""),
    "watch --json": (
        ["watch", "sharp.onnx", "moving.avi", "--frames", "1/1", "--json", "events.jsonl"],
        r"work/events\.jsonl",
    ),
    # Which runtime is the quickest for this artifact on this machine.
    "tune": (
        ["tune", MODEL, "--frames", "photos", "--seconds", "0.2", "--threads", "1"],
        r"home/\.cache(/edgedet(/tuned(/.*)?)?)?",
    ),
    # Where it was asked for, and nowhere else.
    "eval --hard-negatives": (
        ["eval", "sharp.onnx", "labelled", "--negatives", "free", "--hard-negatives", "hard", "--threshold", "0.5"],
        # A file without a name in the folder that is to hold it, to see whether there is room.
        r"work|work/(hard|\.hard\.\w+)(/.*)?",
    ),
    "eval of clips": (
        [
            "eval",
            "sharp.onnx",
            "labelled",
            "--fps",
            "10",
            "--alert",
            "1/1",
            "--negatives",
            "free",
            "--negatives-fps",
            "5",
        ],
        "",
    ),
    "detect --save": (["detect", MODEL, "photos", "--save", "out"], r"work/out(/.*)?"),
    "detect --blur-with": (
        ["detect", MODEL, "photos", "--save", "out", "--blur-with", OTHER],
        r"work/out(/.*)?",
    ),
    "install": (["install", MODEL, "--over", "running/model.onnx"], r"work/running(/.*)?"),
}
"""Commands, and what they may write (below the folder that holds home, tmp and the current folder)."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the commands work on."""
    folder = tmp_path_factory.mktemp("house")
    work = folder / "work"
    (work / "photos").mkdir(parents=True)
    (work / "running").mkdir()
    (work / MODEL).write_bytes(SELFTEST_GRAPH.read_bytes())
    (work / OTHER).write_bytes(SELFTEST_GRAPH.read_bytes())
    random = np.random.default_rng(0)
    lines = []
    writer = cv2.VideoWriter(str(work / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for number in range(3):
        picture = cv2.resize(random.integers(0, 256, (8, 12, 3), np.uint8), (96, 64))
        cv2.imwrite(str(work / "photos" / f"{number}.jpg"), picture)
        writer.write(picture)
        lines.append(f"{number}.jpg,10,10,40,40,bright")
    writer.release()
    # One in which there is something to alert of.
    save_rectangle_graph(work / "sharp.onnx")
    writer = cv2.VideoWriter(str(work / "moving.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for number in range(8):
        writer.write(frame_with_rectangle(64, 64, (4 + number, 10, 30 + number, 30)))
    writer.release()
    (work / "photos" / "annotation.txt").write_text("\n".join(lines) + "\n")
    # Pictures with what it finds, and the same without a word of it.
    box = (10, 10, 40, 40)
    for place in ("labelled", "free"):
        (work / place).mkdir()
        for number in range(2):
            cv2.imwrite(str(work / place / f"{number}.png"), frame_with_rectangle(64, 64, box))
    (work / "labelled" / "annotation.txt").write_text("0.png,10,10,40,40,green\n1.png,10,10,40,40,green\n")
    # One that is cut off, which libjpeg has a lot to say about.
    whole = (work / "photos" / "0.jpg").read_bytes()
    (work / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    return folder


def run(house: Path, name: str, *, traced: bool = TRACED) -> Watched:
    found = watch(ASKED[name][0], house, traced=traced)
    assert found.code == 0, found.error
    return found


@pytest.fixture(scope="module")
def tuned(house: Path) -> Watched:
    """It measures every runtime there is, which takes longer than all else: one run for all who look at it."""
    return run(house, "tune")


@pytest.mark.parametrize("name", ASKED)
def test_nothing_is_sent_and_nothing_is_written_but_what_was_asked_for(
    house: Path, name: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue("tuned") if name == "tune" else run(house, name)
    assert found.sockets == ()
    allowed = re.compile(rf"{re.escape(str(house))}/({ASKED[name][1] or '(?!)'})")
    assert [file for file in found.files if not allowed.fullmatch(file)] == []
    stays = re.compile(ASKED[name][1].replace("tmp/.*", "(?!)") or "(?!)")
    assert [file for file in found.left if not stays.fullmatch(file)] == []


@pytest.mark.parametrize("name", ["detect", "eval", "detect --save"])
def test_python_itself_sees_the_same(house: Path, name: str) -> None:
    """The watch of machines without strace: of commands that write nothing, and of one that does."""
    found = run(house, name, traced=False)
    allowed = re.compile(rf"{re.escape(str(house))}/({ASKED[name][1] or '(?!)'})")
    assert found.sockets == () and [file for file in found.files if not allowed.fullmatch(file)] == []


def test_watch_tells_of_alerts_and_of_no_pixels(house: Path) -> None:
    found = run(house, "watch --json")
    lines = [json.loads(line) for line in found.out.splitlines()]
    assert [line["event"] for line in lines] == ["begin", "end"]
    assert (house / "work/events.jsonl").read_text().endswith(found.out)
    # Numbers of boxes and times, names, and nothing else.
    assert max(len(line) for line in found.out.splitlines()) < 500


@pytest.mark.parametrize("reach", ["--webhook", "--mqtt"])
def test_watch_calls_whom_it_was_told_to_and_nobody_else(house: Path, reach: str) -> None:
    """Nobody is there, so that the events stay undelivered, which is an exit code of 1."""
    address = {"--webhook": "http://127.0.0.1:9/", "--mqtt": "mqtt://127.0.0.1:9/topic"}[reach]
    if reach == "--mqtt":
        pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'edgedet[mqtt]'")
    found = watch(["watch", "sharp.onnx", "moving.avi", "--frames", "1/1", reach, address], house, traced=TRACED)
    assert found.code == 1 and "2 events were not delivered" in found.error, found.error
    assert (found.files, found.left) == ((), ())
    # What strace prints when a call begins has its address; "<... connect resumed>" of another thread has none.
    begun = [call for call in found.sockets if " resumed>" not in call]
    calls = [call for call in begun if "connect" in call or "send" in call]
    assert calls and all("127.0.0.1" in call for call in calls)


def test_a_picture_that_is_cut_off_leaves_nothing_either(house: Path) -> None:
    found = watch(["detect", MODEL, "cut.jpg"], house, traced=TRACED)
    assert found.code == 2 and "cut off" in found.error
    assert (found.files, found.sockets, found.left) == ((), (), ())


def test_what_tune_keeps_is_of_machine_and_artifact_alone(house: Path, tuned: Watched) -> None:
    (kept,) = (house / "home/.cache/edgedet/tuned").glob("*.json")
    choice = json.loads(kept.read_text())
    assert set(choice) == {"runtime", "threads", "ratio", "conditions", "artifact", "artifact_sha256"}
    assert set(choice["conditions"]) == {
        *("version", "edgedet", "package", "cpu", "cores", "quota", "features", "system"),
    }


def test_every_command_that_opens_artifacts_is_watched() -> None:
    assert {arguments[0] for arguments, _ in ASKED.values()} == set(OPENING) <= set(COMMANDS)


@pytest.mark.parametrize(
    "traced", [pytest.param(True, marks=pytest.mark.skipif(not TRACED, reason="no strace")), False]
)
def test_the_watch_sees_what_it_is_there_for(tmp_path: Path, traced: bool) -> None:
    """A program that writes at home and calls somebody, in a process of its own where strace follows."""
    (tmp_path / "leak.py").write_text(
        "import os, socket, pathlib\n"
        "pathlib.Path.home().joinpath('.leak').write_text('pixels')\n"
        "pathlib.Path('moved').write_text('x'); os.rename('moved', 'gone'); os.remove('gone')\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))\n"
    )
    found = watch([str(tmp_path / "leak.py")], tmp_path, traced=traced)
    assert found.code == 0, found.error
    assert [Path(file).name for file in found.files] == [".leak", "moved", "gone"]
    assert any("127.0.0.1" in call for call in found.sockets)
    assert found.left == ("home/.leak",)


class TestBlurWith:
    @pytest.fixture
    def places(self, tmp_path: Path) -> tuple[str, str, Path]:
        """A main detector that finds nothing here, one that finds the rectangle, and a picture with one."""
        (tmp_path / "main.onnx").write_bytes(SELFTEST_GRAPH.read_bytes())
        save_rectangle_graph(tmp_path / "faces.onnx")
        frame = frame_with_rectangle(96, 96, (32, 32, 64, 64))
        # Something to recognise: a chequered face, far from the grey that few blocks have.
        frame[32:64:2, 32:64:2] = (0, 250, 0)
        cv2.imwrite(str(tmp_path / "in.png"), frame)
        return str(tmp_path / "main.onnx"), str(tmp_path / "faces.onnx"), tmp_path

    def saved(self, folder: Path, main_detector: str, *options: str) -> Any:
        command = ["detect", main_detector, str(folder / "in.png"), "--conf", "0.99", "--save", str(folder / "out")]
        assert main([*command, *options]) == 0
        (path,) = (folder / "out").iterdir()
        return cv2.imread(str(path))

    def test_what_the_main_detector_does_not_know_is_unrecognisable(self, places: Any, capsys: Any) -> None:
        main_detector, faces, folder = places
        original = cv2.imread(str(folder / "in.png"))
        assert np.array_equal(self.saved(folder, main_detector), original)
        blurred = self.saved(folder, main_detector, "--blur-with", faces)
        region = (slice(32, 64), slice(32, 64))
        assert len(np.unique(blurred[region].reshape(-1, 3), axis=0)) <= 25
        untouched = np.ones(original.shape[:2], bool)
        untouched[28:68, 28:68] = False
        assert np.array_equal(blurred[untouched], original[untouched])
        # Boxes of the second detector are no results of the first.
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["detections"] for line in lines] == [[], []]

    def test_the_score_it_is_asked_for_counts(self, places: Any) -> None:
        main_detector, faces, folder = places
        picture = self.saved(folder, main_detector, "--blur-with", faces, "--blur-conf", "0.9")
        assert np.array_equal(picture, cv2.imread(str(folder / "in.png")))

    def test_both_ways_go_together(self) -> None:
        from edgedet.cli.blurring import Blurring

        image = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)

        class Other:
            def detect(self, frame: Any) -> Detections:
                return found((50, 10, 70, 30), 0)

        def found(box: tuple[int, ...], label: int) -> Detections:
            return Detections(
                boxes=np.array([box], np.float32),
                scores=np.ones(1, np.float32),
                labels=np.array([label], np.int32),
                names=("a", "b"),
                frame_size=(40, 80),
            )

        first = found((10, 10, 30, 30), 1)
        blurred = Blurring([1], [Other()])(image, first)  # type: ignore[list-item]
        for columns in (slice(10, 30), slice(50, 70)):
            assert not np.array_equal(blurred[10:30, columns], image[10:30, columns])
        assert np.array_equal(blurred[:, 35:45], image[:, 35:45])
        assert Blurring([0])(image, first) is image

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--blur-with", "x.onnx"], "--blur-with is about pictures, and none are saved or shown"),
            (["--save", "out", "--blur-conf", "0.2"], "and none is named"),
            (["--save", "out", "--blur-with", "gone.onnx"], "no such file: gone.onnx"),
            (["--save", "out", "--blur", "face"], "--blur-with names a detector of other things"),
        ],
    )
    def test_what_cannot_be_blurred_is_said_before_anything_is_written(
        self, places: Any, options: list[str], words: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        main_detector, _, folder = places
        monkeypatch.chdir(folder)
        assert main(["detect", main_detector, "in.png", *options]) == 2
        assert words in capsys.readouterr().err
        assert not (folder / "out").exists()

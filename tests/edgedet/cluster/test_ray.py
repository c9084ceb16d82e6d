"""Ray itself, where it is installed: two workers give one machine's results, and killing them costs nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import cv2
import pytest

from edgedet import Detector
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.cluster.calibration_pass import observing_on
from edgedet.cluster.detector import ClusterDetector
from edgedet.cluster.session import Cluster, open_cluster
from edgedet.cluster.workers import AHEAD, QUEUED, work_in_order
from edgedet.datasets import read_dataset
from edgedet.detections import Detections
from edgedet.errors import ClusterError
from edgedet.evaluate.evaluation import evaluate
from edgedet.pictures.frames import Unreadable
from edgedet.pictures.sources import open_source
from tests import tiny_detector as tiny
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

PICTURES = 40


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="needs edgedet[ray]")
    with open_cluster("local", workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled pictures, one of them cut off, and a detector."""
    made = tmp_path_factory.mktemp("cluster")
    (made / "photos").mkdir()
    lines = []
    for number in range(PICTURES):
        box = (10 + number % 9, 10, 50, 40)
        picture = frame_with_rectangle(60, 80, box, channel=number % 3)
        cv2.imwrite(str(made / f"photos/{number:02}.png"), picture)
        lines.append(f"{number:02}.png,{','.join(map(str, box))},{('blue', 'green', 'red')[number % 3]}")
    (made / "photos/annotation.txt").write_text("\n".join(lines))
    cut = made / "photos/07.png"
    cut.write_bytes(cut.read_bytes()[:60])
    save_rectangle_graph(made / "model.onnx")
    return made


def test_an_evaluation_has_the_figures_of_one_machine(cluster: Cluster, folder: Path) -> None:
    dataset = read_dataset(folder / "photos/annotation.txt")
    with Detector(folder / "model.onnx") as alone, ClusterDetector(cluster, folder / "model.onnx") as many:
        one, other = evaluate(alone, dataset), evaluate(many, dataset)
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())
    assert len(one.problems) == 1 and one.problems == other.problems


def test_a_folder_gives_the_lines_of_one_machine(
    cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    lines, lost = [], []
    with Detector("model.onnx") as alone, ClusterDetector(cluster, "model.onnx") as many:
        for detector in (alone, many):
            told: list[Unreadable] = []
            with open_source("photos", unreadable=told.append) as source:
                lines.append(
                    [(frame.name, frame.index, found.to_dict()) for frame, found in detector.stream(source)]
                )
            lost.append(told)
    assert lines[0] == lines[1] and len(lines[0]) == PICTURES - 1
    assert lost[0] == lost[1] and [each.name for each in lost[0]] == ["photos/07.png"]


def workers_of_ray() -> list[int]:
    """Processes below this one that have a detector open, by the name that Ray gives them."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::Worker" in place.read_bytes() and os.getpid() in ancestors(int(place.parent.name)):
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def ancestors(process: int) -> Iterator[int]:
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process


def test_a_killed_worker_loses_and_doubles_nothing(
    cluster: Cluster, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(path for path in (folder / "photos").glob("*.png") if path.name != "07.png") * 8
    with Detector(folder / "model.onnx") as alone, ClusterDetector(cluster, folder / "model.onnx") as many:
        expected = [alone.detect(cv2.imread(str(path))).to_dict() for path in paths]
        found, killed = [], 0
        for answer in many.detect_files(paths):
            assert isinstance(answer, Detections)
            found.append(answer.to_dict())
            if len(found) in (1, len(paths) // 2):
                for process in workers_of_ray()[:1]:
                    os.kill(process, signal.SIGKILL)
                    killed += 1
    assert killed, "there was no worker to kill"
    assert found == expected
    time.sleep(2)  # Ray has a thread for what it says of it
    assert capfd.readouterr().out == "", "between the lines of a command's output"


def test_ranges_and_int8_are_those_of_one_machine_byte_for_byte(cluster: Cluster, tmp_path: Path) -> None:
    model, frames = tiny.tiny_detector(), tiny.frames(40)
    found = []
    for name in ("one", "two"):
        options = QuantiseOptions(cache=tmp_path / name, max_drop=1.0)
        with observing_on(cluster) if name == "two" else nullcontext():
            found.append(quantise(model, tiny.card(), frames, options=options).model.SerializeToString())
        (ranges,) = (tmp_path / name).glob("*.ranges")
        found.append(ranges.read_bytes())
    assert found[:2] == found[2:]


def test_what_the_work_raises_is_one_sentence(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"the workers cannot go on: .*ZeroDivisionError"):
        list(work_in_order(cluster, reciprocal, [1, 2, 0]))


def test_pieces_come_in_order_and_are_taken_as_they_are_needed(cluster: Cluster) -> None:
    taken = []

    def pieces() -> Iterator[int]:
        for number in range(1, 1000):
            taken.append(number)
            yield number

    results = work_in_order(cluster, reciprocal, pieces())
    assert [next(results) for _ in range(3)] == [1, 1 / 2, 1 / 3]
    assert len(taken) <= 3 + 2 * QUEUED * AHEAD
    results.close()
    assert list(work_in_order(cluster, reciprocal, [])) == []


def reciprocal(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_leaves_nothing(folder: Path, tmp_path: Path, sent: int, code: int) -> None:
    pytest.importorskip("ray", reason="needs edgedet[ray]")
    before = set(Path("/tmp").glob("edr-*"))
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3000):
        (photos / f"{number:04}.png").symlink_to(folder / "photos/01.png")
    command = [sys.executable, "-m", "edgedet", "detect", str(folder / "model.onnx"), str(photos)]
    environment = os.environ | {"TMPDIR": "/tmp", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*command, "--ray", "local", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        (own,) = set(Path("/tmp").glob("edr-*")) - before
        assert own.stat().st_mode & 0o777 == 0o700
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in said and "***" not in said
    assert not own.exists()


def test_an_address_where_nobody_answers_is_one_sentence() -> None:
    pytest.importorskip("ray", reason="needs edgedet[ray]")
    with pytest.raises(ClusterError, match=r"is the address of Ray's client"), open_cluster("ray://127.0.0.1:1"):
        pass

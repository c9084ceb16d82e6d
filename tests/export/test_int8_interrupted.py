"""``edgedet export --int8`` stopped, killed or out of room: whole files or none, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import cv2
import onnx
import pytest

from edgedet.artifacts.seal import SEAL_KEY
from edgedet.calibration.calibration_frames import MAX_IMAGES, CalibrationFrames
from edgedet.calibration.pictures import pictures_of
from edgedet.export.embedded_card import METADATA_KEY, embed
from edgedet.opening import read_card

LITTLE_ROOM = "ulimit -f 4;"
"""Files of a few KB at most, as on a full disk: enough for figures, too little for what was fitted."""


def fill(folder: Path, tiny: ModuleType) -> Path:
    """A detector that takes a search, and pictures."""
    (folder / "tiny.onnx").write_bytes(embed(tiny.tiny_detector(hostile="narrow"), tiny.card()).SerializeToString())
    (folder / "photos").mkdir()
    for number, frame in enumerate(tiny.frames(24)):
        cv2.imwrite(str(folder / "photos" / f"{number:02}.png"), frame[0])
    return folder


@pytest.fixture
def folder(tmp_path: Path, tiny: ModuleType) -> Path:
    return fill(tmp_path, tiny)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> bytes:
    """The graph that a run makes which nothing stops."""
    folder = fill(tmp_path_factory.mktemp("undisturbed"), tiny)
    run = start(folder, "other.onnx")
    assert run.wait(timeout=120) == 0, run.communicate()
    return content(folder / "other.onnx")


def start(folder: Path, output: str, *, before: str = "") -> subprocess.Popen[str]:
    words = "tiny.onnx --int8 --int8-layers all --target tensorrt --calib photos --over-budget keep_best"
    return subprocess.Popen(
        ["sh", "-c", f"{before} exec {sys.executable} -m edgedet export {words} --max-drop 0.001 -o {output}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where files are cut off, Python (3.11) would cut off its modules' bytecode too, without a word.
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )


def stop_in_the_search(folder: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and what was said of a run that got the signal as soon as its ranges were on the disk."""
    run = start(folder, "int8.onnx")
    deadline = time.monotonic() + 120
    while not list(folder.glob(".int8.int8-cache/*.ranges")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    run.send_signal(number)
    said = run.communicate(timeout=60)[1]
    return run.returncode, said


def content(path: Path) -> bytes:
    """The graph without its card, which says how long it took, and without the seal over both."""
    model = onnx.load(path)
    kept = [entry for entry in model.metadata_props if entry.key not in (METADATA_KEY, SEAL_KEY)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return model.SerializeToString(deterministic=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_stopped_run_leaves_no_graph_and_the_next_goes_on_to_the_same(
    folder: Path, undisturbed: bytes, number: signal.Signals, code: int
) -> None:
    returned, said = stop_in_the_search(folder, number)
    assert returned == code and "Traceback" not in said, (returned, said)
    assert not (folder / "int8.onnx").exists()
    again = start(folder, "int8.onnx")
    assert again.wait(timeout=120) == 0, again.communicate()
    assert read_card(folder / "int8.onnx").measured["int8"]["resumed_figures"] > 0
    assert content(folder / "int8.onnx") == undisturbed


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(folder: Path) -> None:
    run = start(folder, "int8.onnx", before=LITTLE_ROOM)
    out, said = run.communicate(timeout=120)
    assert run.returncode != 0 and "Traceback" not in said + out
    assert "cannot write" in said and len(said.strip().splitlines()) == 1
    left = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "photos"]
    assert {path.suffix for path in left} <= {".onnx", ".json"} and folder / "int8.onnx" not in left
    assert not [path for path in left if "partial" in path.name]


def test_of_twenty_thousand_pictures_some_are_decoded(folder: Path, tiny: ModuleType) -> None:
    many = folder / "many"
    many.mkdir()
    known = sorted((folder / "photos").iterdir())
    for number in range(20_000):
        os.link(known[number * len(known) // 20_000], many / f"{number:05}.png")
    frames = CalibrationFrames(pictures_of(str(many)), tiny.card())
    assert frames.images == len(frames) == MAX_IMAGES and not frames.warnings

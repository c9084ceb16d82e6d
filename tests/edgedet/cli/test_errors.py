"""What a user can get wrong: one line, a class of its own, exit code 2, no traceback, no file left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgedet import cli, errors
from edgedet.cli import main
from edgedet.export.families.torchvision_architectures import build
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

SSDLITE = "ssdlite320_mobilenet_v3_large"


class Code:
    """Runs a command when unpickled, if anything lets it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch code_ran",)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything: good files and bad ones."""
    folder = tmp_path_factory.mktemp("files")
    save_rectangle_graph(folder / "good.onnx")
    cv2.imwrite(str(folder / "photo.jpg"), frame_with_rectangle(60, 80, (10, 10, 40, 40)))
    state = build(SSDLITE, 4).state_dict()
    described = {"arch": SSDLITE, "num_classes": 4, "classes": ["a", "b", "c"], "state_dict": state}
    torch.save(described, folder / "good.pt")
    torch.save(described | {"arch": "retinanet_resnet50"}, folder / "unknown.pt")
    torch.save(described | {"num_classes": 7}, folder / "classes.pt")
    torch.save({"state_dict": Code()}, folder / "code.pt")
    whole = (folder / "good.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "picture.onnx").write_bytes((folder / "photo.jpg").read_bytes())
    (folder / "engine.trt").write_bytes(b"ptrt" + bytes(range(256)) * 8)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory that must stay empty."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.iterdir()), "something was left behind"


def complaint_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    code = main(arguments)
    shown = capsys.readouterr()
    assert code == 2, shown.err
    assert shown.out == ""
    assert re.fullmatch(r"edgedet: error: [^\n]+\n", shown.err), shown.err
    return shown.err


CASES = [
    ("missing checkpoint", "export none.pt -o out.onnx", "CheckpointError", "no such file: .*none.pt"),
    ("missing graph", "detect none.onnx {photo.jpg}", "ArtifactError", "no such file: .*none.onnx"),
    ("missing frames", "detect {good.onnx} none.jpg", "SourceError", "none.jpg"),
    ("empty checkpoint", "export {empty.pt} -o out.onnx", "CheckpointError", "empty"),
    ("empty graph", "detect {empty.onnx} {photo.jpg}", "ArtifactError", "empty"),
    ("truncated graph", "detect {truncated.onnx} {photo.jpg}", "ArtifactError", "truncated|cut short|damaged"),
    ("truncated graph, inspected", "inspect {truncated.onnx}", "ArtifactError", "truncated|cut short|damaged"),
    ("JPEG named .onnx", "detect {picture.onnx} {photo.jpg}", "ArtifactError", "JPEG"),
    ("JPEG named .onnx, exported", "export {picture.onnx} -o out.onnx", "ArtifactError", "JPEG|not an ONNX"),
    ("unknown architecture", "export {unknown.pt} -o out.onnx", "CheckpointError", "unknown architecture"),
    ("wrong class count", "export {classes.pt} -o out.onnx", "CheckpointError", "num_classes is 7"),
    ("wrong class names", "export {good.pt} --classes a,b -o out.onnx", "CheckpointError", "2 names"),
    ("pickle with code", "export {code.pt} -o out.onnx", "UntrustedCheckpointError", "--trust-checkpoint"),
    ("unwritable folder", "export {good.pt} -o {photo.jpg}/out.onnx", "OutputError", "photo.jpg"),
    (
        "layers without int8",
        "export {good.pt} --int8-layers all -o out.onnx",
        "UsageError",
        "--int8-layers is about",
    ),
    ("calibration set missing", "export {good.pt} --int8 --calib none/ -o out.onnx", "DatasetError", "none"),
    ("unknown suffix", "export {good.pt} -o out.tflite", "OutputError", "suffix"),
    ("broken picture", "detect {good.onnx} {broken.jpg}", "SourceError", "broken.jpg"),
    ("unreachable threshold", "detect {good.onnx} {photo.jpg} --conf 0.01", "UsageError", "0.25"),
]


@pytest.mark.parametrize(
    ("command", "kind", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_mistakes_are_one_line(  # noqa: PLR0917
    command: str,
    kind: str,
    words: str,
    files: Path,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[BaseException | None] = []
    complain = cli._complain
    monkeypatch.setattr(cli, "_complain", lambda message: (seen.append(sys.exc_info()[1]), complain(message))[1])
    arguments = [re.sub(r"\{(.+?)\}", lambda found: str(files / found.group(1)), word) for word in command.split()]
    assert re.search(words, complaint_of(arguments, capsys))
    assert type(seen[0]) is getattr(errors, kind)
    assert not (here / "code_ran").exists()


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_engines_need_tensorrt(files: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detect = complaint_of(["detect", str(files / "engine.trt"), str(files / "photo.jpg")], capsys)
    assert "TensorRT" in detect or "engine" in detect
    export = complaint_of(["export", str(files / "good.pt"), "-o", "out.trt"], capsys)
    assert "TensorRT" in export


def test_the_program_itself_shows_no_traceback(files: Path, here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgedet", "detect", str(files / "picture.onnx"), str(files / "photo.jpg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_nothing_found_is_a_result(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((30, 40, 3), np.uint8))
    assert main(["detect", str(files / "good.onnx"), str(tmp_path / "black.png")]) == 0
    assert '"detections": []' in capsys.readouterr().out

"""A request that cannot be met is refused before the work, in the same words by the command and by a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgedet import errors
from edgedet.artifacts.card import OutputSpec
from edgedet.cli import main
from edgedet.errors import UsageError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.request_checks import require_label_mode
from tests.rectangle_detector import save_rectangle_graph

REFUSED = {
    "the source itself": ("model.onnx", "--fp16", {"precision": "fp16"}, "OutputError", "is the source itself"),
    "a suffix": ("out.tflite", "", {}, "OutputError", "the output's suffix decides"),
    "images not there": (
        "out.onnx",
        "--calib none/*.jpg",
        {"calib": "none/*.jpg"},
        "DatasetError",
        "no file match",
    ),
    "labels not there": ("out.onnx", "--eval none.json", {"eval": "none.json"}, "DatasetError", "no such file or"),
    "layers": (
        "out.onnx",
        "--int8-layers all",
        {"int8_layers": "all"},
        "UsageError",
        "--int8-layers is about INT8",
    ),
    "layers on a CPU": (
        "out.onnx",
        "--int8 --calib . --int8-layers all",
        {"precision": "int8", "calib": ".", "int8_layers": "all"},
        "UsageError",
        "--target tensorrt",
    ),
    "boxes not there": (
        "out.onnx",
        "--reference no.json",
        {"reference": "no.json"},
        "ReferenceBoxesError",
        "no.json",
    ),
    "a folder": ("folder", "", {}, "OutputError", "is a folder"),
}


@pytest.mark.parametrize(("output", "words", "asked", "kind", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_sentence(  # noqa: PLR0917
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    words: str,
    asked: dict[str, Any],
    kind: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    save_rectangle_graph(tmp_path / "model.onnx")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(getattr(errors, kind)) as refused:
        export_model("model.onnx", output, ExportOptions(**asked))
    assert said in str(refused.value)
    assert main(["export", "model.onnx", "-o", output, *words.split()]) == 2
    assert str(refused.value) in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("none.pt", None, "CheckpointError"),
        ("none.onnx", None, "ArtifactError"),
        ("empty.pt", b"", "CheckpointError"),
        ("empty.onnx", b"", "ArtifactError"),
        ("engine.trt", b"ptrt", "ArtifactError"),
    ],
)
def test_sources_that_cannot_be_are_told_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, kind: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "edgedet.export.finished_graph", None)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(getattr(errors, kind), match=name):
        export_model(tmp_path / name, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_way_of_choosing_classes_that_a_detector_has_not(tmp_path: Path) -> None:
    output = OutputSpec("detections", 0.1, 0.5, 100, label_mode="best")
    require_label_mode(ExportOptions(label_mode="best"), output, tmp_path)
    require_label_mode(ExportOptions(), None, tmp_path)
    for offered in (None, output):
        with pytest.raises(UsageError, match="has one way of choosing classes: leave it out"):
            require_label_mode(ExportOptions(label_mode="all"), offered, tmp_path)

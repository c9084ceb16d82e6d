"""Boxes of the training framework as the truth: what an export that assumes wrongly is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.cli import main
from edgedet.detector import Detector
from edgedet.errors import ExportError, ReferenceBoxesError, UsageError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.reference_parity import fits, refusal
from edgedet.export.training.assumptions import Assumption
from edgedet.export.training.settings import TrainingSettings
from edgedet.opening import read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.reference.compare import Comparison
from edgedet.reference.diagnosis import Finding

SAMPLE = Path(__file__).resolve().parents[2] / "examples/sample/camera_phone_ssdlite320.pt"
PICTURES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample detector without its settings, some pictures, and what torchvision finds on them."""
    folder = tmp_path_factory.mktemp("reference")
    content = torch.load(SAMPLE, weights_only=True)
    torch.save({"arch": content["arch"], "state_dict": content["state_dict"]}, folder / "model.pt")
    for index in range(PICTURES):
        cv2.imwrite(str(folder / f"{index}.png"), golden_frame(index + 1))
    images, rows = [], []
    with Detector(SAMPLE) as detector:
        assert detector.description.startswith("torch")
        for index in range(PICTURES):
            images.append({"id": index, "file_name": f"{index}.png"})
            found = detector.detect(golden_frame(index + 1))
            rows += found.to_coco(index, category_ids=(5, 6))
        names = [{"id": 5 + label, "name": name} for label, name in enumerate(detector.names)]
    (folder / "boxes.json").write_text(json.dumps({"images": images, "categories": names, "results": rows}))
    return folder


@pytest.fixture
def asked(folder: Path) -> dict[str, Any]:
    return {"classes": ("camera", "phone"), "reference": str(folder / "boxes.json")}


def test_a_graph_that_agrees_carries_the_proof(folder: Path, asked: dict[str, Any], tmp_path: Path) -> None:
    report = export_model(folder / "model.pt", tmp_path / "out.onnx", ExportOptions(**asked, precision="fp16"))
    card = read_card(report.path)
    measured = card.measured["reference"]
    assert measured["found"] == measured["confirmed"] == 1.0 and measured["detections"] >= 5
    assert (measured["frames"], measured["file"], measured["required"]) == (PICTURES, "boxes.json", 0.97)
    assert len(measured["sha256"]) == 64
    assert any(text.startswith("mean/std") for text in card.provenance["assumed"])
    assert card.provenance["assumed_confirmed_by"].startswith("boxes.json, ")
    assert any(note.startswith("agrees with boxes made elsewhere: 100.0% of") for note in report.notes)
    (assumed,) = (note for note in report.notes if note.startswith("assumed, since nothing says"))
    assert "Confirmed by the boxes of boxes.json" in assumed


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"colour": "BGR"}, "red and blue are swapped.*Suspects of what is stated or known: colour"),
        ({"image_mean": (0.6, 0.4, 0.4)}, "Suspects of what was assumed: "),
        ({"input_size": (256, 256)}, "stated or known: .*input size"),
        ({"box_weights": (10.0, 10.0, 3.0, 3.0)}, "default boxes"),
        ({"background": "last"}, "97% required"),
    ],
)
def test_a_wrong_assumption_is_refused_and_nothing_written(
    settings: dict[str, Any], words: str, folder: Path, asked: dict[str, Any], tmp_path: Path
) -> None:
    options = ExportOptions(**asked, detector=TrainingSettings(**settings))
    with pytest.raises(ExportError, match=rf"does not give the boxes of boxes\.json: .*{words}"):
        export_model(folder / "model.pt", tmp_path / "out.onnx", options)
    assert not list(tmp_path.iterdir())


def test_classes_in_another_order_are_refused(folder: Path, asked: dict[str, Any], tmp_path: Path) -> None:
    options = ExportOptions(**asked | {"classes": ("phone", "camera")})
    either = r"('camera' is 'phone'|'phone' is 'camera') here"
    with pytest.raises(ExportError, match=either + ".*stated or known: class names"):
        export_model(folder / "model.pt", tmp_path / "out.onnx", options)
    with pytest.raises(ReferenceBoxesError, match="which is none of the detector's classes"):
        export_model(folder / "model.pt", tmp_path / "out.onnx", ExportOptions(reference=asked["reference"]))
    assert not list(tmp_path.iterdir())


def test_a_finished_float_graph_is_compared_before_its_precision_is_reduced(
    folder: Path, asked: dict[str, Any], tmp_path: Path
) -> None:
    wrong = ExportOptions(classes=asked["classes"], detector=TrainingSettings(colour="BGR"))
    graph = export_model(folder / "model.pt", tmp_path / "wrong.onnx", wrong).path
    with pytest.raises(ExportError, match="red and blue are swapped"):
        export_model(graph, tmp_path / "half.onnx", ExportOptions(precision="fp16", reference=asked["reference"]))
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.onnx"]


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = ["export", str(folder / "model.pt"), "--classes", "camera,phone", "-o", str(tmp_path / "out.onnx")]
    boxes = ["--reference", str(folder / "boxes.json"), "--reference-images", str(folder)]
    assert main([*whole, *boxes, "--detector", "image_std=[0.1, 0.1, 0.1]"]) == 1
    assert "does not give the boxes of boxes.json" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert main([*whole, *boxes]) == 0
    assert "agrees with boxes made elsewhere" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "out.onnx")]) == 0
    said = capsys.readouterr().out
    assert "reference.found: 1" in said and "assumed_confirmed_by: boxes.json" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reference-images", "."], "--reference-images says where the pictures of --reference are"),
        (["--reference", "nothing.json"], "cannot read nothing.json"),
    ],
)
def test_bad_references_are_refused_before_pytorch_is_loaded(
    arguments: list[str], words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder / "model.pt"), "-o", str(tmp_path / "o.onnx"), *arguments]) == 2
    assert words in capsys.readouterr().err
    with pytest.raises(UsageError):
        ExportOptions(reference_images="x")


def test_pictures_that_the_canvas_would_shrink_are_told_apart() -> None:
    spec, output = InputSpec(320, 426), OutputSpec("detections", 0.05, 0.5, 100)
    rule = ResizeRule("shortest_side", min_size=320, max_size=640)
    card = ModelCard("faster_rcnn", "x", ("a",), spec, rule, output)
    assert fits(card, 640, 480) and fits(card, 500, 500) and not fits(card, 480, 640) and not fits(card, 1280, 720)
    stretched = ModelCard("ssd", "x", ("a",), spec, ResizeRule("stretch"), output)
    assert fits(stretched, 480, 640)


def test_only_what_a_family_has_is_suspected() -> None:
    finding = Finding("a", 0.1, ("mean/std", "anchors", "default boxes", "colour"))

    class Judged:
        boxes, share, required, silent = 10, 0.1, 0.97, ()
        reference = type("R", (), {"path": Path("b.json")})

        def text(self) -> str:
            return "10.0% of 10 boxes"

    judged: Comparison = Judged()  # type: ignore[assignment]
    said = refusal(judged, [finding], [Assumption("colour", "RGB", "colour")], "faster_rcnn")
    assert "of what was assumed: colour: RGB; of what is stated or known: mean/std, anchors." in said
    said = refusal(judged, [finding], [], "yolo")
    assert "Suspects of what is stated or known: mean/std, colour." in said


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(str(SAMPLE.parents[1]))
    import reference_boxes

    yield reference_boxes
    sys.modules.pop("reference_boxes", None)


def test_torchvisions_own_boxes_on_photographs(
    shared: Path, example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example, which knows nothing of edgedet, then the export: right, and with another mean."""
    checkpoint = shared / "models/ssdlite320_mobilenet_v3_large_bccd.pt"
    numbers = (shared / "data/bccd/ImageSets/Main/test.txt").read_text().split()[:4]
    pictures = [str(shared / f"data/bccd/JPEGImages/{number}.jpg") for number in numbers]
    boxes, out = tmp_path / "boxes.json", tmp_path / "out.onnx"
    monkeypatch.setattr(sys, "argv", ["reference_boxes.py", str(checkpoint), *pictures, "--out", str(boxes)])
    example.main()
    wanted = ["export", str(checkpoint), "-o", str(out), "--reference", str(boxes)]
    assert main([*wanted, "--detector", "image_mean=[0.485, 0.456, 0.406]"]) == 1
    assert "mean/std" in capsys.readouterr().err and not out.exists()
    assert main(wanted) == 0
    assert "agrees with boxes made elsewhere: 100.0% of" in capsys.readouterr().out

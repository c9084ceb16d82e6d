"""``edgedet eval``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from edgedet.cli import main
from edgedet.detector import Detector
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

if TYPE_CHECKING:
    from edgedet.export.options import ExportReport

pytest.importorskip("pycocotools", reason="needs pycocotools")


@pytest.fixture
def graph(sample_export: ExportReport) -> Path:
    """The sample SSDLite as a graph."""
    return sample_export.path


def lines(capsys: pytest.CaptureFixture[str]) -> Sequence[str]:
    return capsys.readouterr().out.splitlines()


def test_the_published_figures_of_the_sample_detector(
    shared: Path, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, worst = tmp_path / "out.json", tmp_path / "worst"
    words = [
        "eval",
        str(graph),
        f"{shared}/data/bccd:test",
        "--json",
        str(out),
        "--save",
        str(worst),
        "--worst",
        "2",
    ]
    assert main(words) == 0
    text = lines(capsys)
    assert text[0].endswith("bccd:test (voc): 72 images, 945 boxes, 3 classes")
    assert "mAP 0.457" in text[2] and "AP50 0.648" in text[2]
    assert any(line.startswith("Platelets") for line in text)
    data = json.loads(out.read_text())
    assert data["map"] == pytest.approx(0.457, abs=5e-4)
    assert (data["architecture"], data["precision"]) == ("ssdlite320_mobilenet_v3_large", "fp32")
    assert data["problems"] == []
    drawn = {Path(entry["drawn"]).name for entry in data["worst"]}
    assert {path.name for path in worst.iterdir()} == drawn | {"curves.png"}
    assert len(data["worst"]) == 2


def test_false_alarms_and_a_recommended_threshold(
    shared: Path, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((shared / "data/coco128/val2017").glob("*.jpg"))[:8]:
        shutil.copy(path, tmp_path)
    words = ["eval", str(graph), f"{shared}/data/bccd:test", "--limit", "4", "--negatives", str(tmp_path)]
    assert main([*words, "--false-alarm-rate", "0.25", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    point = data["working_point"]
    assert (data["images"], point["images_without_objects"]) == (4, 8)
    assert point["false_alarms"] <= 0.25
    assert point["threshold"] == data["false_alarm_threshold"]


def test_the_threshold_is_the_askers_and_so_are_the_classes(
    shared: Path, graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", str(graph), f"{shared}/data/bccd:test", "--limit", "3", "--classes", "WBC,Platelets"]
    assert main([*words, "--threshold", "0.65", "--conf", "0.3", "--max-detections", "50", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["images"], data["names"]) == (3, ["WBC", "Platelets"])
    assert (data["working_point"]["threshold"], data["working_point"]["chosen_by"]) == (0.65, "as asked")
    assert (data["score_threshold"], data["max_detections"]) == (0.3, 50)
    assert main([*words, "--conf", "0.3"]) == 0
    text = capsys.readouterr().out
    assert "reports no score below 0.3" in text and "false alarms  not measured" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bccd"], "name one, such as"),
        (["bccd/JPEGImages"], "no annotations"),
        (["coco128:val2017"], "share no class"),
        (["bccd:test", "--worst", "3"], "add --save DIR"),
        (["bccd:test", "--negatives", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_mistakes_cost_one_line(
    shared: Path, graph: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["eval", str(graph), f"{shared}/data/{words[0]}", *words[1:]]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint and complaint.count("\n") == 1


def test_pictures_that_cannot_be_read_are_left_out_named_and_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, photos = tmp_path / "model.onnx", tmp_path / "photos"
    save_rectangle_graph(model)
    photos.mkdir()
    whole = cv2.imencode(".jpg", frame_with_rectangle(60, 80, (10, 10, 40, 40)))[1].tobytes()
    contents = {"a": whole, "b": whole[: len(whole) // 2], "c": whole[:-2], "d": b""}
    for name, content in contents.items():
        (photos / f"{name}.jpg").write_bytes(content)
    with Detector(model) as detector:
        found = detector.detect(frame_with_rectangle(60, 80, (10, 10, 40, 40)))
    (box,) = found.boxes.tolist()
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]]}
        for i in range(4)
    ]
    images = [{"id": i, "file_name": f"{name}.jpg", "width": 80, "height": 60} for i, name in enumerate(contents)]
    (category,) = ({"id": 1, "name": found.names[label]} for label in found.labels)
    truth = {"images": images, "annotations": annotations, "categories": [category]}
    (photos / "instances.json").write_text(json.dumps(truth))
    words = ["eval", str(model), str(photos / "instances.json"), "--images", str(photos)]
    assert main([*words, "--json", str(tmp_path / "out.json"), "--save", str(tmp_path / "worst")]) == 1
    shown = capsys.readouterr()
    sentence = f"the image {photos}/b.jpg is cut off (part of the picture is missing); copy it again"
    assert "2 images, 2 boxes" in shown.out and sentence in shown.out
    assert "2 pictures could not be read, and these figures are without" in shown.err.splitlines()[-1]
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["map"] == pytest.approx(1, abs=0.01)
    assert data["working_point"]["missed_objects"] == 0
    assert [sentence in problem or "d.jpg" in problem for problem in data["problems"]] == [True, True]
    # On stdout too, and refused where asked for.
    assert main([*words, "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == data["problems"]
    (photos / "d.jpg").write_bytes(whole)
    assert main([*words, "--strict"]) == 2
    assert capsys.readouterr().err.startswith(f"edgedet: error: {sentence}")

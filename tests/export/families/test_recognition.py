"""Files without names and metadata: none is read wrongly; what shape does not decide is refused with what fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet import Detections
from edgedet.errors import ArtifactError, CheckpointError, EdgedetError, UsageError
from edgedet.export.families.reading_proof import Proof
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.pipeline import export_model
from tests.export.adoption.graphs import Written, plugin
from tests.export.foreign_heads import ULTRALYTICS, Head, save_head
from tests.export.foreign_ssds import save_ssd
from tests.export.repository_heads import NanoDet, save_repository_head
from tests.export.same_detections import CONF, assert_same, found

NAMES = ("cat", "dog", "hen")
BYTES = 255.0


def exported(source: Path, **options: Any) -> ExportReport:
    return export_model(source, source.with_name(f"{source.stem}-out.onnx"), ExportOptions(conf=CONF, **options))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[Detections]:
    """Of the network as its metadata describes it."""
    return found(save_head(tmp_path_factory.mktemp("reference") / "net.onnx", Head(), ULTRALYTICS))


@pytest.mark.parametrize(
    "head",
    [
        Head(),
        Head(form="corners"),
        Head(form="top_left"),
        Head(unit="shares"),
        Head(logits=True),
        Head(order="rows"),
        Head(order="rows", form="corners", unit="shares", logits=True),
    ],
)
def test_class_names_decide_on_a_head_without_objectness(
    tmp_path: Path, reference: list[Detections], head: Head
) -> None:
    source = save_head(tmp_path / "net.onnx", head)
    with pytest.raises(UsageError, match=r"does not say what its outputs mean; add --family .*--classes NAMES"):
        exported(source)
    report = exported(source, classes=NAMES)
    assert "recognised as --family yolo by its outputs' shapes" in report.notes[0]
    assert "gave 756 boxes, which lie on the canvas" in report.notes[0]
    assert_same(reference, found(report.path))


@pytest.mark.parametrize(
    ("head", "pixels", "family"),
    [
        (Head(order="rows", objectness=True, per_place=3), 1.0, "yolov5"),
        (Head(order="rows", softmax="last", left_out=5), 1.0, "yolov5"),
        (Head(order="rows", objectness=True, raw=True), BYTES, "yolox"),
        (Head(order="rows", form="corners", chosen=40), 1.0, "yolo"),
    ],
)
def test_one_reading_that_stands_is_taken(tmp_path: Path, head: Head, pixels: float, family: str) -> None:
    source = save_head(tmp_path / "net.onnx", head, pixels=pixels)
    with pytest.raises(UsageError, match="does not say what its outputs mean; add --family"):
        exported(source)
    report = exported(source, classes=NAMES)
    assert f"recognised as --family {family} " in report.notes[0]
    assert_same(found(exported(source, classes=NAMES, family=family).path), found(report.path))


@pytest.mark.parametrize(
    ("head", "pixels", "kind", "message"),
    [
        # Pixels of 0 to 255 or of 0 to 1: YOLOX and YOLOv6 have the same shape.
        (Head(order="rows", objectness=True), BYTES, UsageError, "state which: --family yolox or --family yolov5"),
        (Head(objectness=True), 1.0, CheckpointError, "has 4 classes, but 3 names were given"),
        (Head(raw=True), 1.0, ArtifactError, "offsets within cells"),
        (
            Head(order="rows", softmax="first", background=-2.0, left_out=5),
            1.0,
            ArtifactError,
            "cannot distinguish",
        ),
    ],
)
def test_what_shape_and_numbers_do_not_decide_is_refused(
    tmp_path: Path, head: Head, pixels: float, kind: type[EdgedetError], message: str
) -> None:
    source = save_head(tmp_path / "net.onnx", head, pixels=pixels)
    with pytest.raises(kind, match=message):
        exported(source, classes=NAMES)
    assert not source.with_name("net-out.onnx").exists()


def changed(source: Path, factor: float, shift: float = 0.0) -> Path:
    """Every number of the output times ``factor``, plus ``shift``."""
    model = onnx.load(str(source))
    model.graph.node[-1].output[0] = "raw"
    for name, value in (("factor", factor), ("shift", shift)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    model.graph.node.append(onnx.helper.make_node("Mul", ["raw", "factor"], ["scaled"]))
    model.graph.node.append(onnx.helper.make_node("Add", ["scaled", "shift"], ["output0"]))
    onnx.save(model, str(source))
    return source


@pytest.mark.parametrize(
    ("factor", "shift", "message"),
    [
        (np.nan, 0.0, "not finite"),
        (0.0, 0.0, "one place|show"),
        (0.0, 0.5, "one place|show"),
        (3.0, 2.0, "neither probabilities"),
    ],
)
def test_numbers_that_are_no_detector_s(tmp_path: Path, factor: float, shift: float, message: str) -> None:
    source = changed(save_head(tmp_path / "net.onnx", Head()), factor, shift)
    with pytest.raises(ArtifactError, match=message):
        exported(source, classes=NAMES)


def test_outputs_of_no_family_are_refused_with_a_form_to_fill_in(tmp_path: Path) -> None:
    model = onnx.load(str(save_head(tmp_path / "net.onnx", Head())))
    model.graph.node[-1].output[0] = "raw"
    model.graph.initializer.append(numpy_helper.from_array(np.array([7, 189]), "flat"))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["raw", "flat"], ["output0"]))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(model), str(tmp_path / "net.onnx"))
    with pytest.raises(
        UsageError, match=r'of no known family; state it: --outputs "boxes=OUTPUT.*output0 \[7, 189\]'
    ):
        exported(tmp_path / "net.onnx", classes=NAMES)


def test_a_proof_says_what_it_saw() -> None:
    assert "yet all boxes are in one place" in Proof((), ("all boxes are in one place",), 40, 4).text()


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("yolov5", "read as --family yolov5 says, all boxes are in one place"),
        ("yolov7", "read as --family yolov7 says, all boxes are in one place"),
        ("yolox", "numbers from 0 to 1 first and logits last, as NanoDet"),
    ],
)
def test_a_family_that_is_said_and_that_the_numbers_contradict_is_refused(
    tmp_path: Path, family: str, message: str
) -> None:
    """NanoDet's classes and distributions have the shape of boxes, objectness and classes."""
    source = save_repository_head(tmp_path / "net.onnx", NanoDet())
    with pytest.raises(ArtifactError, match=message):
        exported(source, family=family)


def test_columns_of_anchors_are_no_classes(tmp_path: Path) -> None:
    """Ultralytics' [N, 4 + classes, anchors] said to be YOLOv5's would have as many classes as anchors."""
    source = save_head(tmp_path / "net.onnx", Head())
    with pytest.raises(ArtifactError, match=r"are not of shape .N, anchors, 5 . classes"):
        exported(source, family="yolov5")


@pytest.mark.parametrize("family", ["yolo-nas", "damo-yolo", "pp-yoloe", "rfdetr"])
def test_scores_of_four_columns_are_not_taken_for_boxes(tmp_path: Path, family: str) -> None:
    """An SSD of three classes and a background: a softmax, whatever comes first."""
    source = save_ssd(tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match=r"sum to 1|not RF-DETR's"):
        exported(source, family=family)


def test_an_inner_nms_of_all_classes_together_is_recognised_too(tmp_path: Path) -> None:
    settings = {"score_threshold": 0.6, "iou_threshold": 0.4, "max_output_boxes": 40, "box_coding": 1}
    source = plugin(Written(tmp_path / "net.onnx"), "EfficientNMS_TRT", **settings, class_agnostic=1)
    report = exported(source, classes=NAMES)
    assert any("all classes together" in note for note in report.notes)
    for family, message in (("ssd", "lets all classes suppress each other"), ("yolox", "has NMS inside")):
        with pytest.raises(UsageError, match=message):
            exported(source, classes=NAMES, family=family)


def test_an_inner_nms_of_every_class_for_itself_may_be_of_any_family_with_one(tmp_path: Path) -> None:
    """Their boxes and scores are alike and their pixels are not: RTMDet's file would be read as a YOLO's."""
    settings = {"score_threshold": 0.6, "iou_threshold": 0.4, "max_output_boxes": 40, "box_coding": 1}
    source = plugin(Written(tmp_path / "net.onnx"), "EfficientNMS_TRT", **settings)
    for said in ({}, {"classes": NAMES}):
        with pytest.raises(UsageError, match="whose pixels differ; add --family") as refused:
            exported(source, **said)
        for family in ("yolo", "ssd", "yolo-nas", "damo-yolo", "pp-yoloe", "rtmdet", "mmdet"):
            assert f"--family {family} --classes NAMES" in str(refused.value)

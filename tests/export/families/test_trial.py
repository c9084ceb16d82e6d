"""What a foreign output is, is seen in a trial run: planted contradictions are put right and named, or refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edgedet import Detections, Detector
from edgedet.errors import ArtifactError, AssumptionError, EdgedetError, UsageError
from edgedet.export.engines.engine_export import is_ready_for_engine
from edgedet.export.engines.operators import check_operators
from edgedet.export.families.trial import is_decoded
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.pipeline import export_model
from edgedet.outputs.plausible_values import anchor_places
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.foreign_heads import METADATA, SIDE, ULTRALYTICS, Head, save_head

CONF = 0.6
NAMES = ("cat", "dog", "hen")
FRAMES = [golden_frame(seed, 90, 120) for seed in (1, 4)]


def exported(source: Path, **options: Any) -> ExportReport:
    return export_model(source, source.with_name(f"{source.stem}-out.onnx"), ExportOptions(conf=CONF, **options))


def found(artifact: Path) -> list[Detections]:
    with Detector(artifact, conf=CONF) as detector:
        return [detector.detect(frame) for frame in FRAMES]


def assert_same(expected: list[Detections], ours: list[Detections]) -> None:
    for wanted, got in zip(expected, ours, strict=True):
        report = match_detections(wanted, got, Tolerance(min_score=0, max_score_difference=1e-4))
        assert report.reference_count > 3
        assert (len(report.missing), len(report.extra)) == (0, 0)


def assumed(report: ExportReport) -> str:
    return "; ".join(report.card.provenance.get("assumed", ()))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[Detections]:
    """Of the network as its metadata describes it, run as it is."""
    return found(save_head(tmp_path_factory.mktemp("reference") / "net.onnx", Head(), ULTRALYTICS))


def test_a_head_that_is_what_it_says_leaves_nothing_assumed(tmp_path: Path, reference: list[Detections]) -> None:
    report = exported(save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS), strict=True)
    assert "assumed" not in report.card.provenance
    assert_same(reference, found(report.path))


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (Head(logits=True), "scores: logits"),
        (Head(unit="shares"), "boxes: shares of the canvas"),
        (Head(form="corners"), "boxes: corners"),
        (Head(form="top_left"), "boxes: top left corners"),
        (Head(form="corners", unit="shares", logits=True), "boxes: corners"),
        (Head(order="rows"), ""),
    ],
)
def test_contradictions_are_put_right_and_named(
    tmp_path: Path, reference: list[Detections], head: Head, named: str
) -> None:
    source = save_head(tmp_path / "net.onnx", head, ULTRALYTICS)
    report = exported(source)
    assert named in assumed(report)
    assert bool(assumed(report)) == bool(named)
    assert_same(reference, found(report.path))
    if named:
        with pytest.raises(AssumptionError, match=named):
            exported(source, strict=True)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (Head(logits=True), "scores range from -"),
        (Head(unit="shares"), "shares of the canvas"),
        (Head(form="corners"), "boxes are corners"),
        (Head(order="rows"), "its metadata says 3 classes"),
    ],
)
def test_what_runs_as_it_is_contradicts_itself_once_and_aloud(tmp_path: Path, head: Head, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        found(save_head(tmp_path / "net.onnx", head, ULTRALYTICS))


@pytest.mark.parametrize("per_place", [1, 3])
@pytest.mark.parametrize("metadata", [METADATA, None])
def test_yolov5s_layout(tmp_path: Path, metadata: dict[str, str] | None, per_place: int) -> None:
    """Objectness times class score, its own thresholds, with its exporter's metadata or none at all."""
    head = Head(order="rows", objectness=True, per_place=per_place)
    source = save_head(tmp_path / "net.onnx", head, metadata)
    asked: dict[str, Any] = {} if metadata else {"family": "yolov5", "classes": NAMES}
    report = export_model(source, tmp_path / "out.onnx", ExportOptions(conf=0.4, **asked))
    output = report.card.output
    assert (output.iou_threshold, output.max_detections, output.label_mode) == (0.45, 1000, "best")
    assert report.card.resize.place == "center" and report.card.architecture == "YOLOv5"
    assert bool(assumed(report)) == (metadata is None)
    if metadata is None:
        assert "pixels: RGB, 0 to 1" in assumed(report) and "resizing: letterbox" in assumed(report)
        onnx.save(with_metadata(source, METADATA), str(source))
    with Detector(source, conf=0.4) as theirs, Detector(report.path) as ours:
        assert theirs.card.output.format == "yolo_objectness"
        assert_same([theirs.detect(frame) for frame in FRAMES], [ours.detect(frame) for frame in FRAMES])


def with_metadata(path: Path, metadata: dict[str, str]) -> onnx.ModelProto:
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, metadata)
    return model


@pytest.mark.parametrize("logits", [False, True])
def test_yolox_decoded_inside_or_not_gives_the_same(tmp_path: Path, logits: bool) -> None:
    head = {"order": "rows", "objectness": True, "logits": logits}
    raw = save_head(tmp_path / "raw.onnx", Head(raw=True, **head), pixels=255)  # type: ignore[arg-type]
    decoded = save_head(tmp_path / "decoded.onnx", Head(**head), pixels=255)  # type: ignore[arg-type]
    reports = [
        export_model(path, path.with_name(f"{path.stem}-out.onnx"), ExportOptions(family="yolox", conf=0.4))
        for path in (raw, decoded)
    ]
    assert "decoded inside" not in " ".join(reports[0].notes) and "decoded inside" in " ".join(reports[1].notes)
    for report in reports:
        assert ("scores: logits" in assumed(report)) == logits
        assert "pixels: BGR, 0 to 255" in assumed(report) and "class names: invented" in assumed(report)
    results = []
    for report in reports:
        with Detector(report.path) as detector:
            results.append([detector.detect(frame) for frame in FRAMES])
    assert_same(*results)


def test_a_few_centres_far_away_do_not_hide_that_boxes_are_decoded() -> None:
    places = anchor_places(SIDE, SIDE, 189)
    assert places is not None
    rng = np.random.default_rng(0)
    seen = np.concatenate([places + rng.normal(0, 4, places.shape), rng.random((189, 6))], 1).astype(np.float32)
    seen[::40, :2] *= 1e4
    graph: Any = SimpleNamespace(height=SIDE, width=SIDE, path="net.onnx")
    assert is_decoded(graph, seen[None])
    seen[:, :2] = rng.normal(0, 1, places.shape)
    assert not is_decoded(graph, seen[None])


def test_a_yolox_that_shows_neither_is_refused(tmp_path: Path) -> None:
    """Half of its positions follow their cells, the others do not."""
    path = save_head(tmp_path / "net.onnx", Head(order="rows", objectness=True), pixels=255)
    model = onnx.load(str(path))
    last = model.graph.node[-1]
    last.output[0] = "decoded"
    noise = np.random.default_rng(0).normal(0, 25, (1, 189, 8)).astype(np.float32)
    noise[..., 2:] = 0
    model.graph.initializer.append(onnx.numpy_helper.from_array(noise, "noise"))
    model.graph.node.append(onnx.helper.make_node("Add", ["decoded", "noise"], ["output0"]))
    onnx.save(model, str(path))
    with pytest.raises(ArtifactError, match="does not show whether its boxes are decoded"):
        exported(path, family="yolox")


def test_yolov6_is_not_taken_for_yolox(tmp_path: Path) -> None:
    path = save_head(tmp_path / "net.onnx", Head(order="rows", objectness=True))
    model = onnx.load(str(path))
    model.graph.node[-1].output[0] = "sure"
    keep, one = np.ones((2, 1, 1, 8), np.float32)
    keep[..., 4], one[..., :4], one[..., 5:] = 0, 0, 0
    for name, value in (("keep", keep), ("one", one)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    model.graph.node.append(onnx.helper.make_node("Mul", ["sure", "keep"], ["kept"]))
    model.graph.node.append(onnx.helper.make_node("Add", ["kept", "one"], ["output0"]))
    onnx.save(model, str(path))
    with pytest.raises(ArtifactError, match=r"objectness is 1 everywhere, as YOLOv6 .* --family yolov5"):
        exported(path, family="yolox")
    assert exported(path, family="yolov5").card.architecture == "YOLOv5"


END2END = ULTRALYTICS | {"head": "v10Detect", "end2end": "True"}
RTDETR = ULTRALYTICS | {"head": "RTDETRDecoder", "end2end": "False"}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("head", "metadata", "family"),
    [
        (Head(order="rows", form="corners", chosen=40), END2END, "yolo"),
        (Head(order="rows", unit="shares", chosen=40), RTDETR, "detr"),
    ],
)
def test_heads_without_nms_stay_without(
    tmp_path: Path, head: Head, metadata: dict[str, str], family: str, precision: Any
) -> None:
    source = save_head(tmp_path / "net.onnx", head, metadata)
    report = exported(source, precision=precision)
    card = report.card
    assert (card.family, card.provenance["nms"], card.output.format) == (family, "none", "detections")
    assert card.resize.rule == ("stretch" if family == "detr" else "letterbox")
    assert "NonMaxSuppression" not in {node.op_type for node in onnx.load(str(report.path)).graph.node}
    if precision == "fp32":
        assert_same(found(source), found(report.path))
    with pytest.raises(UsageError, match="works without NMS"):
        Detector(report.path, iou=0.3)
    with pytest.raises(UsageError, match="does without"):
        exported(source, iou=0.3)


def test_a_choice_survives_int8_and_becomes_an_engine_without_nms(tmp_path: Path) -> None:
    """Class numbers come out whole, beside boxes of other sizes by far."""
    for seed in range(8):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), golden_frame(seed, 90, 120))
    source = save_head(tmp_path / "net.onnx", Head(order="rows", form="corners", chosen=40), END2END)
    report = exported(source, precision="int8", calib=str(tmp_path), max_drop=1.0, over_budget="keep_best")
    for theirs, ours in zip(found(source), found(report.path), strict=True):
        matched = match_detections(theirs, ours, Tolerance(min_score=0.65, min_iou=0.5, max_score_difference=0.2))
        assert len(matched.missing) <= 0.2 * matched.reference_count
    engine = exported(source, nms="runtime", target="tensorrt")
    assert engine.card.output.format == "detections" and is_ready_for_engine(engine.path, "fp32")
    assert check_operators(onnx.load(str(engine.path))) == []


@pytest.mark.parametrize(
    ("head", "metadata", "message"),
    [
        (Head(order="rows", chosen=40), END2END, "x2 < x1|boxes reach"),
        (Head(order="rows", form="corners", unit="shares", chosen=40), END2END, "boxes reach .* expected pixels"),
        (Head(order="rows", form="corners", chosen=40), RTDETR, "boxes reach .* expected shares"),
        (Head(order="rows", form="corners", chosen=40, logits=True), END2END, "scores range"),
    ],
)
def test_chosen_boxes_that_are_not_what_the_head_gives(
    tmp_path: Path, head: Head, metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        found(save_head(tmp_path / "net.onnx", head, metadata))


def test_chosen_boxes_of_a_file_without_metadata(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", unit="shares", chosen=40))
    with pytest.raises(UsageError, match="how many there are; add --classes"):
        exported(source, family="yolo")
    with pytest.raises(ArtifactError, match="gives the class number 2, but names 2 classes"):
        exported(source, family="yolo", classes=("a", "b"))
    report = exported(source, family="yolo", classes=NAMES)
    assert "shares of the canvas" in assumed(report) and "centres and sizes" in assumed(report)


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        (Head(), {"head": "OBB26"}, "has the head 'OBB26', whose output edgedet does not know"),
        (Head(), {"head": "Pose26"}, "states the task 'detect' and the head 'Pose26', which is one for 'pose'"),
        (Head(), {"task": "obb"}, "is an Ultralytics model for 'obb'"),
        (Head(), {"task": "pose"}, "is an Ultralytics model for 'pose'"),
        (Head(), {"head": "RTDETRDecoder"}, r"which gives \[N, boxes, 6\], but its output is"),
        (Head(), {"names": "{0: 'a'}"}, "has 3 classes, but 1 names were given"),
    ],
)
def test_metadata_is_believed_before_shapes(
    tmp_path: Path, head: Head, changes: dict[str, str], message: str
) -> None:
    source = save_head(tmp_path / "net.onnx", head, ULTRALYTICS | changes)
    with pytest.raises(EdgedetError, match=message):
        exported(source)


def test_more_classes_than_anchors(tmp_path: Path) -> None:
    """Their number is the metadata's, whichever side of the output is longer."""
    model = onnx.load(str(save_head(tmp_path / "net.onnx", Head(), ULTRALYTICS)))
    model.graph.node[-1].output[0] = "few"
    repeats = onnx.numpy_helper.from_array(np.array([0, 1, 2, 3, *[4, 5, 6] * 90]), "repeats")
    model.graph.initializer.append(repeats)
    model.graph.node.append(onnx.helper.make_node("Gather", ["few", "repeats"], ["output0"], axis=1))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 274
    onnx.helper.set_model_props(model, ULTRALYTICS | {"names": str({i: f"n{i}" for i in range(270)})})
    onnx.save(model, str(tmp_path / "many.onnx"))
    report = exported(tmp_path / "many.onnx")
    assert len(report.card.names) == 270
    assert_same(found(tmp_path / "many.onnx"), found(report.path))


@pytest.mark.parametrize("opset", [11, 12, 13, 16, 18, 19, 20])
@pytest.mark.parametrize("chunks", [0, 5])
def test_every_opset_and_any_number_of_chunks(
    tmp_path: Path, reference: list[Detections], opset: int, chunks: int
) -> None:
    source = save_head(tmp_path / "net.onnx", Head(chunks=chunks), ULTRALYTICS, opset=opset)
    report = exported(source)
    assert_same(found(source), found(report.path))
    if not chunks:
        assert_same(reference, found(report.path))

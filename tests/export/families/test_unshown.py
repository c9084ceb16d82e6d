"""What neither a file says nor a trial run shows of a head is named, and refused under --strict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet import Detections, Detector
from edgedet.artifacts.seal import sealed
from edgedet.errors import ArtifactError, AssumptionError
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.pipeline import export_model
from edgedet.proof.golden import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.foreign_heads import ULTRALYTICS, Head, save_head

NAMES = ("cat", "dog", "hen")
END2END = ULTRALYTICS | {"end2end": "True"}
FRAMES = [golden_frame(seed, 90, 120) for seed in (1, 4)]
CONF = 0.3


def exported(source: Path, **options: Any) -> ExportReport:
    return export_model(source, source.with_name(f"{source.stem}-out.onnx"), ExportOptions(conf=CONF, **options))


def assumed(report: ExportReport) -> str:
    return "; ".join(report.card.provenance.get("assumed", ()))


def found(artifact: Path) -> list[Detections]:
    return detect_all(artifact, FRAMES)


def detect_all(artifact: Path, frames: list[np.ndarray]) -> list[Detections]:
    with Detector(artifact, conf=CONF) as detector:
        return [detector.detect(frame) for frame in frames]


def assert_same(expected: list[Detections], ours: list[Detections]) -> None:
    for wanted, got in zip(expected, ours, strict=True):
        report = match_detections(wanted, got, Tolerance(min_score=0, max_score_difference=1e-4))
        assert report.reference_count > 3
        assert (len(report.missing), len(report.extra)) == (0, 0)


def assert_named(source: Path, named: str, **options: Any) -> ExportReport:
    report = exported(source, **options)
    assert named in assumed(report)
    with pytest.raises(AssumptionError, match=named.replace("(", r"\(").replace(")", r"\)")):
        exported(source, strict=True, **options)
    return report


@pytest.mark.parametrize("metadata", [None, ULTRALYTICS])
@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize(
    ("form", "named"),
    [
        ("centre", "boxes: centres and sizes, which a trial run does not show"),
        ("top_left", "boxes: top left corners and sizes, as a trial run shows"),
        ("corners", "boxes: corners x1, y1, x2, y2, as a trial run shows"),
    ],
)
def test_another_number_of_anchors_states_no_form(
    tmp_path: Path, metadata: dict[str, str] | None, order: Any, form: Any, named: str
) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order=order, form=form, left_out=5), metadata)
    asked: dict[str, Any] = {} if metadata else {"family": "yolo", "classes": NAMES}
    report = assert_named(source, named, **asked)
    plain = save_head(tmp_path / "plain.onnx", Head(left_out=5), ULTRALYTICS)
    assert_same(found(exported(plain).path), found(report.path))
    if metadata and order == "columns":
        # What one frame leaves open, the metadata states; what it shows to be otherwise is refused.
        if form == "centre":
            assert_same(found(exported(plain).path), found(source))
            return
        with pytest.raises(ArtifactError, match=r"boxes are (corners|top left corners)"):
            found(source)


@pytest.mark.parametrize("metadata", [None, END2END, END2END | {"head": "v10Detect"}])
@pytest.mark.parametrize("form", ["centre", "top_left", "corners"])
@pytest.mark.parametrize("unit", ["pixels", "shares"])
def test_few_rows_show_no_form(tmp_path: Path, metadata: dict[str, str] | None, form: Any, unit: Any) -> None:
    """A few sure boxes in zeros, which no head that makes its own choice writes."""
    few = Head(order="rows", form=form, unit=unit, chosen=40, sure=0.97)
    source = save_head(tmp_path / "net.onnx", few, metadata)
    asked: dict[str, Any] = {} if metadata else {"family": "yolo", "classes": NAMES}
    with pytest.raises(AssumptionError, match=r"which a trial run does not show \(it gives \d+ boxes") as refusal:
        exported(source, strict=True, **asked)
    assert ("boxes: shares of the canvas" in str(refusal.value)) == (unit == "shares")
    if metadata:
        with pytest.raises(ArtifactError, match=r"x2 < x1|padded with zeros|expected pixels"):
            detect_all(source, [golden_frame(1, 96, 96)])


def test_no_rows_show_nothing(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", form="corners", chosen=40, sure=2), END2END)
    report = exported(source)
    for named in ("boxes: pixels, which", "boxes: corners", "rows: box, score and class number", "class numbers"):
        assert named in assumed(report)


def test_turned_boxes_of_a_form_that_was_assumed_are_refused_where_they_come_up(tmp_path: Path) -> None:
    head = Head(order="rows", form="corners", chosen=40)
    report = exported(save_head(tmp_path / "net.onnx", head, END2END))
    model = onnx.load(str(report.path))
    assert assumed(report) == ""
    # The same rows, right to left: as long as nothing was assumed they are only left out.
    (boxes,) = [node for node in model.graph.node if "boxes" in node.output]
    boxes.output[0] = "unturned"
    order = onnx.numpy_helper.from_array(np.array([2, 3, 0, 1]), "turned_order")
    model.graph.initializer.append(order)
    model.graph.node.append(onnx.helper.make_node("Gather", ["unturned", "turned_order"], ["boxes"], axis=2))
    (tmp_path / "turned.onnx").write_bytes(sealed(model.SerializeToString()))
    assert [len(each) for each in found(tmp_path / "turned.onnx")] == [0, 0]
    for entry in model.metadata_props:
        entry.value = entry.value.replace('"nms": "none"', '"nms": "none", "assumed": ["boxes: corners"]')
    (tmp_path / "turned.onnx").write_bytes(sealed(model.SerializeToString()))
    with pytest.raises(ArtifactError, match="most boxes have x2 < x1"):
        found(tmp_path / "turned.onnx")


@pytest.mark.parametrize("form", ["centre", "top_left"])
def test_rows_out_of_order_do_not_tell_centres_from_corners_with_sizes(tmp_path: Path, form: Any) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", form=form, chosen=40), END2END)
    said = assumed(exported(source))
    assert "as a trial run shows" not in said
    assert ("may be top left corners" in said) or ("since such boxes stay within the canvas" in said)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("form", ["centre", "corners"])
def test_the_background_of_a_softmax_is_no_objectness(tmp_path: Path, place: Any, form: Any) -> None:
    """The same classes come out, wherever the background stands."""
    asked: dict[str, Any] = {"family": "yolo", "classes": NAMES}
    sources = [
        save_head(tmp_path / f"{at}.onnx", Head(order="rows", softmax=at, form=form, left_out=5))  # type: ignore[arg-type]
        for at in ("first", place)
    ]
    first, report = (
        assert_named(source, f"background: the {at} of 4 scores", **asked)
        for source, at in zip(sources, ("first", place), strict=True)
    )
    assert "objectness:" not in assumed(report)
    assert_same(found(first.path), found(report.path))
    assert report.card.output.iou_threshold == 0.7


@pytest.mark.parametrize(
    ("head", "names", "message"),
    [
        (Head(order="rows", softmax="first", background=-2.0), NAMES, "cannot distinguish from the classes"),
        (Head(order="rows", softmax="first"), ("nothing", *NAMES), "yet all 4 are named as classes"),
        (Head(order="rows", softmax="last"), (*NAMES, "nothing"), "yet all 4 are named as classes"),
    ],
)
def test_a_softmax_without_a_place_for_the_background_is_refused(
    tmp_path: Path, head: Head, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        exported(save_head(tmp_path / "net.onnx", head), family="yolo", classes=names)


@pytest.mark.parametrize("family", ["yolox", "yolov5"])
def test_a_softmax_is_not_yolox_s(tmp_path: Path, family: Any) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", softmax="first"), pixels=255)
    if family == "yolox":
        with pytest.raises(ArtifactError, match="sum to 1 in every box, as the softmax of another head"):
            exported(source, family=family)
    else:
        assert "background: the first of 4" in assumed(exported(source, family=family, classes=NAMES))


def test_corners_whose_distances_pass_a_relu(tmp_path: Path) -> None:
    head = Head(order="rows", form="corners", clamped=True, per_place=2)
    report = assert_named(
        save_head(tmp_path / "net.onnx", head), "boxes: corners x1, y1, x2, y2", family="yolo", classes=NAMES
    )
    # Boxes without extent are no detections; of the others, centres and sizes give the same.
    centre = save_head(tmp_path / "centre.onnx", Head(clamped=True, per_place=2), ULTRALYTICS)
    for expected, ours in zip(found(exported(centre).path), found(report.path), strict=True):
        matched = match_detections(expected, ours, Tolerance(min_score=0, max_score_difference=1e-4))
        assert matched.reference_count > 3 and len(matched.missing) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_class_numbers_that_never_are_0(tmp_path: Path, first: int) -> None:
    head = Head(order="rows", form="corners", chosen=40, first_label=first)
    source = save_head(tmp_path / "net.onnx", head)
    names = (*NAMES, "owl")[: 3 + first]
    if first:
        assert_named(source, "class numbers: counted from 0", family="yolo", classes=names)
    else:
        assert "class numbers" not in assumed(exported(source, family="yolo", classes=names))


def test_class_0_may_be_absent_where_the_graph_counts_from_0(tmp_path: Path) -> None:
    """Its score is never the best, but the number is the index of the best as it is."""
    model = onnx.load(str(save_head(tmp_path / "net.onnx", Head(order="rows", form="corners", chosen=40), END2END)))
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    keep = np.ones((1, 1, 4), np.float32)
    keep[..., 1] = 0.01
    after = sigmoid.output[0]
    sigmoid.output[0] = "every"
    model.graph.initializer.append(onnx.numpy_helper.from_array(keep, "keep"))
    model.graph.node.insert(
        list(model.graph.node).index(sigmoid) + 1, onnx.helper.make_node("Mul", ["every", "keep"], [after])
    )
    onnx.save(model, str(tmp_path / "net.onnx"))
    assert assumed(exported(tmp_path / "net.onnx")) == ""


@pytest.mark.parametrize(
    ("objectness", "names", "named"),
    [
        (True, NAMES, "objectness: the fifth number of every box, times its class scores"),
        (True, (*NAMES, "owl"), "objectness: none, every number after a box is the score of a class"),
        (False, NAMES, "objectness: none, every number after a box is the score of a class"),
    ],
)
def test_the_number_of_names_alone_decides_on_objectness(
    tmp_path: Path, objectness: bool, names: tuple[str, ...], named: str
) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", objectness=objectness))
    assert_named(source, named, family="yolo", classes=names)

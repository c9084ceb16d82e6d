"""Outputs stated by hand: the grammar, what it refuses, and the detections of the family that knows the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet.errors import ArtifactError, CheckpointError, EdgedetError, UsageError
from edgedet.export.families.output_reading import parse_reading
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.pipeline import export_model
from tests.export.foreign_heads import SIDE, Head, save_head
from tests.export.same_detections import CONF, assert_same, found

NAMES = ("cat", "dog", "hen")
LETTERBOX = "image=rgb/255:letterbox"


def exported(source: Path, outputs: str | None = None, **options: Any) -> ExportReport:
    asked: dict[str, Any] = {"conf": CONF, "classes": NAMES, "outputs": outputs} | options
    return export_model(source, source.with_name(f"{source.stem}-out.onnx"), ExportOptions(**asked))


@pytest.mark.parametrize(
    "text",
    [
        "boxes=dets:xyxy@input, scores=labels:softmax+bg",
        "boxes=out:0[:4]:cxcywh@unit, scores=out:0[5:]:sigmoid, objectness=out:0[4]:sigmoid, nms=best",
        "boxes=b:yxyx@unit, scores=s:none, labels=c:from1, count=n, nms=done",
        "boxes=loc:offsets, scores=conf:softmax+bg_last, priors=ssd300, image=bgr-104,117,123:stretch",
        "boxes=a,b:xywh@input, scores=c/d:0:none, image=rgb-127/128:letterbox_top_left",
    ],
)
def test_what_is_read_is_what_was_written(text: str) -> None:
    assert parse_reading(text).text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not one of boxes="),
        ("boxes=a:xyxy@input", "scores= is missing"),
        ("scores=a:none", "boxes= is missing"),
        ("boxes=a:xyxy@input, boxes=b:xyxy@input, scores=s:none", "boxes= stands there twice"),
        ("boxes=a:xyxy, scores=s:none", "does not say of what: end it in @input"),
        ("boxes=a:corners@input, scores=s:none", "does not say which numbers"),
        ("boxes=a:xyxy@pixels, scores=s:none", "@input .pixels of the network's input. or @unit"),
        ("boxes=a:xyxy@input, scores=s", "does not say what is done to them"),
        ("boxes=a:xyxy@input, scores=s:softmax+background", "does not say what is done to them"),
        ("boxes=a[4:2]:xyxy@input, scores=s:none", r"a\[4:2\] is no part of an output"),
        ("boxes=a[:]:xyxy@input, scores=s:none", r"a\[:\] is no part of an output"),
        ("boxes=a:xyxy@input, scores=s:none, nms=never", "nms=never is none of"),
        ("boxes=a:xyxy@input, scores=s:none, image=grey", "image=grey is not understood"),
        ("boxes=a:xyxy@input, scores=s:none, image=rgb/0", "divides by 0"),
        ("boxes=a:xyxy@input, scores=s:none, image=rgb/1,2", "two numbers"),
        ("boxes=a:offsets, scores=s:none", "priors=TENSOR"),
        ("boxes=a:offsets@unit, scores=s:none, priors=p", "offsets have no unit"),
        ("boxes=a:xyxy@unit, scores=s:none, priors=p", "priors=TENSOR"),
        ("boxes=a:xyxy@unit, scores=s:none+bg, labels=l", "none of which is that of the background"),
    ],
)
def test_what_is_not_understood_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_reading(text)


@pytest.mark.parametrize(
    ("head", "outputs", "family"),
    [
        (Head(), "boxes=output0[:4]:cxcywh@input, scores=output0[4:]:none", "yolo"),
        (Head(form="corners"), "boxes=output0[:4]:xyxy@input, scores=output0[4:]:none", "yolo"),
        (Head(unit="shares", logits=True), "boxes=output0[:4]:cxcywh@unit, scores=output0[4:]:sigmoid", "yolo"),
        (
            Head(order="rows", objectness=True, logits=True),
            "boxes=output0[:4]:cxcywh@input, scores=output0[5:]:sigmoid, objectness=output0[4]:sigmoid",
            "yolov5",
        ),
        (
            Head(order="rows", chosen=40, form="corners"),
            "boxes=output0[:4]:xyxy@input, scores=output0[4]:none, labels=output0[5]",
            "yolo",
        ),
    ],
)
def test_the_same_as_the_family_that_knows_the_head(tmp_path: Path, head: Head, outputs: str, family: str) -> None:
    source = save_head(tmp_path / "net.onnx", head)
    expected = found(exported(source, family=family, iou=None if head.chosen else 0.6).path)
    nms = "done" if head.chosen else "best"
    report = exported(source, f"{outputs}, nms={nms}, {LETTERBOX}", iou=None if head.chosen else 0.6)
    assert "assumed" not in report.card.provenance
    assert report.card.provenance.get("nms") == ("none" if head.chosen else None)
    assert_same(expected, found(report.path))


def test_a_softmax_with_background_and_a_class_list_that_names_it(tmp_path: Path) -> None:
    head = Head(order="rows", softmax="last")
    source = save_head(tmp_path / "net.onnx", head)
    expected = found(exported(source, family="yolov5", iou=0.6).path)
    outputs = f"boxes=output0[:4]:cxcywh@input, scores=output0[4:]:none+bg_last, nms=best, {LETTERBOX}"
    report = exported(source, outputs, iou=0.6, classes=(*NAMES, "background"))
    assert report.card.names == NAMES
    assert_same(expected, found(report.path))


def test_inner_tensors_may_be_named_and_what_comes_behind_them_goes(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head())
    whole = f"boxes=output0[:4]:cxcywh@input, scores=output0[4:]:none, {LETTERBOX}"
    expected = found(exported(source, whole).path)
    model = onnx.load(str(source))
    model.graph.node.append(onnx.helper.make_node("NonZero", ["output0"], ["where"]))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("where"))
    onnx.save(model, str(source))
    assert_same(expected, found(exported(source, whole).path))


def test_what_was_not_said_of_the_picture_is_assumed(tmp_path: Path) -> None:
    report = exported(
        save_head(tmp_path / "n.onnx", Head()), "boxes=output0[:4]:cxcywh@input, scores=output0[4:]:none"
    )
    assert report.card.provenance["assumed"][0] == "pixels: RGB, 0 to 1"


BOXES, SCORES = "boxes=output0[:4]:cxcywh@input", "scores=output0[4:]:none"


@pytest.mark.parametrize(
    ("outputs", "kind", "message"),
    [
        (
            f"boxes=dets:xyxy@input, {SCORES}",
            UsageError,
            r"no output 'dets', .* its outputs are output0 \[1, 7, 189\]",
        ),
        (f"{BOXES}, scores=output0[3:]:none", CheckpointError, "has 4 classes .* but 3 names"),
        (f"{BOXES}, scores=output0[4:9]:none", ArtifactError, "is more than there is: 7 numbers"),
        (f"boxes=output0[:5]:cxcywh@input, {SCORES}", ArtifactError, "5 numbers for every box, expected 4"),
        (f"boxes=output0[:4]:xyxy@input, {SCORES}", ArtifactError, "read as --outputs says, only .* x1 <= x2"),
        (f"boxes=output0[:4]:cxcywh@unit, {SCORES}", ArtifactError, "lie on the canvas"),
        (f"boxes=output0[3:7]:cxcywh@input, {SCORES}", ArtifactError, "lie on the canvas|x1 <= x2|one place"),
        (f"{BOXES}, scores=output0[0:3]:none", ArtifactError, "scores range from"),
        (f"{BOXES}, {SCORES}, objectness=output0[4:6]", ArtifactError, "expected 1: say which"),
        (f"{BOXES}, {SCORES}, count=output0", ArtifactError, "expected one number of boxes for every picture"),
        (f"{BOXES}, scores=output0[4]:none, labels=output0[5]", ArtifactError, "which is no class number"),
    ],
)
def test_a_statement_that_does_not_fit(
    tmp_path: Path, outputs: str, kind: type[EdgedetError], message: str
) -> None:
    source = save_head(tmp_path / "net.onnx", Head())
    with pytest.raises(kind, match=message):
        exported(source, outputs)
    assert not source.with_name("net-out.onnx").exists()


def test_class_numbers_counted_from_1(tmp_path: Path) -> None:
    head = Head(order="rows", chosen=40, form="corners", first_label=1)
    source = save_head(tmp_path / "net.onnx", head)
    outputs = "boxes=output0[:4]:xyxy@input, scores=output0[4]:none, labels=output0[5]"
    with pytest.raises(ArtifactError, match=r"class number 3, but 3 classes counted from 0 .* from 1 \(:from1\)"):
        exported(source, f"{outputs}, nms=done, {LETTERBOX}")
    report = exported(source, f"{outputs}:from1, nms=done, {LETTERBOX}")
    zero = save_head(tmp_path / "zero.onnx", Head(order="rows", chosen=40, form="corners"))
    with pytest.raises(ArtifactError, match="gives class number 0"):
        exported(zero, f"{outputs}:from1, nms=done")
    assert_same(found(exported(zero, f"{outputs}, nms=done, {LETTERBOX}").path), found(report.path))


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head())
    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(np.nan), tensor.name)
            )
    onnx.save(model, str(source))
    with pytest.raises(ArtifactError, match="not finite"):
        exported(source, f"{BOXES}, {SCORES}")


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--outputs states what --family would take for granted"):
        ExportOptions(outputs=f"{BOXES}, {SCORES}", family="yolo")
    source = save_head(tmp_path / "net.onnx", Head(order="rows", chosen=40, form="corners"))
    outputs = "boxes=output0[:4]:xyxy@input, scores=output0[4]:none, labels=output0[5], nms=done"
    with pytest.raises(UsageError, match="--iou is for NMS"):
        exported(source, outputs, iou=0.5)
    with pytest.raises(UsageError, match="class numbers without saying how many there are; add --classes"):
        exported(source, outputs, classes=None)
    assert SIDE == 96


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_probabilities_are_not_squashed_twice(tmp_path: Path, activation: str) -> None:
    source = save_head(tmp_path / "net.onnx", Head())
    with pytest.raises(ArtifactError, match=r"from 0 to 1 already .* say scores=output0\[4:\]:none"):
        exported(source, f"boxes=output0[:4]:cxcywh@input, scores=output0[4:]:{activation}, {LETTERBOX}")


def test_a_softmax_without_its_background_is_refused(tmp_path: Path) -> None:
    source = save_head(tmp_path / "net.onnx", Head(order="rows", softmax="first"))
    stated = "boxes=output0[:4]:cxcywh@input, scores=output0[4:]:none"
    with pytest.raises(ArtifactError, match=r"sums to 1 in every box.*:none\+bg \(the first\)"):
        exported(source, f"{stated}, {LETTERBOX}", classes=None)
    assert exported(source, f"{stated}+bg, {LETTERBOX}").card.names == NAMES

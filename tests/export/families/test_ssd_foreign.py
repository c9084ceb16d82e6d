"""SSDs of other tools: recognised, and the same detections as their framework's own post-processing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet import Detections, Detector
from edgedet.errors import ArtifactError, CheckpointError, EdgedetError, UsageError
from edgedet.export.options import ExportOptions, ExportReport
from edgedet.export.pipeline import export_model
from edgedet.proof.golden import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.foreign_ssds import NAMES, Ssd, predict, save_ssd, save_tensorflow

CONF = 0.05
FRAMES = [golden_frame(seed, 240, 320) for seed in (1, 4)]


def exported(source: Path, **options: Any) -> ExportReport:
    return export_model(
        source, source.with_name("out.onnx"), ExportOptions(**({"conf": CONF, "max_detections": 600} | options))
    )


def assumed(report: ExportReport) -> str:
    return "; ".join(report.card.provenance.get("assumed", ()))


def assert_same(expected: list[Detections], artifact: Path) -> None:
    """The bar of every family: 99.5 % found again, and nothing more."""
    with Detector(artifact, conf=CONF) as detector:
        found = [detector.detect(frame) for frame in FRAMES]
    reports = [
        match_detections(wanted, got, Tolerance(min_score=CONF))
        for wanted, got in zip(expected, found, strict=True)
    ]
    count = sum(report.reference_count for report in reports)
    assert count > 100
    assert sum(len(report.missing) for report in reports) <= 0.005 * count
    assert sum(len(report.extra) for report in reports) <= 0.005 * count


@pytest.fixture(scope="module")
def expected() -> list[Detections]:
    return [predict(frame, threshold=CONF) for frame in FRAMES]


@pytest.mark.parametrize(
    ("ssd", "read"),
    [
        (Ssd(), "boxes=boxes:xyxy@unit, scores=scores:none+bg, image=rgb-127/128:stretch"),
        (Ssd("yxyx"), "boxes=boxes:yxyx@unit, scores=scores:none+bg"),
        (Ssd("cxcywh"), "boxes=boxes:cxcywh@unit, scores=scores:none+bg"),
        (Ssd(unit="input"), "boxes=boxes:xyxy@input, scores=scores:none+bg"),
        (Ssd(background="last"), "scores=scores:none+bg_last"),
        (Ssd("offsets"), "boxes=boxes:offsets, scores=scores:softmax+bg, priors=ssd_mobilenet"),
    ],
)
@pytest.mark.parametrize("names", [("scores", "boxes"), ("n374", "n402")])
def test_the_framework_s_detections(
    tmp_path: Path, expected: list[Detections], ssd: Ssd, read: str, names: tuple[str, str]
) -> None:
    source = save_ssd(tmp_path / "ssd.onnx", ssd, names)
    report = exported(source, classes=NAMES, nms="graph" if names[0] == "scores" else "runtime")
    for name, other in zip(("scores", "boxes"), names, strict=True):
        read = read.replace(f"={name}:", f"={other}:")
    assert any(read in note for note in report.notes)
    assert "recognised as --family ssd by its outputs' " + ("names" if names[0] == "scores" else "shapes") in (
        " ".join(report.notes)
    )
    assert assumed(report) == "pixels: rgb-127/128:stretch, as pytorch-ssd trains MobileNet and SqueezeNet"
    assert_same(expected, report.path)


def test_names_that_lie_are_not_believed(tmp_path: Path, expected: list[Detections]) -> None:
    """Three classes and background are four numbers, as a box is."""
    report = exported(save_ssd(tmp_path / "ssd.onnx", Ssd(), ("boxes", "scores")), classes=NAMES)
    assert any("boxes=scores:xyxy@unit, scores=boxes:none+bg" in note for note in report.notes)
    assert_same(expected, report.path)


def test_labels_txt_names_the_background_too(tmp_path: Path) -> None:
    source = save_ssd(tmp_path / "ssd.onnx")
    assert exported(source, classes=("BACKGROUND", *NAMES)).card.names == NAMES
    assert exported(source).card.names == ("class_0", "class_1", "class_2")
    with pytest.raises(
        CheckpointError, match=r"has 3 classes \(scores, and its background\), but 4 names were given"
    ):
        exported(source, classes=("rat", *NAMES))


def test_a_background_that_nothing_shows(tmp_path: Path) -> None:
    """Of an untrained network. By its names it is pytorch-ssd's; without, nothing says where it is."""
    untrained = Ssd(surplus=0.0)
    report = exported(save_ssd(tmp_path / "named.onnx", untrained), classes=NAMES)
    assert "background: the first of 4 scores, as pytorch-ssd has it" in assumed(report)
    bare = save_ssd(tmp_path / "bare.onnx", untrained, ("n374", "n402"))
    with pytest.raises(
        ArtifactError, match=r'does not show which of 4 .* --outputs "boxes=n402:xyxy@unit, scores=n374'
    ):
        exported(bare, classes=NAMES)
    stated = "boxes=n402:xyxy@unit, scores=n374:none+bg, image=rgb-127/128:stretch"
    assert assumed(exported(bare, classes=NAMES, outputs=stated)) == ""


def test_tensorflow_with_bytes_scaling_and_nms_inside(tmp_path: Path) -> None:
    report = exported(save_tensorflow(tmp_path / "tf.onnx"), classes=NAMES, max_detections=2000)
    assert any("boxes=edgedet/head[:4]:yxyx@unit, scores=edgedet/head[4:]:none" in note for note in report.notes)
    ssd = Ssd("yxyx", sigmoid=True)
    assert_same([predict(frame, threshold=CONF, ssd=ssd, best=3000) for frame in FRAMES], report.path)


def replaced(source: Path, name: str, value: float) -> Path:
    """The output ``name`` multiplied by ``value``."""
    model = onnx.load(str(source))
    for node in model.graph.node:
        node.output[:] = [f"{name}_true" if output == name else output for output in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(value), "factor"))
    model.graph.node.append(onnx.helper.make_node("Mul", [f"{name}_true", "factor"], [name]))
    onnx.save(model, str(source))
    return source


@pytest.mark.parametrize(
    ("name", "value", "kind", "message"),
    [
        ("scores", np.nan, ArtifactError, "gives values that are not finite in scores"),
        ("boxes", np.nan, ArtifactError, "gives values that are not finite in boxes"),
        ("scores", 0.0, ArtifactError, "is no softmax over classes and background"),
        ("boxes", 0.0, ArtifactError, "does not show what the four numbers of boxes are"),
        ("boxes", -1.0, ArtifactError, "does not show what the four numbers of boxes are"),
        ("scores", 3.0, ArtifactError, "is no softmax over classes and background"),
    ],
)
def test_numbers_that_are_none_of_a_detector(
    tmp_path: Path, name: str, value: float, kind: type[EdgedetError], message: str
) -> None:
    source = replaced(save_ssd(tmp_path / "ssd.onnx"), name, value)
    with pytest.raises(kind, match=message):
        exported(source, classes=NAMES)


def test_boxes_beside_scores_of_nothing_known_are_refused_with_what_states_them(tmp_path: Path) -> None:
    model = onnx.load(str(save_ssd(tmp_path / "ssd.onnx", Ssd(), ("n374", "n402"))))
    for name in ("n374", "n402"):
        for node in model.graph.node:
            node.output[:] = [f"{name}_all" if output == name else output for output in node.output]
        parts = ["start", "end", "axis"]
        model.graph.node.append(onnx.helper.make_node("Slice", [f"{name}_all", *parts], [name]))
    for name, value in zip(("start", "end", "axis"), (0, 2990, 1), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(model), str(tmp_path / "other.onnx"))
    with pytest.raises(UsageError, match="--outputs"):
        exported(tmp_path / "other.onnx", classes=NAMES)

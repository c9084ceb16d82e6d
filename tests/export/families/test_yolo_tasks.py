"""Ultralytics' segment files: masks as PyTorch draws them of the same outputs, whoever makes the choice.

tests/export/test_ultralytics.py does the same with its own networks and its own ``predict``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet import Detections, Detector
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.canvas_masks import CanvasMasks
from edgedet.errors import ArtifactError, UsageError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.proof.golden import require_golden
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.foreign_heads import SIDE
from tests.export.segment_heads import METADATA, Segments, save_segments, segments_of

CONF = 0.15
FRAMES = [golden_frame(seed, SIDE, SIDE) for seed in (1, 3)]
SAME = Tolerance(min_score=CONF + 0.01, min_mask_iou=0.99)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of both heads, and our graphs of them."""
    folder = tmp_path_factory.mktemp("segments")
    for name, network in (("columns", Segments()), ("chosen", Segments(chosen=True))):
        source = save_segments(folder / f"{name}.onnx", network)
        export_model(source, folder / f"{name}-ours.onnx", ExportOptions(conf=CONF))
    return folder


def with_masks(found: Any) -> Detections:
    """The reference with its pixels."""
    masks = CanvasMasks.of_frames(list(found.pixels), (SIDE, SIDE))
    return replace(found.detections, masks=masks)


def require_same(detector: Detector, network: Segments) -> int:
    """Box for box and mask for mask."""
    count = 0
    for frame in FRAMES:
        reference = segments_of(network, frame, conf=detector.thresholds.score)
        matched = match_detections(with_masks(reference), detector.detect(frame), SAME)
        assert (len(matched.missing), len(matched.extra)) == (0, 0)
        count += matched.reference_count
    return count


@pytest.mark.parametrize("name", ["columns", "chosen"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_masks_are_those_of_whole_arrays(folder: Path, name: str, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    network = Segments(chosen=name == "chosen")
    with Detector(folder / f"{name}-ours.onnx", runtime=runtime) as detector:
        assert require_same(detector, network) >= 10
        filled = [region.values.mean() for region in detector.detect(FRAMES[0]).masks or ()]
    assert np.mean([0.1 < share < 0.9 for share in filled]) > 0.2, "outlines have shapes"


@pytest.mark.parametrize("name", ["columns", "chosen"])
def test_the_card_says_how_they_are_drawn_and_the_golden_input_holds_them(folder: Path, name: str) -> None:
    path = folder / f"{name}-ours.onnx"
    with Detector(path, selftest=True) as detector:
        card = detector.card
        assert card.output.masks == "prototypes" and card.output.format == "detections"
        assert "process_mask" in card.provenance["masks"] and "assumed" not in card.provenance
        golden = card.golden or {}
        assert golden["masks"][0]["size"] == [golden["height"], golden["width"]]
        assert require_golden(detector).parity.mask_ious is not None
        detector.card = replace(card, golden={**golden, "masks": [{"size": [4, 4], "counts": "02"}] * 50})
        with pytest.raises(ArtifactError, match="golden input is broken"):
            require_golden(detector)


def test_what_has_no_pixel_is_left_out(folder: Path) -> None:
    """As Ultralytics' predict leaves it out: NMS has let it pass."""
    with Detector(folder / "columns-ours.onnx") as detector:
        outputs = {
            name: value.copy() for name, value in detector.lanes[0].runtime.run({"images": FRAMES[0][None]}).items()
        }
        count = int(outputs["count"][0])
        assert len(outputs["coefficients"][0]) > count and not outputs["coefficients"][0, count:].any()
        found = detector.detect(FRAMES[0])
        assert found.masks is not None and len(found.masks) == len(found) <= count
        # Of the first nothing is above 0, of the others everything.
        outputs["prototypes"][:], outputs["coefficients"][0, 1:] = -1, -1
        outputs["coefficients"][0, 0] = 1
        from edgedet.geometry import plan_resize
        from edgedet.postprocess import Postprocessor

        finish = Postprocessor(detector.card, detector.thresholds, tuple(outputs))
        place = plan_resize(detector.card.resize, SIDE, SIDE, SIDE, SIDE)
        left = finish(outputs, place)
        outputs["coefficients"][0, 0] = -1
        whole = finish(outputs, place)
    assert len(left) == len(whole) - 1
    np.testing.assert_array_equal(left.boxes, whole.boxes[1:])


def test_the_runtimes_nms_gives_the_same(folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(conf=CONF, nms="runtime")
    report = export_model(folder / "columns.onnx", tmp_path / "runtime.onnx", options)
    assert report.card.output.format == "candidates"
    with Detector(report.path) as detector:
        assert require_same(detector, Segments()) >= 10
    with Detector(report.path, iou=0.3, max_detections=4) as fewer:
        found = fewer.detect(FRAMES[0])
        assert found.masks is not None and len(found) == len(found.masks) <= 4


def test_every_picture_of_a_batch_has_its_own(tmp_path: Path) -> None:
    source = save_segments(tmp_path / "two.onnx", Segments(), batch=2)
    report = export_model(source, tmp_path / "ours.onnx", ExportOptions(conf=CONF, batch=2))
    with Detector(report.path) as detector:
        for frame, found in zip(FRAMES, detector.detect_batch(FRAMES), strict=True):
            reference = with_masks(segments_of(Segments(), frame, conf=CONF))
            matched = match_detections(reference, found, SAME)
            assert (len(matched.missing), len(matched.extra)) == (0, 0)


def test_without_metadata_it_is_known_by_its_shapes(tmp_path: Path) -> None:
    source = save_segments(tmp_path / "nameless.onnx", Segments(), metadata=None)
    report = export_model(source, tmp_path / "ours.onnx", ExportOptions(conf=CONF))
    assert any("segment model" in note for note in report.notes)
    with Detector(report.path) as detector:
        assert len(detector.names) == 3
        assert require_same(detector, Segments()) >= 10


def test_the_heads_own_choice_without_names_of_classes_is_asked_about(tmp_path: Path) -> None:
    source = save_segments(tmp_path / "chosen.onnx", Segments(chosen=True), metadata=None)
    with pytest.raises(UsageError, match="--family"):
        export_model(source, tmp_path / "ours.onnx")
    report = export_model(source, tmp_path / "ours.onnx", ExportOptions(conf=CONF, classes=("a", "b", "c")))
    with Detector(report.path) as detector:
        assert require_same(detector, Segments(chosen=True)) >= 10


def test_what_draws_otherwise_is_refused(tmp_path: Path) -> None:
    rows = save_segments(tmp_path / "rows.onnx", Segments(rows=True), metadata=None)
    with pytest.raises(ArtifactError, match="YOLOv5 or YOLOv7, whose outlines"):
        export_model(rows, tmp_path / "ours.onnx")
    lone = save_segments(tmp_path / "lone.onnx", Segments())
    model = onnx.load(str(lone))
    del model.graph.output[1]
    onnx.save(model, str(lone))
    with pytest.raises(ArtifactError, match="beside prototypes"):
        export_model(lone, tmp_path / "ours.onnx")
    posed = save_segments(tmp_path / "posed.onnx", Segments(), metadata={**METADATA, "task": "obb"})
    with pytest.raises(ArtifactError, match="model for 'obb'"):
        export_model(posed, tmp_path / "ours.onnx")


def test_their_file_itself_is_to_be_exported_first(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="edgedet export"):
        Detector(folder / "columns.onnx")


def test_a_card_of_prototypes_needs_them(folder: Path, tmp_path: Path) -> None:
    model = onnx.load(str(folder / "columns-ours.onnx"))
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    card = ModelCard.from_json(entry.value)
    with pytest.raises(ArtifactError, match="no data called coefficients"):
        ModelCard.from_json(replace(card, output=replace(card.output, data=("coefficients",))).to_json())
    with pytest.raises(ArtifactError, match="such masks of the format detections only"):
        ModelCard.from_json(
            replace(card, output=replace(card.output, masks="in_boxes", format="candidates")).to_json()
        )
    del model.graph.output[[value.name for value in model.graph.output].index("prototypes")]
    onnx.save(model, str(tmp_path / "lost.onnx"))
    with pytest.raises(ArtifactError):
        Detector(tmp_path / "lost.onnx")

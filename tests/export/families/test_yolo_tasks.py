"""Ultralytics' segment and pose files: masks and keypoints as PyTorch has them of the same outputs.

tests/export/test_ultralytics.py does the same with its own networks and its own ``predict``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from edgedet import Detections, Detector
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.artifacts.keypoint_skeleton import COCO_PERSON
from edgedet.errors import ArtifactError, UsageError
from edgedet.export.families.yolo_tasks import task_of
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.masks.canvas_masks import CanvasMasks
from edgedet.proof.golden import require_golden
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.foreign_heads import SIDE
from tests.export.task_heads import METADATA, TaskHead, found_by, save_task_head

CONF = 0.15
FRAMES = [golden_frame(seed, SIDE, SIDE) for seed in (1, 3)]
SAME = Tolerance(min_score=CONF + 0.01, min_mask_iou=0.99)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of both heads, and our graphs of them."""
    folder = tmp_path_factory.mktemp("segments")
    for name, network in (("columns", TaskHead()), ("chosen", TaskHead(chosen=True))):
        source = save_task_head(folder / f"{name}.onnx", network)
        export_model(source, folder / f"{name}-ours.onnx", ExportOptions(conf=CONF))
    return folder


def with_masks(found: Any) -> Detections:
    """The reference with its pixels."""
    masks = CanvasMasks.of_frames(list(found.pixels), (SIDE, SIDE))
    return replace(found.detections, masks=masks)


def require_same(detector: Detector, network: TaskHead) -> int:
    """Box for box and mask for mask."""
    count = 0
    for frame in FRAMES:
        reference = found_by(network, frame, conf=detector.thresholds.score)
        matched = match_detections(with_masks(reference), detector.detect(frame), SAME)
        assert (len(matched.missing), len(matched.extra)) == (0, 0)
        count += matched.reference_count
    return count


@pytest.mark.parametrize("name", ["columns", "chosen"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_masks_are_those_of_whole_arrays(folder: Path, name: str, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    network = TaskHead(chosen=name == "chosen")
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
        assert require_same(detector, TaskHead()) >= 10
    with Detector(report.path, iou=0.3, max_detections=4) as fewer:
        found = fewer.detect(FRAMES[0])
        assert found.masks is not None and len(found) == len(found.masks) <= 4


def test_every_picture_of_a_batch_has_its_own(tmp_path: Path) -> None:
    source = save_task_head(tmp_path / "two.onnx", TaskHead(), batch=2)
    report = export_model(source, tmp_path / "ours.onnx", ExportOptions(conf=CONF, batch=2))
    with Detector(report.path) as detector:
        for frame, found in zip(FRAMES, detector.detect_batch(FRAMES), strict=True):
            reference = with_masks(found_by(TaskHead(), frame, conf=CONF))
            matched = match_detections(reference, found, SAME)
            assert (len(matched.missing), len(matched.extra)) == (0, 0)


def test_without_metadata_it_is_known_by_its_shapes(tmp_path: Path) -> None:
    source = save_task_head(tmp_path / "nameless.onnx", TaskHead(), metadata=None)
    report = export_model(source, tmp_path / "ours.onnx", ExportOptions(conf=CONF))
    assert any("segment model" in note for note in report.notes)
    with Detector(report.path) as detector:
        assert len(detector.names) == 3
        assert require_same(detector, TaskHead()) >= 10


def test_the_heads_own_choice_without_names_of_classes_is_asked_about(tmp_path: Path) -> None:
    source = save_task_head(tmp_path / "chosen.onnx", TaskHead(chosen=True), metadata=None)
    with pytest.raises(UsageError, match="--family"):
        export_model(source, tmp_path / "ours.onnx")
    report = export_model(source, tmp_path / "ours.onnx", ExportOptions(conf=CONF, classes=("a", "b", "c")))
    with Detector(report.path) as detector:
        assert require_same(detector, TaskHead(chosen=True)) >= 10


def test_what_draws_otherwise_is_refused(tmp_path: Path) -> None:
    rows = save_task_head(tmp_path / "rows.onnx", TaskHead(rows=True), metadata=None)
    with pytest.raises(ArtifactError, match="YOLOv5 or YOLOv7, whose outlines"):
        export_model(rows, tmp_path / "ours.onnx")
    lone = save_task_head(tmp_path / "lone.onnx", TaskHead())
    model = onnx.load(str(lone))
    del model.graph.output[1]
    onnx.save(model, str(lone))
    with pytest.raises(ArtifactError, match="beside prototypes"):
        export_model(lone, tmp_path / "ours.onnx")
    posed = save_task_head(tmp_path / "posed.onnx", TaskHead(), metadata={**METADATA, "task": "obb"})
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


@pytest.mark.parametrize("points", [(17, 3), (4, 2)])
@pytest.mark.parametrize("chosen", [False, True])
def test_keypoints_are_those_of_the_same_anchors(tmp_path: Path, points: tuple[int, int], chosen: bool) -> None:
    network = TaskHead(points=points, chosen=chosen)
    source = save_task_head(tmp_path / "pose.onnx", network)
    made = [export_model(source, tmp_path / "graph.onnx", ExportOptions(conf=CONF))]
    if not chosen:
        made.append(export_model(source, tmp_path / "outside.onnx", ExportOptions(conf=CONF, nms="runtime")))
    for report in made:
        assert report.card.provenance["assumed"] == [
            f"names of keypoints: invented (keypoint 1 to keypoint {points[0]})"
        ]
        with Detector(report.path) as detector:
            count = 0
            for frame in FRAMES:
                reference, found = found_by(network, frame, conf=CONF), detector.detect(frame)
                matched = match_detections(reference.detections, found, Tolerance(min_score=CONF + 0.01))
                assert (len(matched.missing), len(matched.extra)) == (0, 0)
                theirs, ours = matched.pairs.T
                assert found.keypoints is not None and found.keypoints.shape[1:] == (points[0], 3)
                wanted = reference.points[theirs]
                np.testing.assert_allclose(found.keypoints[ours][..., : points[1]], wanted, atol=2e-3)
                if points[1] == 2:
                    assert (found.keypoints[..., 2] == 1).all()
                count += len(ours)
            assert count >= 10
            outputs = detector.lanes[0].runtime.run({"images": FRAMES[0][None]})
            if "count" in outputs:
                assert not outputs["keypoints"][0, int(outputs["count"][0]) :].any()


@pytest.mark.parametrize(
    ("said", "first", "links", "assumed"),
    [
        ({"names": "{0: 'person'}"}, "nose", 19, "COCO's 17 of a person"),
        ({"kpt_names": str({0: list(COCO_PERSON.names)})}, "nose", 19, ""),
        ({"kpt_names": str({0: [f"joint {number}" for number in range(17)]})}, "joint 0", 0, ""),
        ({"kpt_names": str({0: [str(number) for number in range(17)]})}, "keypoint 1", 0, "invented"),
        ({"kpt_names": "nonsense("}, "keypoint 1", 0, "invented"),
    ],
)
def test_names_of_keypoints_are_those_of_the_metadata(
    said: dict[str, str], first: str, links: int, assumed: str
) -> None:
    posed = {"stride": "32", "task": "pose", "imgsz": "[96, 96]", "names": "{0: 'a'}", "kpt_shape": "[17, 3]"}
    metadata = posed | said
    classes = ("person",) if "person" in metadata["names"] else ("a",)
    task = task_of(SimpleNamespace(metadata=metadata, path="pose.onnx", nms=None), classes)  # type: ignore[arg-type]
    assert task.points is not None and task.further == 51
    assert task.points.skeleton.names[0] == first and len(task.points.skeleton.links) == links
    assert [assumed in each.text() for each in task.assumed] == ([True] if assumed else [])


@pytest.mark.parametrize("shape", ["", "[17]", "[0, 3]", "[17, 4]", "seventeen"])
def test_keypoints_of_unknown_number_are_refused(shape: str) -> None:
    metadata = {"stride": "32", "task": "pose", "imgsz": "[96, 96]", "names": "{0: 'a'}", "kpt_shape": shape}
    with pytest.raises(ArtifactError, match="kpt_shape"):
        task_of(SimpleNamespace(metadata=metadata, path="pose.onnx", nms=None))  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=r"with NMS inside, .* nms=False"):
        task_of(SimpleNamespace(metadata=metadata, path="pose.onnx", nms=object()))  # type: ignore[arg-type]

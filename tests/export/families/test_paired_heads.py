"""Boxes and scores apart: YOLO-NAS, DAMO-YOLO and PP-YOLOE, by what each does with pixels and canvas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgedet import Detector
from edgedet.errors import ArtifactError, CheckpointError
from edgedet.export.families.paddle_settings import read_settings
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from tests.export.adoption.graphs import CENTRES, CORNERS, Written, frame
from tests.export.foreign_heads import SIDE

IMAGENET = "  mean:\n  - 0.485\n  - 0.456\n  - 0.406\n  std:\n  - 0.229\n  - 0.224\n  - 0.225\n"
CONFIG = "mode: paddle\nPreprocess:\n- interp: 2\n  type: Resize\n- is_scale: true\n{}  type: NormalizeImage\n- type: Permute\nlabel_list:\n- a\n"  # noqa: E501


def two_outputs(path: Path, *, turned: bool = False) -> Path:
    written = Written(path, CORNERS)
    written.parts()
    if turned:
        written.op("Transpose", ["scores"], "turned", perm=[0, 2, 1])
    return written.save("turned" if turned else "scores", "boxes")


@pytest.mark.parametrize("turned", [False, True])
def test_scores_in_either_layout_and_outputs_in_either_order(tmp_path: Path, turned: bool) -> None:
    options = ExportOptions(family="damo-yolo", conf=0.5)
    report = export_model(two_outputs(tmp_path / "net.onnx", turned=turned), tmp_path / "out.onnx", options)
    assert (report.card.resize.rule, report.card.input.scale, report.card.output.label_mode) == (
        "stretch",
        1.0,
        "all",
    )
    with Detector(report.path) as detector:
        assert len(detector.detect(frame())) > 3


def test_yolo_nas_leaves_a_border_free(tmp_path: Path) -> None:
    """What is found on the smaller canvas is what its network finds on the whole one, the border being grey."""
    source = two_outputs(tmp_path / "net.onnx")
    options = ExportOptions(family="yolo-nas", conf=0.5, iou=0.7, max_detections=300)
    report = export_model(source, tmp_path / "out.onnx", options)
    assert (report.card.input.height, report.card.input.width) == (SIDE - 4, SIDE - 4)
    picture = frame()[: SIDE - 4, : SIDE - 4]
    with Detector(report.path) as detector:
        found = detector.detect(picture)
    whole = np.full((SIDE, SIDE, 3), 114, np.float32)
    whole[2:-2, 2:-2] = picture
    # The same network, all pixels divided by 255, without a border of ours.
    plain = export_model(source, tmp_path / "plain.onnx", ExportOptions(family="pp-yoloe", conf=0.5, iou=0.7))
    with Detector(plain.path) as detector:
        expected = detector.detect(whole.astype(np.uint8))
    inside = (expected.boxes - 2).clip(0, SIDE - 4)
    kept = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    assert kept.sum() == len(found) > 3
    np.testing.assert_allclose(found.boxes, inside[kept], atol=1e-3)


def test_pp_yoloe_takes_sizes_as_constants_and_its_pixels_from_the_file_beside(tmp_path: Path) -> None:
    path = two_outputs(tmp_path / "net.onnx")
    model = onnx.load(str(path))
    model.graph.input.append(helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, ["n", 2]))
    onnx.save(model, str(path))
    assumed = export_model(path, tmp_path / "out.onnx", ExportOptions(family="pp-yoloe"))
    assert "as PP-YOLOE+ trains" in " ".join(assumed.notes)
    (tmp_path / "infer_cfg.yml").write_text(CONFIG.format(IMAGENET))
    report = export_model(path, tmp_path / "out.onnx", ExportOptions(family="pp-yoloe"))
    assert "as PP-YOLOE+ trains" not in " ".join(report.notes)
    np.testing.assert_allclose(report.card.input.mean, (0.485, 0.456, 0.406))
    np.testing.assert_allclose(report.card.input.std, (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("text", "message"),
    [("Preprocess:\n- type: Permute\n", "says no NormalizeImage"), (CONFIG.format(""), "expected three numbers")],
)
def test_settings_that_say_less_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "infer_cfg.yml").write_text(text)
    with pytest.raises(ArtifactError, match=message):
        read_settings(tmp_path / "net.onnx")


def test_plain_settings_have_no_mean(tmp_path: Path) -> None:
    (tmp_path / "infer_cfg.yml").write_text(CONFIG.format("  norm_type: none\n" + IMAGENET))
    found = read_settings(tmp_path / "net.onnx")
    assert found is not None and found.std == (1.0, 1.0, 1.0)


def test_other_outputs_and_another_number_of_names_are_refused(tmp_path: Path) -> None:
    written = Written(tmp_path / "one.onnx", CENTRES)
    written.op("Identity", ["raw"], "output")
    with pytest.raises(ArtifactError, match=r"are not boxes \[N, anchors, 4\] and scores"):
        export_model(written.save("output"), tmp_path / "out.onnx", ExportOptions(family="yolo-nas"))
    source = two_outputs(tmp_path / "net.onnx")
    with pytest.raises(CheckpointError, match="has 3 classes, but 2 names were given"):
        export_model(source, tmp_path / "out.onnx", ExportOptions(family="yolo-nas", classes=("a", "b")))

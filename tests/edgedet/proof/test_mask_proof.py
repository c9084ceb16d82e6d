"""Parity and the golden input look at outlines where there are some."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.cli import main
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, SelftestError
from edgedet.masks.box_masks import BoxMasks
from edgedet.proof.golden import record, replay, require_golden
from edgedet.proof.parity import Tolerance, mask_ious, match_detections, summarise
from tests.masked_detector import save_masked_graph
from tests.rectangle_detector import frame_with_rectangle

BOXES = np.array([[10, 10, 60, 70], [30, 20, 90, 80], [100, 5, 118, 20]], np.float32)
SIZE = (100, 120)


def found(cells: np.ndarray | None) -> Detections:
    masks = None if cells is None else BoxMasks(cells, BOXES, SIZE)
    return Detections(BOXES, [0.9, 0.8, 0.7], [0, 0, 1], ("a", "b"), SIZE, masks=masks)


def cells(absent: int) -> np.ndarray:
    made = np.ones((3, 28, 28), np.float32)
    made[1, :, :absent] = 0
    return made


def test_overlap_of_pixels_is_that_of_whole_frames() -> None:
    first, second = found(cells(0)).masks, found(cells(9)).masks
    assert first is not None and second is not None
    asked = np.array([[True, True, False], [True, True, False], [False, True, True]])
    ious = mask_ious(first, second, asked)
    a, b = first.dense()[:, None], second.dense()[None]
    expected = (a & b).sum(axis=(2, 3)) / (a | b).sum(axis=(2, 3))
    np.testing.assert_allclose(ious, np.where(asked, expected, 0))
    assert 0 < ious[0, 1] < ious[1, 1] < 1


def test_another_outline_in_the_same_box_is_another_detection() -> None:
    report = summarise([match_detections(found(cells(0)), found(cells(0)), Tolerance())])
    assert (report.matched, report.worst_mask_iou) == (3, 1.0)
    report = summarise([match_detections(found(cells(0)), found(cells(9)), Tolerance())])
    assert (report.matched, report.missing, report.extra) == (2, 1, 1)
    report = summarise([match_detections(found(cells(0)), found(cells(9)), Tolerance(min_mask_iou=0.5))])
    assert report.matched == 3 and report.worst_mask_iou is not None and 0.5 < report.worst_mask_iou < 0.8
    report = summarise([match_detections(found(cells(0)), found(None), Tolerance())])
    assert (report.matched, report.worst_mask_iou) == (3, None)


def rewritten(path: Path, card: ModelCard, *, absent_rows: int) -> Path:
    """The masked graph with another card and other masks."""
    model = onnx.load(str(path))
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = card.to_json()
    (tensor,) = (each for each in model.graph.initializer if each.name == "cells")
    values = np.ones((1, 1, 28, 28), np.float32)
    values[:, :, :absent_rows] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, "cells"))
    onnx.save(model, str(path))
    return path


def test_the_golden_input_holds_outlines(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    card = save_masked_graph(path)
    with Detector(path) as detector:
        golden = record(detector, range(6))
    assert len(golden["masks"]) == len(golden["boxes"]) == 1 and golden["masks"][0]["size"] == [28, 28]
    # One detection is the most that the toy keeps, and the last one kept is not compared.
    golden |= {"steadiness": 1.0, "truncated": False}
    card = ModelCard.from_json(replace(card, golden=golden).to_json())
    with Detector(rewritten(path, card, absent_rows=7), selftest=True) as detector:
        assert replay(detector).parity.mask_ious is not None
    with Detector(rewritten(path, card, absent_rows=14)) as detector, pytest.raises(SelftestError):
        require_golden(detector)
    for damage in ({"size": [28, 28], "counts": "a"}, {"size": [9**9, 9**9], "counts": "0"}, {"size": [28]}):
        broken = replace(card, golden=golden | {"masks": [damage]})
        with (
            Detector(rewritten(path, broken, absent_rows=7)) as detector,
            pytest.raises(ArtifactError, match="golden input is broken"),
        ):
            replay(detector)


def test_the_command_compares_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    first, second, plain = (str(tmp_path / f"{name}.onnx") for name in "abc")
    card = save_masked_graph(Path(first))
    save_masked_graph(Path(second))
    rewritten(Path(second), card, absent_rows=14)
    cv2.imwrite(str(tmp_path / "frame.png"), frame_with_rectangle(200, 200, (40, 40, 160, 160)))
    frames = ["--frames", str(tmp_path / "frame.png")]
    assert main(["parity", first, first, *frames]) == 0
    assert "masks among them: IoU at least 1.0000" in capsys.readouterr().out
    assert main(["parity", first, second, *frames]) == 1
    capsys.readouterr()
    assert main(["parity", first, second, *frames, "--min-mask-iou", "0.5", "--json"]) == 0
    assert 0.5 < json.loads(capsys.readouterr().out)["worst_mask_iou"] < 0.8
    from tests.rectangle_detector import save_rectangle_graph

    save_rectangle_graph(Path(plain))
    assert main(["parity", first, plain, *frames]) == 0
    assert f"masks are not compared: only {first} gives any" in capsys.readouterr().out
    assert main(["parity", plain, first, *frames, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_compared"] == {"masks": first}

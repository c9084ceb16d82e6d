"""Outlines in pictures: drawn, and hidden."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet import Detector
from edgedet.cli import main
from edgedet.detections import Detections
from edgedet.masks.box_masks import BoxMasks
from edgedet.pictures.drawing import class_colour
from edgedet.pictures.redaction import redact
from tests.masked_detector import save_masked_graph
from tests.rectangle_detector import frame_with_rectangle

BOX = np.array([[20, 20, 80, 100]], np.float32)


def half(*, filled: float = 1.0) -> Detections:
    """One object in the left half of its box."""
    bitmaps = np.zeros((1, 28, 28), np.float32)
    bitmaps[:, :, :14] = filled
    return Detections(BOX, [0.9], [0], ("person",), (120, 160), masks=BoxMasks(bitmaps, BOX, (120, 160)))


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


def test_objects_are_tinted_and_outlined_and_have_no_box() -> None:
    frame = np.zeros((120, 160, 3), np.uint8)
    picture = half().plot(frame)
    inside, beside = picture[70, 32], picture[70, 65]
    np.testing.assert_allclose(inside, np.array(class_colour(0)) * 0.4, atol=1)
    assert not beside.any() and not picture[70, 78:82].any(), "neither colour nor the box's right side"
    assert (picture[70] == class_colour(0)).all(axis=1).any()


def test_only_the_outline_and_a_margin_are_hidden() -> None:
    frame, found = noise(), half()
    assert found.masks is not None
    hidden = (redact(frame, found.boxes, list(found.masks)) != frame).any(axis=2)
    assert hidden[found.masks.full(0)].mean() > 0.95
    assert hidden[60, 52:55].any(), "a margin"
    assert not hidden[:, 62:].any() and not hidden[:10].any()
    assert redact(frame, found.boxes)[60, 70].tolist() != frame[60, 70].tolist(), "without masks the whole box"


@pytest.mark.parametrize("masks", [None, "empty"])
def test_a_mask_that_failed_hides_the_whole_box(masks: str | None) -> None:
    frame, found = noise(), half(filled=0.1)
    assert found.masks is not None
    outlines = [None] if masks is None else list(found.masks)
    np.testing.assert_array_equal(redact(frame, found.boxes, outlines), redact(frame, found.boxes))


def test_the_command_blurs_by_outline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_masked_graph(tmp_path / "model.onnx")
    frame = frame_with_rectangle(200, 200, (40, 40, 160, 160))
    grain = np.random.default_rng(1).integers(-9, 10, frame.shape)
    frame = np.clip(frame.astype(int) + grain, 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    with Detector(tmp_path / "model.onnx") as detector:
        found = detector.detect(frame)
    assert found.masks is not None and len(found) == 1
    words = ["detect", str(tmp_path / "model.onnx"), str(tmp_path / "frame.png"), "--save", str(tmp_path / "out")]
    assert main([*words, "--blur", found[0].name]) == 0
    assert '"segmentation"' in capsys.readouterr().out
    (path,) = (tmp_path / "out").iterdir()
    changed = np.abs(cv2.imread(str(path)).astype(int) - frame.astype(int)).sum(axis=2) > 0
    box = found.boxes[0].round().astype(int)
    assert changed[100, box[0] + 20 : box[2] - 20].mean() > 0.9
    assert not changed[box[1] + 2, box[0] + 60 : box[2] - 10].any(), "the upper rows are not the object's"

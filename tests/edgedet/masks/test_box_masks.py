"""Outlines: pasted as torchvision does, and as polygons and run lengths that other tools read."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.detections import Detections
from edgedet.masks.box_masks import BoxMasks

FRAME = (60, 80)
BOXES = np.array(
    [[10.3, 20.7, 50.2, 44.9], [0, 0, 79.9, 59.9], [70.5, 50.5, 80, 60], [5, 5, 6.2, 30], [33, 8, 33.4, 8.3]],
    np.float32,
)


def blobs(count: int, side: int = 28) -> np.ndarray:
    """Probabilities that change slowly from cell to cell."""
    noise = np.random.default_rng(3).normal(size=(count, side, side)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(each, (0, 0), 3) for each in noise])
    return 1 / (1 + np.exp(-40 * smooth))


def some() -> BoxMasks:
    return BoxMasks(blobs(len(BOXES)), BOXES, FRAME)


def found() -> Detections:
    scores = np.linspace(0.9, 0.5, len(BOXES))
    return Detections(BOXES, scores, np.arange(len(BOXES)) % 2, ("cup", "book"), FRAME, {"id": range(5)}, some())


def test_pixels_are_those_that_torchvision_pastes() -> None:
    torch = pytest.importorskip("torch")
    roi_heads = pytest.importorskip("torchvision.models.detection.roi_heads")
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 1, (40, 2, 2)) * (FRAME[1], FRAME[0])
    boxes = np.concatenate([BOXES, np.sort(corners, axis=1).reshape(-1, 4)]).astype(np.float32)
    masks = BoxMasks(blobs(len(boxes)), boxes, FRAME)
    theirs = roi_heads.paste_masks_in_image(
        torch.from_numpy(masks.bitmaps)[:, None], torch.from_numpy(boxes), FRAME
    )[:, 0].numpy()
    for index in range(len(boxes)):
        ours = np.zeros(FRAME, np.float32)
        left, top, values = masks.probabilities(index)
        ours[top : top + values.shape[0], left : left + values.shape[1]] = values
        np.testing.assert_allclose(ours, theirs[index], atol=1e-5)
    sure = np.abs(theirs - 0.5) > 1e-4
    assert ((masks.dense() == (theirs > 0.5)) | ~sure).all()


def test_an_object_alone_is_the_object_among_others() -> None:
    masks = some()
    assert masks.dense().shape == (5, *FRAME) and masks.dense()[:4].any(axis=(1, 2)).all()
    for index, full in enumerate(masks.dense()):
        np.testing.assert_array_equal(masks.full(index), full)
    assert len(list(masks)) == 5
    with pytest.raises(IndexError):
        masks.full(5)


def test_run_lengths_are_those_of_the_coco_api() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    theirs_of_all = coco.encode(np.asfortranarray(some().dense().transpose(1, 2, 0), np.uint8))
    for ours, theirs in zip(some().to_coco_rle(), theirs_of_all, strict=True):
        assert ours == {"size": list(FRAME), "counts": theirs["counts"].decode()}
        json.dumps(ours)


def test_polygons_give_the_outline_back() -> None:
    for polygons, full in zip(some().to_polygons(), some().dense(), strict=True):
        drawn = np.zeros(FRAME, np.uint8)
        for polygon in polygons:
            cv2.fillPoly(drawn, [polygon], 1)
        # fillPoly fills holes.
        closed, _ = cv2.findContours(full.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        expected = cv2.drawContours(np.zeros(FRAME, np.uint8), closed, -1, 1, cv2.FILLED)
        np.testing.assert_array_equal(drawn, expected)
        assert (drawn.astype(bool) >= full).all()


def test_an_object_takes_a_twentieth_of_a_frame_at_most() -> None:
    masks = BoxMasks(blobs(100), np.tile(np.float32([0, 0, 640, 480]), (100, 1)), (480, 640))
    assert masks.nbytes * 20 <= masks.dense().nbytes


@pytest.mark.parametrize("index", [slice(1, 3), np.array([True, False, True, False, True]), [4, 0], [], slice(0)])
def test_they_follow_every_selection(index: Any) -> None:
    chosen = found()[index]
    assert chosen.masks is not None and len(chosen.masks) == len(chosen)
    wanted = some().dense()[np.asarray(index, int) if isinstance(index, list) else index]
    np.testing.assert_array_equal(chosen.masks.dense(), wanted)


def test_rows_of_json_and_coco_have_run_lengths() -> None:
    rles = some().to_coco_rle()
    rows = found().to_coco(7, category_ids=(3, 5))
    assert [row["segmentation"] for row in rows] == rles and rows[1]["id"] == 1
    assert [row["segmentation"] for row in json.loads(found().to_json())["detections"]] == rles
    plain = Detections(BOXES, np.ones(5), np.zeros(5), ("cup",), FRAME)
    assert "segmentation" not in plain.to_coco(7)[0] and plain.masks is None


def test_supervision_gets_whole_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    np.testing.assert_array_equal(found().to_supervision().mask, some().dense())
    assert Detections.empty().to_supervision().mask is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bitmaps \(5, 28, 28\), boxes \(4, 4\)"):
        BoxMasks(blobs(5), BOXES[:4], FRAME)
    with pytest.raises(ValueError, match="4 masks of a frame of 80x60, expected 5 of 80x60"):
        Detections(BOXES, np.ones(5), np.zeros(5), ("cup",), FRAME, masks=some()[:4])
    with pytest.raises(ValueError, match="expected 5 of 81x60"):
        Detections(BOXES, np.ones(5), np.zeros(5), ("cup",), (60, 81), masks=some())
    with pytest.raises(ValueError, match="data cannot be called 'segmentation'"):
        Detections(BOXES, np.ones(5), np.zeros(5), ("cup",), FRAME, {"segmentation": np.ones(5)}, some())

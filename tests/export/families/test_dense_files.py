"""NanoDet's, FastestDet's and MMDeploy's files against what their own post-processing gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.ops import batched_nms

from edgedet import Detections, Detector
from edgedet.artifacts.card import ASSUMED_KEY
from edgedet.errors import CheckpointError, UsageError
from edgedet.proof.golden_scene import golden_frame
from tests.export.foreign_heads import Head, save_head
from tests.export.repository_heads import (
    DENSE_STRIDES,
    SIDE,
    FastestDet,
    MMDeploy,
    NanoDet,
    Queries,
    poisoned,
    refuse,
    require_same,
    save_built,
    save_repository_head,
)

NAMES = ("cat", "dog", "hen")
FRAME = golden_frame(1, SIDE, SIDE)
MEAN, STD = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
BGR = ((FRAME - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
PLUS_STRIDES = (*DENSE_STRIDES, 64)


def run(path: Path, image: np.ndarray = BGR) -> list[np.ndarray]:
    """What the file gives, of the first image."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [value[0] for value in session.run(None, {"input": image})]


def detections(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, *, iou: float, most: int, names: tuple[str, ...]
) -> Detections:
    """NMS of each class by itself, with torchvision."""
    parts = [torch.from_numpy(np.ascontiguousarray(part)) for part in (boxes, scores, labels)]
    kept = batched_nms(parts[0].float(), parts[1].float(), parts[2], iou)[:most].numpy()
    return Detections(
        boxes[kept].astype(np.float32).clip(0, SIDE),
        scores[kept],
        labels[kept].astype(np.int32),
        names,
        (SIDE, SIDE),
    )


def nanodet(path: Path, strides: tuple[int, ...], *, offset: float, names: tuple[str, ...]) -> Detections:
    """``get_bboxes`` of NanoDet (cells at their middles) and NanoDet-Plus (at their corners), in NumPy."""
    (rows,) = run(path)
    classes = len(names)
    places = []
    for stride in strides:
        count = -(-SIDE // stride)
        y, x = np.mgrid[:count, :count]
        places.append(np.stack([x + offset, y + offset, np.ones_like(x)], -1).reshape(-1, 3) * stride)
    centres = np.concatenate(places)
    logits = rows[:, classes:].reshape(len(rows), 4, -1).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    sides = (shares * np.arange(logits.shape[2])).sum(-1) * centres[:, 2:]
    boxes = np.concatenate([centres[:, :2] - sides[:, :2], centres[:, :2] + sides[:, 2:]], 1).clip(0, SIDE)
    anchor, label = np.nonzero(rows[:, :classes] > 0.05)
    return detections(boxes[anchor], rows[anchor, label], label, iou=0.6, most=100, names=names)


@pytest.mark.parametrize(
    ("family", "strides", "names", "bins"),
    [
        ("nanodet-plus", PLUS_STRIDES, NAMES, 8),
        ("nanodet", DENSE_STRIDES, NAMES, 11),
        ("nanodet-plus", DENSE_STRIDES, ("cat",), 8),
    ],
)
def test_nanodet(tmp_path: Path, family: str, strides: tuple[int, ...], names: tuple[str, ...], bins: int) -> None:
    offset = 0.0 if family == "nanodet-plus" else 0.5
    source = save_repository_head(tmp_path / "net.onnx", NanoDet(len(names), bins=bins, strides=strides))
    path, card = save_built(source, family=family, classes=names)
    assert (card.family, card.input.trained_colour, card.output.iou_threshold) == ("nanodet", "BGR", 0.6)
    assert card.resize.rule == ("stretch" if family == "nanodet-plus" else "letterbox")
    with Detector(path) as detector:
        require_same(nanodet(source, strides, offset=offset, names=names), detector.detect(FRAME))


def test_nanodets_classes_are_counted_by_its_numbers_and_its_kind_is_asked_for(tmp_path: Path) -> None:
    plus = save_repository_head(tmp_path / "plus.onnx", NanoDet(strides=PLUS_STRIDES))
    refuse(plus, "NanoDet-Plus's .*--family nanodet-plus", UsageError)
    assert save_built(plus, family="nanodet-plus")[1].names == ("class_0", "class_1", "class_2")
    refuse(plus, "--classes names others", family="nanodet-plus", classes=("a", "b"))
    refuse(poisoned(plus), "not finite", family="nanodet-plus")
    first = save_repository_head(tmp_path / "first.onnx", NanoDet())
    refuse(first, "--family nanodet .*--family nanodet-plus", UsageError)


@pytest.mark.parametrize(
    ("built", "strides", "window", "other"),
    [("nanodet", DENSE_STRIDES, 3, "nanodet-plus"), ("nanodet-plus", PLUS_STRIDES, 5, "nanodet")],
)
def test_one_nanodet_is_not_taken_for_the_other(
    tmp_path: Path, built: str, strides: tuple[int, ...], window: int, other: str
) -> None:
    """Their numbers look alike, their cells lie half a cell apart: what they are built like tells."""
    source = save_repository_head(tmp_path / "net.onnx", NanoDet(strides=strides, window=window))
    said = save_built(source, family=built, classes=NAMES)[1].provenance[ASSUMED_KEY]
    assert not any(entry.startswith("places") for entry in said)
    refuse(
        source, rf"built like .*{window}x{window} in its head.* say --family {built}$", family=other, classes=NAMES
    )


@pytest.mark.parametrize("window", [0, 5])
def test_a_nanodet_that_is_built_like_neither_is_taken_as_stated(tmp_path: Path, window: int) -> None:
    source = save_repository_head(tmp_path / "net.onnx", NanoDet(window=window))
    said = save_built(source, family="nanodet", classes=NAMES)[1].provenance[ASSUMED_KEY]
    assert sum(entry.startswith("places: middles of their cells, as NanoDet's") for entry in said) == 1


def test_others_are_no_nanodet_and_no_fastestdet(tmp_path: Path) -> None:
    yolox = save_head(tmp_path / "yolox.onnx", Head(order="rows", objectness=True, raw=True), pixels=255.0)
    refuse(yolox, "this is another detector", family="nanodet")
    refuse(yolox, "are not FastestDet's", family="fastestdet")
    refuse(yolox, "outputs .* are not of MMDeploy", family="rtmdet")


@pytest.mark.parametrize("names", [NAMES, ("cat",)])
def test_fastestdet(tmp_path: Path, names: tuple[str, ...]) -> None:
    """``handle_preds`` in NumPy."""
    source = save_repository_head(tmp_path / "net.onnx", FastestDet(len(names)))
    path, card = save_built(source, family="fastestdet", classes=names, conf=0.05)
    assert (card.family, card.output.label_mode, card.resize.rule) == ("fastestdet", "best", "stretch")
    (map_,) = run(source, FRAME.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    rows = map_.reshape(5 + len(names), -1).T
    count = SIDE // 16
    y, x = np.mgrid[:count, :count]
    centre = (np.tanh(rows[:, 1:3]) + np.stack([x, y], -1).reshape(-1, 2)) / count
    half = 0.5 / (1 + np.exp(-rows[:, 3:5]))
    boxes = np.concatenate([centre - half, centre + half], 1) * SIDE
    scores = rows[:, 0] ** 0.6 * rows[:, 5:].max(1) ** 0.4
    kept = scores > 0.05
    labels = rows[:, 5:].argmax(1)
    expected = detections(boxes[kept], scores[kept], labels[kept], iou=0.45, most=300, names=names)
    with Detector(path) as detector:
        require_same(expected, detector.detect(FRAME), least=0.06)


def test_a_map_that_is_no_fastestdet_is_refused(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", FastestDet())
    refuse(source, "FastestDet's map .*--family fastestdet", UsageError)
    refuse(source, "has 3 classes, but 1 names", CheckpointError, family="fastestdet", classes=("a",))
    head = FastestDet()
    head.forward = lambda images: FastestDet.forward(head, images) * 2  # type: ignore[method-assign]
    refuse(save_repository_head(tmp_path / "other.onnx", head), "another detector", family="fastestdet")


@pytest.mark.parametrize(("each", "most"), [(200, 30), (4, 30)])
def test_mmdeploys_nms_is_taken_over_with_its_limits(tmp_path: Path, each: int, most: int) -> None:
    """The file itself, run with its own NMS, is what is compared with."""
    source = save_repository_head(tmp_path / "net.onnx", MMDeploy(each=each, most=most))
    path, card = save_built(source, family="rtmdet", classes=NAMES)
    assert (card.family, card.architecture, card.input.trained_colour) == ("mmdet", "RTMDet", "BGR")
    assert card.resize.rounding == "half_up"
    assert (card.output.score_threshold, card.output.iou_threshold) == (0.05, 0.65)
    rows, labels = run(source)
    found = rows[:, 4] > 0.05
    boxes = rows[found, :4].clip(0, SIDE)
    expected = Detections(boxes, rows[found, 4], labels[found].astype(np.int32), NAMES, (SIDE, SIDE))
    with Detector(path) as detector:
        require_same(expected, detector.detect(FRAME), least=0.06)


def test_mmdeploy_without_nms_has_ours(tmp_path: Path) -> None:
    source = save_repository_head(tmp_path / "net.onnx", MMDeploy(nms=False), ("boxes_", "scores_"))
    refuse(source, "--family rfdetr .*--family rtmdet .*--family mmdet", UsageError)
    path, card = save_built(source, family="mmdet", classes=NAMES)
    assert (card.input.trained_colour, card.resize.pad) == ("RGB", (0.0, 0.0, 0.0))
    boxes, scores = run(source, BGR[:, ::-1])
    anchor, label = np.nonzero(scores > 0.05)
    expected = detections(boxes[anchor], scores[anchor, label], label, iou=0.5, most=100, names=NAMES)
    with Detector(path) as detector:
        require_same(expected, detector.detect(FRAME))
    refuse(save_repository_head(tmp_path / "rf.onnx", Queries(5)), "rf.onnx gives|rf.onnx: outputs", family="mmdet")

"""Greedy NMS: equal to the plainest implementation there is, on everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedet.nms import BLOCK, nms


def plain_nms(
    boxes: NDArray[Any], scores: NDArray[Any], labels: NDArray[Any], iou_threshold: float, max_detections: int
) -> list[int]:
    """Two loops and no cleverness."""
    kept: list[int] = []
    usable = [i for i in range(len(scores)) if np.isfinite(boxes[i]).all() and np.isfinite(scores[i])]
    for i in sorted(usable, key=lambda i: (-scores[i], i)):
        if all(labels[i] != labels[j] or not _iou(boxes[i], boxes[j]) > np.float32(iou_threshold) for j in kept):
            kept.append(i)
    return kept[:max_detections]


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    with np.errstate(all="ignore"):
        width = max(min(a[2], b[2]) - max(a[0], b[0]), np.float32(0))
        height = max(min(a[3], b[3]) - max(a[1], b[1]), np.float32(0))
        shared = width * height
        return shared / ((b[2] - b[0]) * (b[3] - b[1]) + (a[2] - a[0]) * (a[3] - a[1]) - shared)


def scene(seed: int, count: int, *, classes: int = 3, levels: int = 20) -> tuple[NDArray[Any], ...]:
    """Crowded boxes on a coarse grid, so that IoUs and scores tie often."""
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, 12, (count, 2)) * 4
    size = generator.integers(0, 8, (count, 2)) * 4
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    scores = (generator.integers(0, levels, count) / levels).astype(np.float32)
    return boxes, scores, generator.integers(0, classes, count)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 10**6),
    st.integers(0, 120),
    st.sampled_from([0.0, 0.25, 0.5, 1 / 3, 0.75, 1.0]),
    st.sampled_from([1, 5, 1000]),
)
def test_it_keeps_what_the_plain_implementation_keeps(seed: int, count: int, iou: float, most: int) -> None:
    boxes, scores, labels = scene(seed, count)
    kept = nms(boxes, scores, labels, iou_threshold=iou, max_detections=most)
    assert kept.tolist() == plain_nms(boxes, scores, labels, iou, most)


def test_blocks_know_of_each_other() -> None:
    boxes, scores, labels = scene(1, 3 * BLOCK + 7, classes=2, levels=10_000)
    kept = nms(boxes, scores, labels, iou_threshold=0.6, max_detections=1000)
    assert kept.tolist() == plain_nms(boxes, scores, labels, 0.6, 1000)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.data())
def test_nan_and_infinity_are_dropped_and_harm_nobody(seed: int, data: st.DataObject) -> None:
    boxes, scores, labels = scene(seed, 30)
    for _ in range(data.draw(st.integers(1, 8))):
        row = data.draw(st.integers(0, 29))
        value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        if data.draw(st.booleans()):
            scores[row] = value
        else:
            boxes[row, data.draw(st.integers(0, 3))] = value
    kept = nms(boxes, scores, labels, iou_threshold=0.5, max_detections=100)
    assert kept.tolist() == plain_nms(boxes, scores, labels, 0.5, 100)


def test_equal_scores_are_taken_in_the_order_they_come() -> None:
    boxes = np.array([[0, 0, 9, 9], [50, 50, 59, 59], [0, 0, 9, 10]], np.float32)
    kept = nms(boxes, np.full(3, 0.5, np.float32), np.zeros(3, int), iou_threshold=0.5, max_detections=9)
    assert kept.tolist() == [0, 1]


def test_an_iou_at_the_threshold_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    kept = nms(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, int), iou_threshold=0.5, max_detections=9)
    assert kept.tolist() == [0, 1]


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.tile(np.array([[0, 0, 9, 9]], np.float32), (2, 1))
    kept = nms(boxes, np.array([0.5, 0.6], np.float32), np.array([0, 1]), iou_threshold=0.5, max_detections=9)
    assert kept.tolist() == [1, 0]


def test_nothing_in_gives_nothing_out() -> None:
    kept = nms(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), iou_threshold=0.5, max_detections=9
    )
    assert kept.tolist() == []


@pytest.mark.parametrize("apart", [0, 20])
def test_25000_candidates_keep_their_order(apart: int) -> None:
    """All on one place, or none touching another."""
    count = 25_000
    x = np.arange(count, dtype=np.float32) * apart
    boxes = np.stack([x, x * 0, x + 10, x * 0 + 10], axis=1)
    scores = np.linspace(1, 0, count, dtype=np.float32)
    kept = nms(boxes, scores, np.zeros(count, int), iou_threshold=0.5, max_detections=300)
    assert kept.tolist() == (list(range(300)) if apart else [0])


def test_it_agrees_with_torchvision() -> None:
    torch = pytest.importorskip("torch")
    from torchvision.ops import batched_nms

    generator = np.random.default_rng(5)
    corner = generator.random((600, 2)) * 80
    boxes = np.concatenate([corner, corner + generator.random((600, 2)) * 40], axis=1).astype(np.float32)
    scores = generator.permutation(600).astype(np.float32) / 600
    labels = generator.integers(0, 4, 600)
    theirs = batched_nms(*map(torch.from_numpy, (boxes, scores, labels)), 0.45)
    ours = nms(boxes, scores, labels, iou_threshold=0.45, max_detections=1000)
    assert ours.tolist() == theirs.tolist()

"""The static NMS of proposals equals the greedy one, and RoIs are pooled from the level torchvision takes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign, nms

from edgedet.export.families.region_proposals import NMS_STEPS, add_static_nms
from edgedet.export.families.roi_pooling import add_roi_align, pooled_levels
from edgedet.onnx_graph.builder import GraphBuilder


def run(graph: GraphBuilder, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, inputs)
    return np.asarray(result)


def static_nms(boxes: np.ndarray, valid: np.ndarray, iou: float) -> np.ndarray:
    groups, size = valid.shape
    graph = GraphBuilder("nms")
    kept = add_static_nms(
        graph,
        graph.input("boxes", "float32", (groups, size, 4)),
        graph.input("valid", "float32", (groups, 1, size)),
        size=size,
        iou=iou,
        name="nms",
    )
    graph.output(kept, "kept", "float32", (groups, 1, size))
    return run(graph, {"boxes": boxes, "valid": valid.reshape(groups, 1, size)}).reshape(groups, size) > 0


def random_boxes(rng: np.random.Generator, groups: int, size: int) -> np.ndarray:
    """Around a few centres, so that many overlap."""
    centres = rng.uniform(20, 300, (groups, 6, 2))[:, rng.integers(0, 6, size)] + rng.normal(
        0, 6, (groups, size, 2)
    )
    half = rng.uniform(15, 30, (groups, size, 2))
    return np.concatenate([centres - half, centres + half], -1).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_static_nms_equals_greedy_nms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 3, 150)
    valid = (rng.random((3, 150)) < 0.8).astype(np.float32)
    kept = static_nms(boxes, valid, 0.7)
    scores = torch.linspace(1, 0, 150)
    for group in range(3):
        rows = np.flatnonzero(valid[group])
        expected = rows[nms(torch.from_numpy(boxes[group, rows]), scores[rows], 0.7).numpy()]
        np.testing.assert_array_equal(np.flatnonzero(kept[group]), np.sort(expected))


def test_chain_of_suppressions_alternates() -> None:
    """Each box overlaps only its neighbour: the second falls, so the third stays, and so on."""
    size = NMS_STEPS
    left = np.arange(size, dtype=np.float32) * 10
    boxes = np.stack([left, np.zeros(size), left + 100, np.full(size, 100.0)], -1).astype(np.float32)[None]
    kept = static_nms(boxes, np.ones((1, size), np.float32), 0.81)
    np.testing.assert_array_equal(kept[0], np.arange(size) % 2 == 0)


def test_empty_boxes_neither_suppress_nor_disturb() -> None:
    boxes = np.zeros((1, 4, 4), np.float32)
    boxes[0, 1] = [0, 0, 10, 10]
    np.testing.assert_array_equal(static_nms(boxes, np.ones((1, 4), np.float32), 0.5), [[True] * 4])


def test_rois_come_from_the_level_their_size_calls_for() -> None:
    rng = np.random.default_rng(0)
    canvas, batch, count = (512, 640), 2, 60
    features = {
        name: torch.from_numpy(rng.normal(size=(batch, 8, 512 // stride, 640 // stride)).astype(np.float32))
        for name, stride in zip("0123", (4, 8, 16, 32), strict=True)
    }
    side = rng.uniform(4, 500, (batch, count, 2))
    corner = rng.uniform(0, 1, (batch, count, 2)) * (np.array([640, 512]) - side)
    boxes = np.concatenate([corner, corner + side], -1).clip(0, [640, 512, 640, 512]).astype(np.float32)
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    expected = pool(features, [torch.from_numpy(part) for part in boxes], [canvas] * batch).numpy()

    levels = pooled_levels(pool, features, canvas)
    assert len(levels) == 4
    graph = GraphBuilder("roi")
    pooled = add_roi_align(
        graph,
        [graph.input(f"f{name}", "float32", tuple(value.shape)) for name, value in features.items()],
        levels,
        graph.input("boxes", "float32", boxes.shape),
        batch=batch,
        count=count,
        size=(7, 7),
        sampling_ratio=2,
    )
    graph.output(pooled, "pooled", "float32", expected.shape)
    inputs = {f"f{name}": value.numpy() for name, value in features.items()} | {"boxes": boxes}
    np.testing.assert_allclose(run(graph, inputs), expected, atol=1e-4)

"""RoIAlign by matrix products is RoIAlign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from edgedet.export.families import faster_rcnn, roi_align_matmul
from edgedet.export.families.roi_align_matmul import (
    ProductsHead,
    add_roi_maps,
    add_roi_products,
    columns_first,
    products_pay,
)
from edgedet.export.families.roi_pooling import PooledLevel
from edgedet.export.families.torchvision_architectures import build
from edgedet.onnx_graph.builder import GraphBuilder

SIZE, RATIO, STRIDE, CHANNELS = 7, 2, 32, 5


def proposals(grid: tuple[int, int], count: int) -> np.ndarray:
    """Of every size, some without extent, some at the very edge of the canvas."""
    generator = np.random.default_rng(3)
    limit = np.array([grid[1], grid[0]]) * STRIDE
    corners = np.sort(generator.random((2, count, 2, 2)) * limit, axis=2).reshape(2, count, 4)
    corners[:, 0] = [*limit, *limit]
    corners[:, 1] = [0, 0, *limit]
    corners[:, 2] = [limit[0] - 3, limit[1] - 3, *limit]
    corners[:, 3] = [0, 0, 0, 0]
    return corners.astype(np.float32)


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("grid", [(6, 11), (11, 6), (1, 1), (8, 8)])
def test_products_pool_what_torchvision_pools(grid: tuple[int, int], ratio: int) -> None:
    features = np.random.default_rng(1).normal(size=(2, CHANNELS, *grid)).astype(np.float32)
    boxes = proposals(grid, 20)
    pool = MultiScaleRoIAlign(["0"], SIZE, ratio)
    canvas = (grid[0] * STRIDE, grid[1] * STRIDE)
    expected = pool({"0": torch.from_numpy(features)}, [torch.from_numpy(part) for part in boxes], [canvas] * 2)

    found = run(add_roi_products, features, boxes, ratio, (SIZE * CHANNELS, SIZE))
    bins = found.reshape(40, SIZE, CHANNELS, SIZE)
    order = (0, 2, 3, 1) if columns_first(grid) else (0, 2, 1, 3)
    np.testing.assert_allclose(bins.transpose(order), expected.numpy(), atol=1e-5)
    found = run(add_roi_maps, features, boxes, ratio, (CHANNELS, SIZE, SIZE))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_many_proposals_are_pooled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(1).normal(size=(1, CHANNELS, 6, 11)).astype(np.float32)
    boxes = proposals((6, 11), 20)[:1]
    whole = run(add_roi_products, features, boxes, 2, (SIZE * CHANNELS, SIZE))
    monkeypatch.setattr(roi_align_matmul, "MAX_LINES", 4 * 7 * SIZE * CHANNELS * 6)
    graph = graph_of(add_roi_products, features, boxes, 2, (SIZE * CHANNELS, SIZE))
    assert [node.op_type for node in graph.graph.node].count("MatMul") == 2 * 3
    np.testing.assert_allclose(session_run(graph, features, boxes), whole, atol=1e-6)


def run(
    add: Callable[..., str], features: np.ndarray, boxes: np.ndarray, ratio: int, shape: tuple[int, ...]
) -> np.ndarray:
    """What ``add`` pools, ``shape`` of each proposal."""
    return session_run(graph_of(add, features, boxes, ratio, shape), features, boxes)


def graph_of(
    add: Callable[..., str], features: np.ndarray, boxes: np.ndarray, ratio: int, shape: tuple[int, ...]
) -> onnx.ModelProto:
    graph = GraphBuilder("products")
    batch, count = boxes.shape[:2]
    pooled = add(
        graph,
        graph.input("features", "float32", features.shape),
        PooledLevel("0", 1 / STRIDE, 0.0),
        graph.input("boxes", "float32", boxes.shape),
        batch=batch,
        count=count,
        grid=features.shape[2:],
        channels=CHANNELS,
        size=(SIZE, SIZE),
        sampling_ratio=ratio,
    )
    graph.output(pooled, "pooled", "float32", (batch * count, *shape))
    return graph.model()


def session_run(graph: onnx.ModelProto, features: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"features": features, "boxes": boxes})
    return np.asarray(found)


@pytest.mark.parametrize("by_column", [True, False])
def test_the_box_head_reads_the_other_order(by_column: bool) -> None:
    torch.manual_seed(0)
    head, predictor = TwoMLPHead(CHANNELS * SIZE * SIZE, 16), FastRCNNPredictor(16, 4)
    pooled = torch.rand(3, CHANNELS, SIZE, SIZE)
    moved = pooled.permute((0, 3, 1, 2) if by_column else (0, 2, 1, 3)).reshape(3, SIZE * CHANNELS, SIZE)
    ours = ProductsHead(head, predictor, (SIZE, SIZE), columns_first=by_column)(moved)
    for found, expected in zip(ours, predictor(head(pooled)), strict=True):
        torch.testing.assert_close(found, expected)


def test_products_are_for_small_maps_of_one_level() -> None:
    pool, level = MultiScaleRoIAlign(["0"], SIZE, RATIO), PooledLevel("0", 1 / STRIDE, 0.0)
    assert products_pay(pool, (level,), (10, 18), "products") and products_pay(pool, (level,), (10, 18), "plain")
    assert products_pay(pool, (level,), (24, 42), "products")
    assert not products_pay(pool, (level,), (24, 42), "plain")
    assert not products_pay(pool, (level,), (10, 18), "operator")
    assert not products_pay(pool, (level,), (38, 63), "products")
    assert products_pay(MultiScaleRoIAlign(["0"], 2 * SIZE, RATIO), (level,), (38, 63), "products")
    assert not products_pay(pool, (level, level), (10, 18), "products")
    assert not products_pay(MultiScaleRoIAlign(["0"], SIZE, 0), (level,), (10, 18), "products")


def test_a_faster_rcnn_uses_them_when_asked_to() -> None:
    model: Any = build("fasterrcnn_mobilenet_v3_large_320_fpn", 4, min_size=96, max_size=160).eval()
    by_operator = faster_rcnn.export_parts(model, (96, 128), batch=1)
    by_products = faster_rcnn.export_parts(model, (96, 128), batch=1, pooling="products")
    assert by_operator.by == "operator"
    assert (by_products.by, by_products.grids) == ("products", ((3, 4),))

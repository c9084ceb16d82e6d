"""RoIAlign by matrix products is RoIAlign."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from edgedet.export.families import faster_rcnn
from edgedet.export.families.architectures import build
from edgedet.export.families.roi_pooling import PooledLevel
from edgedet.export.families.roi_products import ProductsHead, add_roi_products, columns_first, products_pay
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

    graph = GraphBuilder("products")
    pooled = add_roi_products(
        graph,
        graph.input("features", "float32", features.shape),
        PooledLevel("0", 1 / STRIDE, 0.0),
        graph.input("boxes", "float32", boxes.shape),
        batch=2,
        count=20,
        grid=grid,
        channels=CHANNELS,
        size=(SIZE, SIZE),
        sampling_ratio=ratio,
    )
    graph.output(pooled, "pooled", "float32", (40, SIZE * CHANNELS, SIZE))
    session = onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"features": features, "boxes": boxes})
    bins = found.reshape(40, SIZE, CHANNELS, SIZE)
    order = (0, 2, 3, 1) if columns_first(grid) else (0, 2, 1, 3)
    np.testing.assert_allclose(bins.transpose(order), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("by_column", [True, False])
def test_the_box_head_reads_the_other_order(by_column: bool) -> None:
    torch.manual_seed(0)
    head, predictor = TwoMLPHead(CHANNELS * SIZE * SIZE, 16), FastRCNNPredictor(16, 4)
    pooled = torch.rand(3, CHANNELS, SIZE, SIZE)
    moved = pooled.permute((0, 3, 1, 2) if by_column else (0, 2, 1, 3)).reshape(3, SIZE * CHANNELS, SIZE)
    ours = ProductsHead(head, predictor, (SIZE, SIZE), columns_first=by_column)(moved)
    for found, expected in zip(ours, predictor(head(pooled)), strict=True):
        torch.testing.assert_close(found, expected)


def test_products_are_for_small_maps_of_one_level_with_a_plain_head() -> None:
    pool, head = MultiScaleRoIAlign(["0"], SIZE, RATIO), TwoMLPHead(4, 4)
    level = PooledLevel("0", 1 / STRIDE, 0.0)
    assert products_pay(pool, head, (level,), (10, 18))
    assert not products_pay(pool, head, (level,), (38, 63))
    assert not products_pay(pool, head, (level, level), (10, 18))
    assert not products_pay(pool, nn.Conv2d(4, 4, 1), (level,), (10, 18))
    assert not products_pay(MultiScaleRoIAlign(["0"], SIZE, 0), head, (level,), (10, 18))


def test_a_faster_rcnn_uses_them_when_asked_to() -> None:
    model: Any = build("fasterrcnn_mobilenet_v3_large_320_fpn", 4, min_size=96, max_size=160).eval()
    by_operator = faster_rcnn.export_parts(model, (96, 128), batch=1)
    by_products = faster_rcnn.export_parts(model, (96, 128), batch=1, pooling="products")
    assert by_operator.by == "operator"
    assert (by_products.by, by_products.grids) == ("products", ((3, 4),))

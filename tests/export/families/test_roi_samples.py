"""RoIAlign by GridSample is RoIAlign, and stands in for it where the operator is a plugin."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from edgedet.export.families import faster_rcnn
from edgedet.export.families.roi_pooling import PooledLevel, pooled_levels
from edgedet.export.families.roi_samples import add_roi_samples
from edgedet.export.families.torchvision_architectures import build
from edgedet.onnx_graph.builder import GraphBuilder
from tests.export.narrow import narrow
from tests.export.thin import thin

SIZE, STRIDE, CHANNELS, COUNT = 7, 8, 5, 24


def proposals(grid: tuple[int, int], seed: int = 3) -> np.ndarray:
    """[2, COUNT, 4] of every size, some without extent, some at the very edge of the canvas."""
    generator = np.random.default_rng(seed)
    limit = np.array([grid[1], grid[0]]) * STRIDE
    corners = np.sort(generator.random((2, COUNT, 2, 2)) * limit, axis=2).reshape(2, COUNT, 4)
    corners[:, 0] = [*limit, *limit]
    corners[:, 1] = [0, 0, *limit]
    corners[:, 2] = [limit[0] - 3, limit[1] - 3, *limit]
    corners[:, 3] = [0, 0, 0, 0]
    return corners.astype(np.float32)


def pooled_by_samples(
    features: dict[str, np.ndarray], levels: tuple[PooledLevel, ...], boxes: np.ndarray, ratio: int
) -> Any:
    graph = GraphBuilder("samples")
    maps = {level.name: features[level.name] for level in levels}
    pooled = add_roi_samples(
        graph,
        [graph.input(f"features_{name}", "float32", value.shape) for name, value in maps.items()],
        levels,
        graph.input("boxes", "float32", boxes.shape),
        batch=2,
        count=COUNT,
        grids=[(value.shape[2], value.shape[3]) for value in maps.values()],
        channels=CHANNELS,
        size=(SIZE, SIZE),
        sampling_ratio=ratio,
    )
    graph.output(pooled, "pooled", "float32", (2 * COUNT, CHANNELS, SIZE, SIZE))
    model = graph.model()
    assert not [node for node in model.graph.node if node.op_type == "RoiAlign"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {f"features_{name}": value for name, value in maps.items()} | {"boxes": boxes}
    return session.run(None, given)[0]


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("grid", [(6, 11), (11, 6), (1, 1), (40, 61)])
def test_samples_pool_what_torchvision_pools(grid: tuple[int, int], ratio: int) -> None:
    features = np.random.default_rng(1).normal(size=(2, CHANNELS, *grid)).astype(np.float32)
    boxes = proposals(grid)
    pool = MultiScaleRoIAlign(["0"], SIZE, ratio)
    canvas = (grid[0] * STRIDE, grid[1] * STRIDE)
    expected = pool({"0": torch.from_numpy(features)}, [torch.from_numpy(part) for part in boxes], [canvas] * 2)
    found = pooled_by_samples({"0": features}, (PooledLevel("0", 1 / STRIDE, 0.0),), boxes, ratio)
    np.testing.assert_allclose(found, expected.numpy(), atol=5e-5)


def test_every_proposal_is_pooled_from_its_own_level() -> None:
    generator = np.random.default_rng(2)
    grids = {"0": (80, 96), "1": (40, 48), "2": (20, 24)}
    features = {
        name: generator.normal(size=(2, CHANNELS, *grid)).astype(np.float32) for name, grid in grids.items()
    }
    boxes = proposals(grids["0"], seed=5)
    pool = MultiScaleRoIAlign(list(grids), SIZE, 2)
    canvas = (grids["0"][0] * STRIDE, grids["0"][1] * STRIDE)
    maps = {name: torch.from_numpy(value) for name, value in features.items()}
    expected = pool(maps, [torch.from_numpy(part) for part in boxes], [canvas] * 2).numpy()
    levels = pooled_levels(pool, maps, canvas)
    assert len(levels) > 1
    np.testing.assert_allclose(pooled_by_samples(features, levels, boxes, 2), expected, atol=5e-5)


def test_a_faster_rcnn_is_pooled_by_what_its_target_has() -> None:
    small, large = (
        narrow(thin(build(arch, 4, min_size=96, max_size=160).eval()))
        for arch in ("fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn")
    )

    def by(model: Any, pooling: Any) -> str:
        return faster_rcnn.export_parts(model, (96, 128), batch=1, pooling=pooling).by

    chosen = {how: [by(model, how) for model in (small, large)] for how in ("operator", "products", "plain")}
    assert chosen == {
        "operator": ["operator", "operator"],
        "products": ["products", "operator"],
        "plain": ["products", "samples"],
    }
    large.roi_heads.box_roi_pool.sampling_ratio = 0  # as many samples as a proposal is large: no fixed number
    assert by(large, "plain") == "operator"

"""Start and end of branches that run on the final detections only: masks and keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from edgedet.onnx_graph.builder import GraphBuilder

from .base import Pooling
from .nms import Chosen
from .roi_align_matmul import add_roi_maps, products_pay
from .roi_pooling import PooledLevel, add_roi_align, pooled_levels
from .roi_samples import add_roi_samples


@dataclass(frozen=True)
class FinalLevels:
    """What a branch pools from: ``levels``, (height, width) of each in ``grids``, and their ``channels``."""

    levels: tuple[PooledLevel, ...]
    grids: tuple[tuple[int, int], ...]
    channels: int


def final_levels(pool: MultiScaleRoIAlign, features: Mapping[str, Tensor], content: tuple[int, int]) -> FinalLevels:
    """The levels that ``pool`` takes detections from.

    ``features``: the backbone's levels of an example; ``content`` (height, width) of the canvas.
    """
    levels = pooled_levels(pool, features, content)
    shapes = [features[level.name].shape for level in levels]
    return FinalLevels(levels, tuple((int(shape[2]), int(shape[3])) for shape in shapes), int(shapes[0][1]))


def add_final_pooling(
    graph: GraphBuilder,
    pool: MultiScaleRoIAlign,
    where: FinalLevels,
    features: Sequence[str],
    chosen: Chosen,
    *,
    batch: int,
    pooling: Pooling,
) -> str:
    """Every detection pooled, [N * K, C, h, w]. ``features``: tensors of the levels."""
    sampling: dict[str, Any] = {
        "batch": batch,
        "count": chosen.count,
        "size": tuple(pool.output_size),
        "sampling_ratio": pool.sampling_ratio,
    }
    if pooling == "plain" and pool.sampling_ratio > 0:
        return add_roi_samples(
            graph, features, where.levels, chosen.boxes, grids=where.grids, channels=where.channels, **sampling
        )
    if pooling == "products" and products_pay(pool, where.levels, where.grids[0], pooling):
        return add_roi_maps(
            graph,
            features[0],
            where.levels[0],
            chosen.boxes,
            grid=where.grids[0],
            channels=where.channels,
            **sampling,
        )
    return add_roi_align(graph, features, where.levels, chosen.boxes, **sampling)


def output_of_found(graph: GraphBuilder, values: str, chosen: Chosen, name: str, shape: Sequence[int]) -> None:
    """The output ``name`` float32 [N, K, ...]: ``values``, with zeros in the rows past the last detection."""
    found = graph.op("Cast", chosen.found, name=f"{name}/found", to=1)
    found = graph.op("Unsqueeze", found, graph.ints(*range(2, len(shape))), name=f"{name}/found_column")
    graph.output(graph.op("Mul", values, found, name=f"{name}/of_found"), name, "float32", tuple(shape))

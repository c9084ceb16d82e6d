"""RoIAlign (arXiv:1703.06870) over one or several feature levels, for a fixed number of proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, poolers

from edgedet.onnx_graph.builder import GraphBuilder


@dataclass(frozen=True)
class PooledLevel:
    """A feature level that proposals are pooled from; proposals of at least ``min_area`` canvas pixels use it."""

    name: str
    spatial_scale: float
    min_area: float


def pooled_levels(
    pool: MultiScaleRoIAlign, features: Mapping[str, Tensor], canvas: tuple[int, int]
) -> tuple[PooledLevel, ...]:
    """Levels that ``pool`` uses on a canvas of (height, width), finest first.

    A proposal's level is ``floor(level0 + log2(sqrt(area) / 224) + eps)`` (arXiv:1612.03144, equation 1), written
    here as areas where it changes. Levels that no proposal can reach are left out: torchvision's MobileNet FPNs
    pool from two levels of equal stride, and only ever use the first.
    """
    names = [name for name in pool.featmap_names if name in features]
    scales, mapper = poolers._setup_scales(
        [features[name] for name in names], [canvas], pool.canonical_scale, pool.canonical_level
    )
    if mapper is None or len(scales) == 1:
        return (PooledLevel(names[0], scales[0], 0.0),)
    return tuple(
        PooledLevel(
            name,
            scale,
            0.0 if level == mapper.k_min else mapper.s0**2 * 4.0 ** (level - mapper.lvl0 - mapper.eps),
        )
        for level, (name, scale) in zip(
            range(mapper.k_min, mapper.k_max + 1), zip(names, scales, strict=True), strict=False
        )
    )


def add_roi_align(
    graph: GraphBuilder,
    features: Sequence[str],
    levels: Sequence[PooledLevel],
    proposals: str,
    *,
    batch: int,
    count: int,
    size: tuple[int, int],
    sampling_ratio: int,
) -> str:
    """Pool ``proposals`` [N, P, 4] from ``features`` (one per level); returns [N * P, C, *size].

    With several levels every proposal is pooled from each and the right one is selected: four times the
    arithmetic of torchvision's sorting by level, but every shape is known.
    """
    flat = graph.op("Reshape", proposals, graph.ints(batch * count, 4), name="roi/boxes")
    images = graph.constant(np.repeat(np.arange(batch), count), np.int64)
    pooled = [
        graph.op(
            "RoiAlign",
            feature,
            flat,
            images,
            name=f"roi/align_{level.name}",
            mode="avg",
            # torchvision pools with aligned=False.
            coordinate_transformation_mode="output_half_pixel",
            output_height=size[0],
            output_width=size[1],
            sampling_ratio=sampling_ratio,
            spatial_scale=level.spatial_scale,
        )
        for feature, level in zip(features, levels, strict=True)
    ]
    return add_level_choice(graph, pooled, levels, flat, total=batch * count)


def add_level_choice(
    graph: GraphBuilder, pooled: Sequence[str], levels: Sequence[PooledLevel], boxes: str, *, total: int
) -> str:
    """Choose for each of ``boxes`` [T, 4] what was pooled from its level: one of ``pooled``, each [T, C, h, w]."""
    result = pooled[0]
    if len(levels) > 1:
        low, high = graph.ops("Split", boxes, name="roi/corners", outputs=2, axis=-1)
        sides = graph.op("Sub", high, low, name="roi/sides")
        area = graph.op("ReduceProd", sides, name="roi/area", axes=[-1], keepdims=1)
        area = graph.op("Reshape", area, graph.ints(total, 1, 1, 1), name="roi/area_column")
        for level, tensor in zip(levels[1:], pooled[1:], strict=True):
            reached = graph.op(
                "GreaterOrEqual", area, graph.constant(level.min_area), name=f"roi/reaches_{level.name}"
            )
            result = graph.op("Where", reached, tensor, result, name=f"roi/pooled_{level.name}")
    return result

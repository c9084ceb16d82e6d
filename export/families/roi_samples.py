"""RoIAlign as bilinear samples (GridSample) and their mean, for libraries whose RoIAlign is a plugin.

The operator becomes a plugin in TensorRT-RTX that asks CUDA for the device while it is parsed, so nothing with it
can be built where there is no GPU. Its samples are what GridSample takes, once for every level. Matrix products
(:mod:`edgedet.export.families.roi_align_matmul`) give the same for small maps; beyond those their arithmetic, a
weight for every cell of a line, outgrows four values per sample: 7000 x 272 times 272 x 51200 for the finest level
of a ResNet-50 FPN at 800 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.onnx_graph.builder import GraphBuilder

from .roi_pooling import PooledLevel, add_level_choice

OUTSIDE = -2.0
"""A place, in cells, none of whose four neighbours is on the map: there GridSample gives zero."""


def add_roi_samples(
    graph: GraphBuilder,
    features: Sequence[str],
    levels: Sequence[PooledLevel],
    proposals: str,
    *,
    batch: int,
    count: int,
    grids: Sequence[tuple[int, int]],
    channels: int,
    size: tuple[int, int],
    sampling_ratio: int,
) -> str:
    """Pool ``proposals`` [N, P, 4] from ``features`` ([N, C, *grid] per level); returns [N * P, C, *size]."""
    low, high = graph.ops("Split", proposals, name="roi/box_corners", outputs=2, axis=-1)
    pooled = []
    for feature, level, grid in zip(features, levels, grids, strict=True):
        name = f"roi/{level.name}"
        first = graph.op("Mul", low, graph.constant(level.spatial_scale), name=f"{name}/low")
        last = graph.op("Mul", high, graph.constant(level.spatial_scale), name=f"{name}/high")
        sides = graph.op("Sub", last, first, name=f"{name}/sides")
        # torchvision (aligned=False) pools from at least one cell.
        sides = graph.op("Max", sides, graph.constant(1.0), name=f"{name}/at_least_a_cell")
        places = _places(
            graph,
            first,
            sides,
            name=name,
            grid=grid,
            bins=size,
            shape=(batch, count),
            per_bin=sampling_ratio,
        )
        samples = graph.op(
            "GridSample", feature, places, name=f"{name}/sample", mode="bilinear", padding_mode="zeros",
            align_corners=0,
        )  # fmt: skip
        if sampling_ratio > 1:
            window = [sampling_ratio, sampling_ratio]
            samples = graph.op("AveragePool", samples, name=f"{name}/mean", kernel_shape=window, strides=window)
        shape = graph.ints(batch, channels, count, *size)
        by_proposal = graph.op("Reshape", samples, shape, name=f"{name}/by_proposal")
        by_proposal = graph.op("Transpose", by_proposal, name=f"{name}/proposals_first", perm=[0, 2, 1, 3, 4])
        flat = graph.ints(batch * count, channels, *size)
        pooled.append(graph.op("Reshape", by_proposal, flat, name=f"{name}/pooled"))
    flat = graph.op("Reshape", proposals, graph.ints(batch * count, 4), name="roi/boxes")
    return add_level_choice(graph, pooled, levels, flat, total=batch * count)


def _places(
    graph: GraphBuilder,
    low: str,
    sides: str,
    *,
    name: str,
    grid: tuple[int, int],
    bins: tuple[int, int],
    shape: tuple[int, int],
    per_bin: int,
) -> str:
    """Places for GridSample: [N, P * rows, columns, 2] in its coordinates, from [N, P, 2] in cells (x, y)."""
    batch, count = shape
    rows, columns = (number * per_bin for number in bins)
    corners = graph.ops("Split", low, name=f"{name}/axes", outputs=2, axis=-1)
    extents = graph.ops("Split", sides, name=f"{name}/extents", outputs=2, axis=-1)
    along = []
    for axis, cells, samples in ((0, grid[1], columns), (1, grid[0], rows)):
        where = f"{name}/{'xy'[axis]}"
        steps = graph.constant((np.arange(samples) + 0.5) / samples)
        place = graph.op("Mul", extents[axis], steps, name=f"{where}/steps")
        place = graph.op("Add", place, corners[axis], name=f"{where}/places")
        # Beyond the last cell by more than one, a sample is zero; up to there it repeats the edge.
        inside = graph.op("LessOrEqual", place, graph.constant(float(cells)), name=f"{where}/inside")
        place = graph.op("Min", place, graph.constant(cells - 1.0), name=f"{where}/at_the_edge")
        place = graph.op("Where", inside, place, graph.constant(OUTSIDE), name=f"{where}/on_map")
        # GridSample counts from -1 to 1 between the outer edges of the cells, whose centres are half a cell inside.
        place = graph.op("Mul", place, graph.constant(2 / cells), name=f"{where}/scaled")
        place = graph.op("Add", place, graph.constant(1 / cells - 1), name=f"{where}/centred")
        lines = (batch, count, 1, columns, 1) if axis == 0 else (batch, count, rows, 1, 1)
        place = graph.op("Reshape", place, graph.ints(*lines), name=f"{where}/line")
        every = graph.ints(batch, count, rows, columns, 1)
        along.append(graph.op("Expand", place, every, name=f"{where}/grid"))
    both = graph.op("Concat", *along, name=f"{name}/pairs", axis=-1)
    return graph.op("Reshape", both, graph.ints(batch, count * rows, columns, 2), name=f"{name}/points")

"""RoIAlign as two matrix products, for small feature maps on CPUs.

RoIAlign (arXiv:1703.06870) is linear in the features and separable: a bin's value is
``sum over y, x of Y[bin row, y] X[bin column, x] F[y, x]``, with the bilinear weights of its samples averaged along
each axis. ONNX Runtime's CPU operator gathers instead, one channel at a time: for 150 proposals on a 10 x 18 map of
256 channels 8.4 ms on two cores, where the products take 1.5 ms and give the same numbers to 1e-5.
"""

from __future__ import annotations

import copy

import numpy as np
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from edgedet.onnx_graph.builder import GraphBuilder

from .base import Pooling
from .roi_pooling import PooledLevel

MAX_WORK: dict[Pooling, int] = {"products": 1600, "plain": 512, "operator": 0}
"""Maximum of the map's height times (width + 7) for 7 x 7 bins, in proportion for others: beyond it the products'
arithmetic outgrows what gathering costs on CPUs. What it does on GPUs has not been measured; there it is for small
maps."""

MAX_LINES = 48 << 20
"""Bytes of what lies between the two products, beyond which proposals are pooled in parts."""


def products_pay(
    pool: MultiScaleRoIAlign, levels: tuple[PooledLevel, ...], grid: tuple[int, int], pooling: Pooling
) -> bool:
    """Whether a map of ``grid`` (height, width) is pooled quicker by products."""
    longer, shorter = max(grid), min(grid)
    bins = pool.output_size[0]
    return (
        len(levels) == 1
        and pool.sampling_ratio > 0
        and bins == pool.output_size[1]
        and shorter * (longer + bins) * 7 <= MAX_WORK[pooling] * bins
    )


class ProductsHead(nn.Module):
    """A box head and its predictor that read pooled features as :func:`add_roi_products` leaves them.

    [P, s * C, s] to what ``predictor`` makes of it; only the order of the first layer's inputs differs from
    ``TwoMLPHead``.
    """

    def __init__(
        self, head: TwoMLPHead, predictor: nn.Module, size: tuple[int, int], *, columns_first: bool
    ) -> None:
        super().__init__()
        self.fc6 = copy.deepcopy(head.fc6)
        outputs = self.fc6.weight.shape[0]
        weight = self.fc6.weight.data.reshape(outputs, -1, *size)
        order = (0, 3, 1, 2) if columns_first else (0, 2, 1, 3)
        self.fc6.weight.data = weight.permute(order).reshape(outputs, -1).contiguous()
        self.fc7 = head.fc7
        self.predictor = predictor

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        features = functional.relu(self.fc6(pooled.flatten(1)))
        logits, deltas = self.predictor(functional.relu(self.fc7(features)))
        return logits, deltas


def columns_first(grid: tuple[int, int]) -> bool:
    """Whether the products leave bins column by column: the longer axis is summed first, which halves the work."""
    return grid[1] >= grid[0]


def add_roi_products(
    graph: GraphBuilder,
    features: str,
    level: PooledLevel,
    proposals: str,
    *,
    batch: int,
    count: int,
    grid: tuple[int, int],
    channels: int,
    size: tuple[int, int],
    sampling_ratio: int,
) -> str:
    """Pool ``proposals`` [N, P, 4] from ``features`` [N, C, *grid]; returns [N * P, s * C, s].

    Of a bin's two places, that along the axis summed first (:func:`columns_first`) is in front of the channels and
    the other behind them: so the second product has the large matrix on its left, which ONNX Runtime reads as it
    lies, where one on the right is first copied (1.0 ms with the copy, 0.6 without).
    """
    first, second = _both_weights(
        graph, level, proposals, grid=grid, bins=size[0], batch=batch, count=count, sampling_ratio=sampling_ratio
    )
    longer, shorter, bins = max(grid), min(grid), size[0]
    perm = [0, 3, 1, 2] if columns_first(grid) else [0, 2, 1, 3]
    maps = graph.op("Transpose", features, name="roi/longer_axis_first", perm=perm)
    maps = graph.op("Reshape", maps, graph.ints(batch, longer, channels * shorter), name="roi/maps")
    second = graph.op("Transpose", second, name="roi/by_cell", perm=[1, 2, 0, 3])
    second = graph.op("Reshape", second, graph.ints(batch * count, shorter, bins), name="roi/second")
    # Of several images every one has its own map, so only those of a single one are parted.
    parts = -(-4 * count * bins * channels * shorter // MAX_LINES) if batch == 1 else 1
    sizes = [count // parts + (part < count % parts) for part in range(parts)]
    firsts, seconds = [first], [second]
    if parts > 1:
        rows = graph.ints(*(size * bins for size in sizes))
        firsts = list(graph.ops("Split", first, rows, name="roi/first_parts", outputs=parts, axis=1))
        seconds = list(
            graph.ops("Split", second, graph.ints(*sizes), name="roi/second_parts", outputs=parts, axis=0)
        )
    pooled = []
    for part, across, along in zip(sizes, firsts, seconds, strict=True):
        lines = graph.op("MatMul", across, maps, name="roi/lines")
        by_proposal = graph.ints(batch * part, bins * channels, shorter)
        lines = graph.op("Reshape", lines, by_proposal, name="roi/by_proposal")
        pooled.append(graph.op("MatMul", lines, along, name="roi/pooled"))
    return pooled[0] if parts == 1 else graph.op("Concat", *pooled, name="roi/all_pooled", axis=0)


def add_roi_maps(
    graph: GraphBuilder,
    features: str,
    level: PooledLevel,
    proposals: str,
    *,
    batch: int,
    count: int,
    grid: tuple[int, int],
    channels: int,
    size: tuple[int, int],
    sampling_ratio: int,
) -> str:
    """The same as maps, [N * P, C, *size], for what convolves them.

    The products leave the channels last: from there whole rows of them are moved, where bins on either side would
    be moved one by one (100 detections of 14 x 14 bins from 24 x 42 cells: 27 ms of one core, not 84).
    """
    first, second = _both_weights(
        graph, level, proposals, grid=grid, bins=size[0], batch=batch, count=count, sampling_ratio=sampling_ratio
    )
    longer, shorter, bins = max(grid), min(grid), size[0]
    perm = [0, 3, 2, 1] if columns_first(grid) else [0, 2, 3, 1]
    maps = graph.op("Transpose", features, name="roi/longer_axis_first", perm=perm)
    maps = graph.op("Reshape", maps, graph.ints(batch, longer, shorter * channels), name="roi/maps")
    lines = graph.op("MatMul", first, maps, name="roi/lines")
    lines = graph.op("Reshape", lines, graph.ints(batch * count, bins, shorter, channels), name="roi/by_proposal")
    second = graph.op("Transpose", second, name="roi/by_cell", perm=[1, 2, 3, 0])
    pooled = graph.op("MatMul", second, lines, name="roi/pooled")
    perm = [0, 3, 2, 1] if columns_first(grid) else [0, 3, 1, 2]
    return graph.op("Transpose", pooled, name="roi/channels_first", perm=perm)


def _both_weights(
    graph: GraphBuilder,
    level: PooledLevel,
    proposals: str,
    *,
    grid: tuple[int, int],
    bins: int,
    batch: int,
    count: int,
    sampling_ratio: int,
) -> tuple[str, str]:
    """Weights of ``proposals`` [N, P, 4] along the longer axis, [N, P * bins, longer], which is summed first, and
    along the other, [shorter, N * P, 1, bins]."""
    low, high = graph.ops("Split", proposals, name="roi/corners", outputs=2, axis=-1)
    low = graph.op("Mul", low, graph.constant(level.spatial_scale), name="roi/low")
    high = graph.op("Mul", high, graph.constant(level.spatial_scale), name="roi/high")
    sides = graph.op("Sub", high, low, name="roi/sides")
    # torchvision (aligned=False) pools from at least one cell.
    sides = graph.op("Max", sides, graph.constant(1.0), name="roi/at_least_a_cell")
    x, y = _weights(
        graph, low, sides, grid=grid, bins=bins, batch=batch, count=count, sampling_ratio=sampling_ratio
    )
    first, second = (x, y) if columns_first(grid) else (y, x)
    longer, shorter = max(grid), min(grid)
    first = graph.op("Transpose", first, name="roi/by_bin", perm=[1, 2, 3, 0])
    first = graph.op("Reshape", first, graph.ints(batch, count * bins, longer), name="roi/first")
    if shorter < longer:
        second = graph.op("Slice", second, graph.ints(0), graph.ints(shorter), graph.ints(0), name="roi/shorter")
    return first, second


def _weights(
    graph: GraphBuilder,
    low: str,
    sides: str,
    *,
    grid: tuple[int, int],
    bins: int,
    batch: int,
    count: int,
    sampling_ratio: int,
) -> tuple[str, str]:
    """Weight of every cell in every bin along x and along y: [longer, N * P, 1, bins], from [N, P, 2] in cells.

    The shorter axis gets as many cells as the longer, no sample near those beyond its last: one chain for both.
    """
    total, longer = batch * count, max(grid)
    ends = np.array([[grid[1]], [grid[0]]], np.float32)
    steps = (np.arange(bins * sampling_ratio).reshape(bins, sampling_ratio).T + 0.5) / (bins * sampling_ratio)
    low = graph.op("Unsqueeze", low, graph.ints(-1), name="roi/low_column")
    sides = graph.op("Unsqueeze", sides, graph.ints(-1), name="roi/side_column")
    # The first sample of every bin, then the second, and cell by cell: long rows are what runtimes are quick at.
    places = graph.op("Mul", sides, graph.constant(steps.reshape(sampling_ratio, 1, 1, 1, bins)), name="roi/steps")
    places = graph.op("Add", places, low, name="roi/places")
    # Beyond the last cell by more than one, a sample is zero, as it is a whole cell before the first; up to there
    # it repeats the edge.
    inside = graph.op("LessOrEqual", places, graph.constant(ends), name="roi/inside")
    places = graph.op("Min", places, graph.constant(ends - 1), name="roi/at_the_edge")
    places = graph.op("Where", inside, places, graph.constant(-1.0), name="roi/on_map")
    row = graph.op("Reshape", places, graph.ints(1, -1), name="roi/row")
    apart = graph.op("Sub", row, graph.constant(np.arange(longer).reshape(-1, 1)), name="roi/apart")
    apart = graph.op("Abs", apart, name="roi/distance")
    weight = graph.op("Sub", graph.constant(1.0), apart, name="roi/slope")
    weight = graph.op("Relu", weight, name="roi/bilinear")
    if sampling_ratio > 1:
        samples = graph.ints(longer, sampling_ratio, total * 2 * bins)
        weight = graph.op("Reshape", weight, samples, name="roi/samples")
        weight = graph.op("ReduceMean", weight, name="roi/mean", axes=[1], keepdims=0)
    weight = graph.op("Reshape", weight, graph.ints(longer, total, 2, bins), name="roi/weights")
    x, y = graph.ops("Split", weight, name="roi/axes", outputs=2, axis=2)
    return x, y

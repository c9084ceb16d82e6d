"""Candidate ranges of a tensor: where to clip so that 256 values represent the rest best.

Methods and sources: min-max; percentiles (Krishnamoorthi, arXiv:1806.08342); relative entropy
(Migacz, "8-bit inference with TensorRT", GTC 2017); mean-squared error (as in Nagel et al., "A white paper on
neural network quantization", arXiv:2106.08295, section 3.1). None wins everywhere, so
:mod:`edgedet.calibration.fitting` tries them all on every tensor and keeps what the tensor's readers like best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgedet.onnx_graph.network import Array

from .observe import Observation
from .quantisation_grid import Grid, GridKind, grid_for

Function = Callable[[Array], Array]

PERCENTILES = (99.9, 99.99, 99.999)
SHRINKS = tuple(float(s) for s in np.geomspace(1.0, 0.1, 28))
LOW_SHRINKS = tuple(float(s) for s in np.geomspace(1.0, 0.02, 12))


def candidates(seen: Observation, kind: GridKind, through: Function | None = None) -> dict[str, Grid]:
    """Grids by the name of the method that proposes them; ``minmax`` always first.

    A tensor that is expected to reach further than it was seen to gets one that is wider, and no other.
    ``through``: see :func:`mse_grid`.
    """
    if seen.margin > 1:
        return {"widened": grid_for(kind, seen.low * seen.margin, seen.high * seen.margin)}
    found = {"minmax": grid_for(kind, seen.low, seen.high)}
    for percentile in PERCENTILES:
        found[f"percentile {percentile}"] = grid_for(kind, *_percentile(seen, percentile))
    found["entropy"] = entropy_grid(seen, kind)
    found["mse"] = mse_grid(seen, kind, through)
    return found


def _percentile(seen: Observation, percentile: float) -> tuple[float, float]:
    share = np.cumsum(seen.counts) / max(seen.counts.sum(), 1)
    tail = (100 - percentile) / 100
    edges = np.linspace(seen.low, seen.high, len(seen.counts) + 1)
    low = edges[int(np.searchsorted(share, tail, side="right"))] if seen.low < 0 else seen.low
    high = edges[min(int(np.searchsorted(share, 1 - tail)) + 1, len(edges) - 1)]
    return float(low), float(high)


def squared_error(seen: Observation, grid: Grid, through: Function | None = None) -> float:
    """Mean squared error of rounding the tensor onto ``grid``, from the histogram.

    Inside the grid a bin wider than the grid's step is taken as evenly filled (step² / 12); clipping is exact to
    the bin's centre. ``through``: the activation function that follows, whose output's error counts instead.
    """
    if through is None:
        return float(squared_errors(seen, [grid])[0])
    centres = seen.centres
    error = (through(grid.round(centres.astype(np.float32))) - through(centres)) ** 2
    return float((error * seen.counts).sum() / max(seen.counts.sum(), 1))


def squared_errors(seen: Observation, grids: Sequence[Grid]) -> Array:
    """:func:`squared_error` of the tensor itself on each of ``grids``: float64 [n]."""
    # Only bins with something in them cost anything.
    filled = np.flatnonzero(seen.counts)
    centres, counts = seen.centres[filled], seen.counts[filled].astype(np.float64)
    ends = np.array([grid.range for grid in grids])
    steps = np.array([grid.scale for grid in grids])[:, None] ** 2 / 12
    error = np.maximum(ends[:, :1] - centres, centres - ends[:, 1:])
    outside = error > 0
    np.square(error, out=error)
    error = np.where(outside, error, steps)
    # Exact zeros (ReLU, padding) cost nothing on any grid; the bin that holds them would dominate otherwise.
    if seen.low <= 0 <= seen.high:
        zero = np.abs(seen.centres).argmin()
        error[:, filled == zero] = np.minimum(error[:, filled == zero], steps)
    result: Array = error @ counts / max(seen.counts.sum(), 1)
    return result


def mse_grid(seen: Observation, kind: GridKind, through: Function | None = None) -> Grid:
    """The clipping with the least squared error, both ends searched independently where the grid allows it.

    ``through``: the activation function that follows; a flat tail (SiLU's negative one) is then cut off as far as
    that pays, however far the tensor itself reaches.
    """
    lows = LOW_SHRINKS if kind == "u8" and seen.low < 0 else (1.0,)
    grids = [
        grid_for(kind, seen.low * (low if kind == "u8" else high), seen.high * high)
        for low in lows
        for high in SHRINKS[:: 2 if len(lows) > 1 else 1]
    ]
    if through is None:
        return grids[int(squared_errors(seen, grids).argmin())]
    return min(grids, key=lambda grid: squared_error(seen, grid, through))


def entropy_grid(seen: Observation, kind: GridKind) -> Grid:
    """The clipping whose 128 (s8) or 256 (u8) level histogram diverges least from the tensor's own."""
    if seen.high - seen.low <= 1e-5 * seen.magnitude:
        return grid_for(kind, seen.low, seen.high)  # as good as constant: nothing to divide into bins
    if kind == "s8":
        magnitudes, edges = np.histogram(
            np.abs(seen.centres), bins=BINS_OF_ENTROPY, range=(0, max(seen.magnitude, 1e-12)), weights=seen.counts
        )
        levels, anchor, sign = 128, 0.0, -1.0 if seen.low < 0 else 0.0
    else:
        magnitudes, edges = np.histogram(
            seen.centres,
            bins=BINS_OF_ENTROPY,
            range=(seen.low, max(seen.high, seen.low + 1e-12)),
            weights=seen.counts,
        )
        levels, anchor, sign = 256, seen.low, 0.0
    kept = np.arange(levels, len(magnitudes) + 1, 32)
    reach = float(edges[kept[_divergences(magnitudes, kept, levels).argmin()]])
    return grid_for(kind, sign * reach if kind == "s8" else anchor, reach)


BINS_OF_ENTROPY = 1024


def _divergences(counts: Array, kept: Array, levels: int) -> Array:
    """Kullback-Leibler divergences of a histogram clipped to ``kept`` bins [n] from its coarse versions."""
    bins = np.arange(len(counts))
    inside = bins < kept[:, None]
    reference = np.where(inside, counts.astype(np.float64), 0.0)
    # Bins of one level of one clipping have a number of their own; those cut off share the last.
    own = bins * levels // kept[:, None] + levels * np.arange(len(kept))[:, None]
    group = np.where(inside, own, len(kept) * levels)
    filled = reference > 0
    totals = np.bincount(group.ravel(), weights=reference.ravel(), minlength=len(kept) * levels + 1)
    occupied = np.bincount(group.ravel(), weights=filled.ravel(), minlength=len(kept) * levels + 1)
    coarse = np.where(filled, (totals / np.maximum(occupied, 1))[group], 0.0)
    reference[np.arange(len(kept)), kept - 1] += counts.sum(dtype=np.float64) - reference.sum(axis=1)
    p = reference / np.maximum(reference.sum(axis=1, keepdims=True), 1)
    q = coarse / np.maximum(coarse.sum(axis=1, keepdims=True), 1)
    both = (p > 0) & (q > 0)
    terms = np.where(both, p * np.log(np.where(both, p, 1.0) / np.where(both, q, 1.0)), 0.0)
    # Mass that the coarse histogram cannot represent (the clipped tail in an empty last bin) is not free.
    missing = np.where((p > 0) & (q == 0), p, 0.0)
    result: Array = terms.sum(axis=1) + missing.sum(axis=1) * 10
    return result

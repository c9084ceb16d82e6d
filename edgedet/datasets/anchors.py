"""Anchors from the boxes of a dataset.

k-means under the distance 1 − IoU of boxes that share a centre (Redmon & Farhadi, "YOLO9000", CVPR 2017,
section 2), started as k-means++ does (Arthur & Vassilvitskii, SODA 2007); and, for detectors whose anchors are a
grid of scales and aspect ratios (Ren et al., "Faster R-CNN", NIPS 2015), the grid that fits best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.dataset import Dataset
from edgedet.errors import DatasetError

Fit = Literal["letterbox", "stretch", "shortest_side", "none"]
Sizes = NDArray[np.float64]

RESTARTS = 10
ROUNDS = 200
FITTED_BOXES = 50_000
"""Maximum number of boxes for fitting; larger sets are sampled, and the figures are over all boxes."""


@dataclass(frozen=True, eq=False)
class Anchors:
    """``sizes``: float64 [K, 2], width and height in pixels of the network's input, smallest area first.
    ``mean_iou``: of every box with its best anchor; ``covered``: share of boxes with IoU of at least 0.5. None
    where there are no more boxes than anchors: each may then be its own, which says nothing of other boxes."""

    sizes: Sizes
    mean_iou: float | None
    covered: float | None


@dataclass(frozen=True, eq=False)
class AnchorGrid:
    """``scales``: float64 [S], side of the square of the same area; ``ratios``: float64 [R], height / width.

    An anchor is ``scale / sqrt(ratio)`` wide and ``scale * sqrt(ratio)`` high, as in torchvision's AnchorGenerator.
    ``mean_iou``, ``covered``: as of :class:`Anchors`.
    """

    scales: NDArray[np.float64]
    ratios: NDArray[np.float64]
    mean_iou: float | None
    covered: float | None


def box_sizes(dataset: Dataset, *, imgsz: tuple[int, int] | None = None, fit: Fit = "letterbox") -> Sizes:
    """Width and height of every box (crowds left out) in pixels of the network's input, float64 [N, 2].

    ``imgsz``: (height, width) of the input. ``fit``: how pictures are brought onto it; ``shortest_side`` scales the
    picture's shorter side to the input's; ``none`` (or no ``imgsz``) leaves them as they are.

    Raises:
        DatasetError: no boxes.
    """
    parts = []
    for record in dataset.images:
        boxes = record.boxes[~record.crowd]
        sizes = boxes[:, 2:] - boxes[:, :2]
        if imgsz is not None and fit != "none":
            x, y = imgsz[1] / record.width, imgsz[0] / record.height
            if fit == "letterbox":
                x = y = min(x, y)
            elif fit == "shortest_side":
                x = y = min(imgsz) / min(record.width, record.height)
            sizes = sizes * (x, y)
        parts.append(sizes)
    sizes = np.concatenate(parts) if parts else np.zeros((0, 2))
    if not len(sizes):
        raise DatasetError(f"{dataset.source} has no boxes to take anchors from")
    return sizes


def fit_anchors(sizes: Sizes, count: int, *, seed: int = 0, restarts: int = RESTARTS) -> Anchors:
    """The best of several k-means runs. ``sizes``: float64 [N, 2], widths and heights.

    >>> fit_anchors(np.array([[10.0, 20.0], [10.0, 20.0], [100.0, 50.0]]), 2).sizes.tolist()
    [[10.0, 20.0], [100.0, 50.0]]

    Raises:
        DatasetError: fewer distinct boxes than anchors.
    """
    if len(np.unique(sizes, axis=0)) < count:
        raise DatasetError(
            f"{count} anchors from {len(np.unique(sizes, axis=0))} distinct box sizes; ask for fewer"
        )
    random = np.random.default_rng(seed)
    fitted = _sample(sizes, random)
    runs = [_kmeans(fitted, _start(fitted, count, random)) for _ in range(restarts)]
    best = max(runs, key=lambda anchors: float(_iou(fitted, anchors).max(axis=1).mean()))
    best = best[np.argsort(best.prod(axis=1), kind="stable")]
    return Anchors(best, *_figures(sizes, best))


def fit_anchor_grid(
    sizes: Sizes, scales: int, ratios: int, *, seed: int = 0, restarts: int = RESTARTS
) -> AnchorGrid:
    """The scales and aspect ratios whose grid fits best: k-means in which anchors share coordinates.

    Every box goes to the anchor it overlaps most; scales and ratios move to the geometric mean of their boxes.
    """
    random = np.random.default_rng(seed)
    fitted = _sample(sizes, random)
    box_scale, box_ratio = np.log(fitted.prod(axis=1)) / 2, np.log(fitted[:, 1] / fitted[:, 0])
    best: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for restart in range(restarts):
        if restart == 0:
            scale = np.quantile(box_scale, (np.arange(scales) + 0.5) / scales)
            ratio = np.quantile(box_ratio, (np.arange(ratios) + 0.5) / ratios)
        else:
            scale, ratio = np.sort(random.choice(box_scale, scales)), np.sort(random.choice(box_ratio, ratios))
        before = -1.0
        for _ in range(ROUNDS):
            iou = _iou(fitted, _grid(scale, ratio))
            fit = float(iou.max(axis=1).mean())
            if best is None or fit > best[0]:
                best = fit, scale.copy(), ratio.copy()
            if fit <= before + 1e-9:
                break
            before = fit
            row, column = np.divmod(iou.argmax(axis=1), ratios)
            scale, ratio = _means(box_scale, row, scale), _means(box_ratio, column, ratio)
    assert best is not None
    scale, ratio = np.sort(best[1]), np.sort(best[2])
    return AnchorGrid(np.exp(scale), np.exp(ratio), *_figures(sizes, _grid(scale, ratio)))


def _figures(sizes: Sizes, anchors: Sizes) -> tuple[float | None, float | None]:
    """Mean IoU and share of boxes covered."""
    if len(sizes) <= len(anchors):
        return None, None
    iou = _iou(sizes, anchors).max(axis=1)
    return float(iou.mean()), float((iou >= 0.5).mean())


def _start(sizes: Sizes, count: int, random: np.random.Generator) -> Sizes:
    """Boxes far from one another: each drawn with probability in proportion to its squared distance."""
    chosen = [sizes[random.integers(len(sizes))]]
    while len(chosen) < count:
        distance = (1 - _iou(sizes, np.array(chosen)).max(axis=1)) ** 2
        total = distance.sum()
        # All boxes are taken already (duplicates in a small sample): any of them will do.
        odds = distance / total if total > 0 else None
        chosen.append(sizes[random.choice(len(sizes), p=odds)])
    return np.array(chosen)


def _kmeans(sizes: Sizes, anchors: Sizes) -> Sizes:
    best, best_fit, owner = anchors, -1.0, None
    for _ in range(ROUNDS):
        iou = _iou(sizes, anchors)
        nearest = iou.argmax(axis=1)
        # The mean does not minimise 1 − IoU exactly, so a round may make it worse: remember the best.
        fit = float(iou.max(axis=1).mean())
        if fit > best_fit:
            best, best_fit = anchors, fit
        if owner is not None and np.array_equal(owner, nearest):
            break
        owner = nearest
        columns = [_means(sizes[:, axis], nearest, anchors[:, axis]) for axis in (0, 1)]
        anchors = np.stack(columns, axis=1)
    return best


def _means(
    values: NDArray[np.float64], groups: NDArray[np.intp], fallback: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean of each group; groups without members keep their ``fallback``."""
    counts = np.bincount(groups, minlength=len(fallback))
    sums = np.bincount(groups, weights=values, minlength=len(fallback))
    return np.where(counts > 0, sums / np.maximum(counts, 1), fallback)


def _grid(scale: NDArray[np.float64], ratio: NDArray[np.float64]) -> Sizes:
    """Widths and heights of every combination, ratios fastest, from logarithms."""
    widths = np.exp(scale[:, None] - ratio[None] / 2)
    heights = np.exp(scale[:, None] + ratio[None] / 2)
    return np.stack([widths.ravel(), heights.ravel()], axis=1)


def _iou(sizes: Sizes, anchors: Sizes) -> NDArray[np.float64]:
    """IoU of boxes with one centre: [N, 2] and [K, 2] to [N, K]."""
    shared = np.minimum(sizes[:, None, 0], anchors[None, :, 0]) * np.minimum(sizes[:, None, 1], anchors[None, :, 1])
    return shared / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - shared)


def _sample(sizes: Sizes, random: np.random.Generator) -> Sizes:
    if len(sizes) <= FITTED_BOXES:
        return sizes
    return sizes[random.choice(len(sizes), FITTED_BOXES, replace=False)]

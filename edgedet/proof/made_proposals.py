"""Proposals for proofs and measurements of networks that get theirs from outside: the same on every machine."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import PROPOSAL_COUNT, PROPOSALS
from edgedet.proof.golden_scene import splitmix64

WIDEST, NARROWEST = 2, 16
"""Sides of strewn proposals are the frame's over numbers between these."""
LEVELS = range(32, 256, 32)
"""Brightness at which a frame is cut into regions."""
MIN_AREA = 64
"""Minimum area of a region, in pixels of the frame at half its size."""
OF_REGIONS = 0.75
"""Share of made proposals that are taken from the frame."""


def made_proposals(frame: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Boxes of what stands out in a frame, filled up with strewn ones; by integer arithmetic.

    Args:
        frame: uint8 [H, W, 3] BGR.
        count: number of boxes.

    Returns:
        float32 [count, 4]: x1, y1, x2, y2 in whole pixels of the frame.

    >>> frame = np.zeros((64, 96, 3), np.uint8)
    >>> frame[16:48, 32:64] = 200
    >>> made_proposals(frame, 2)[0].tolist()
    [32.0, 16.0, 64.0, 48.0]
    """
    height, width = frame.shape[:2]
    regions = _regions(np.asarray(frame))[: max(int(count * OF_REGIONS), 1)]
    return np.concatenate([regions, strewn_proposals(height, width, count - len(regions))])


def _regions(frame: NDArray[Any]) -> NDArray[np.float32]:
    """Boxes of connected regions that are brighter, or darker, than a level; the fullest first."""
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    green = frame[:height, :width, 1].astype(np.uint16)
    half = (green[::2, ::2] + green[1::2, ::2] + green[::2, 1::2] + green[1::2, 1::2]) // 4
    found: dict[tuple[int, int, int, int], int] = {}
    for level in LEVELS:
        for mask in (half > level, half <= level):
            _, _, regions, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
            for x, y, across, down, area in regions[1:].tolist():
                if area >= MIN_AREA and across * down < half.size * 3 // 4:
                    found.setdefault((x, y, x + across, y + down), area * 1000 // (across * down))
    fullest = sorted(found, key=lambda box: (-found[box], box))
    return 2 * np.array(fullest, np.float32).reshape(-1, 4)


def strewn_proposals(height: int, width: int, count: int) -> NDArray[np.float32]:
    """Boxes strewn over a frame, by integer arithmetic and a hash: where time is all that counts.

    Args:
        height: of the frame, in pixels.
        width: likewise.
        count: number of boxes.

    Returns:
        float32 [count, 4]: x1, y1, x2, y2 in whole pixels, each within the frame.

    >>> strewn_proposals(480, 640, 2).tolist() == strewn_proposals(480, 640, 3)[:2].tolist()
    True
    """
    return _strewn(height, width, count).copy()


@lru_cache(maxsize=8)
def _strewn(height: int, width: int, count: int) -> NDArray[np.float32]:
    draws = splitmix64(np.arange(4 * count, dtype=np.uint64)).reshape(count, 4)
    # 16 bits are enough to draw from, and no product of them with a side of a frame overflows.
    draws = (draws >> np.uint64(40)) & np.uint64(0xFFFF)
    boxes = np.zeros((count, 4), np.int64)
    for axis, side in ((0, width), (1, height)):
        least, most = max(side // NARROWEST, 1), max(side // WIDEST, 1)
        extent = least + (draws[:, axis].astype(np.int64) * (most - least + 1) >> 16)
        start = draws[:, 2 + axis].astype(np.int64) * (side - extent + 1) >> 16
        boxes[:, axis], boxes[:, 2 + axis] = start, start + extent
    return boxes.astype(np.float32)


def propose_made(detector: Any) -> None:
    """Give a detector whose proposals come from outside made ones, for proofs of it."""
    count = detector.card.input.proposals
    if count is not None:
        detector.proposer = lambda frame: made_proposals(frame, count)


def propose_alike(*detectors: Any) -> int:
    """Give detectors that are compared the same made proposals, if one of them takes its own from outside.

    Returns:
        How many for every frame: as many as all of them take; 0 where each finds them by itself.
    """
    counts = [each.card.input.proposals for each in detectors if each.card.input.proposals is not None]
    if not counts:
        return 0
    count = min(counts)
    for each in detectors:
        each.proposer = lambda frame: made_proposals(frame, count)
    return int(count)


def propose_strewn(detector: Any) -> None:
    """Give a detector whose proposals come from outside strewn ones, as many as it takes, to measure its time."""
    count = detector.card.input.proposals
    if count is not None:
        detector.proposer = lambda frame: strewn_proposals(frame.shape[0], frame.shape[1], count)


def strewn_inputs(shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Strewn proposals as input tensors, for whoever runs a network on prepared images alone.

    Args:
        shapes: of the network's inputs; the images' is [N, H, W, 3].

    Returns:
        Those of the tensors ``proposals`` and ``proposal_count`` that the network takes.
    """
    if PROPOSALS not in shapes and PROPOSAL_COUNT not in shapes:
        return {}
    found: dict[str, NDArray[Any]] = {}
    batch, height, width = next(shape[:3] for shape in shapes.values() if len(shape) == 4)
    count = shapes[PROPOSALS][1] if PROPOSALS in shapes else np.iinfo(np.int32).max
    if PROPOSALS in shapes:
        boxes = np.broadcast_to(strewn_proposals(height, width, count), (batch, count, 4))
        found[PROPOSALS] = np.ascontiguousarray(boxes)
    if PROPOSAL_COUNT in shapes:
        found[PROPOSAL_COUNT] = np.full(batch, count, np.int32)
    return found

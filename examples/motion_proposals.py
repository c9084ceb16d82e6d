"""Look only where something moves: proposals from frame differences for a two-stage detector without an RPN.

    edgedet export fasterrcnn.pt --outside-proposals 24 -o second_stage.onnx
    python examples/motion_proposals.py second_stage.onnx street.mp4

For cameras that stand still. What does not move for two seconds becomes background, and is found no more.
"""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgedet import Detector
from edgedet.pictures.frames import as_bgr


class MotionProposer:
    """Boxes around what differs from the picture's running mean; a ``Detector.proposer``.

    ``most``: boxes per frame. ``difference``: grey levels above which a pixel moved. ``memory``: share of a new
    frame in the mean. ``shrink``: frames are looked at at 1 / shrink of their size. Boxes are grown by each of
    ``margins``, shares of their sides: the second stage mends a box that is a little off, not one that misses half.
    """

    def __init__(
        self,
        most: int,
        *,
        difference: int = 14,
        memory: float = 0.02,
        shrink: int = 4,
        margins: tuple[float, ...] = (0.0, 0.12),
    ) -> None:
        self.most = most
        self.difference = difference
        self.memory = memory
        self.shrink = shrink
        self.margins = margins
        self._mean: np.ndarray | None = None

    def __call__(self, frame: Any) -> np.ndarray:
        """float32 [N, 4], x1, y1, x2, y2 in pixels of ``frame``, the largest first; none in the first frame."""
        pixels = as_bgr(frame)
        height, width = pixels.shape[:2]
        small = cv2.resize(
            pixels, (max(width // self.shrink, 1), max(height // self.shrink, 1)), interpolation=cv2.INTER_AREA
        ).astype(np.float32)
        if self._mean is None or self._mean.shape != small.shape:
            self._mean = small
            return np.zeros((0, 4), np.float32)
        moved = np.abs(small - self._mean).max(axis=2) > self.difference
        cv2.accumulateWeighted(small, self._mean, self.memory)
        closed = cv2.morphologyEx(moved.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        _, _, regions, _ = cv2.connectedComponentsWithStats(closed)
        regions = regions[1:][regions[1:, cv2.CC_STAT_AREA] >= 9]
        regions = regions[np.argsort(-regions[:, cv2.CC_STAT_AREA], kind="stable")]
        corners = regions[:, :2].astype(np.float32)
        sizes = regions[:, 2:4].astype(np.float32)
        scale = np.array([width / small.shape[1], height / small.shape[0]], np.float32)
        # All margins of the largest region come before the next region's.
        boxes = np.stack(
            [
                np.concatenate([(corners - grow * sizes) * scale, (corners + (1 + grow) * sizes) * scale], axis=1)
                for grow in self.margins
            ],
            axis=1,
        ).reshape(-1, 4)
        return np.asarray(np.clip(boxes, 0, [width, height] * 2), np.float32)[: self.most]


def main() -> int:
    """Print what is found in every frame."""
    artifact, source = sys.argv[1:3]
    with Detector(artifact) as detector:
        if detector.card.input.proposals is None:
            print(f"{artifact} makes its own proposals; export it with --outside-proposals", file=sys.stderr)
            return 2
        detector.proposer = MotionProposer(detector.card.input.proposals)
        for frame, detections in detector.stream(source):
            print(frame.name, detections, f"{detector.last_timing.total:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())

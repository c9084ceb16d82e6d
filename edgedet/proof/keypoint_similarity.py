"""How alike the keypoints of two detections are: COCO's object keypoint similarity, with one sigma for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.keypoint_skeleton import seen_keypoints
from edgedet.detections import Detections

SIGMA = 0.05
"""Share of an object's size (the root of its area) by which people differ on where a keypoint is: COCO has 0.025
for eyes and 0.107 for hips. A point that is off by twice this share counts 0.61."""


def keypoint_similarities(
    reference: Detections, candidate: Detections, asked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Similarity in [0, 1] of every pair of detections, float64 [N, M]; 0 where not ``asked``.

    The mean over the keypoints that either of the two sees; 1 where neither sees any. The size is that of the
    reference's box. Detections with other numbers of keypoints are not alike at all.
    """
    first, second = reference.keypoints, candidate.keypoints
    assert first is not None and second is not None
    similarities = np.zeros(asked.shape)
    if first.shape[1] != second.shape[1]:
        return similarities
    rows, columns = np.nonzero(asked)
    sides = (reference.boxes[:, 2:] - reference.boxes[:, :2]).astype(np.float64)
    spread = 2 * (2 * SIGMA) ** 2 * np.maximum(sides.prod(axis=1), 1.0)
    apart = np.square(first[rows, :, :2].astype(np.float64) - second[columns, :, :2]).sum(axis=2)
    alike = np.exp(-apart / spread[rows, None])
    seen = seen_keypoints(first, reference.skeleton)[rows] | seen_keypoints(second, candidate.skeleton)[columns]
    counts = seen.sum(axis=1)
    similarities[rows, columns] = np.where(counts, (alike * seen).sum(axis=1) / np.maximum(counts, 1), 1.0)
    return similarities

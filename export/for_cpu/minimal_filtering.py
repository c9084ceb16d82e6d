"""The matrices of F(2 x 2, 3 x 3), Lavin and Gray's minimal filtering (arXiv:1509.09308, equation 8): 16
multiplications give four outputs of a 3 x 3 convolution, where the plain sum takes 36."""

from __future__ import annotations

import numpy as np

from edgedet.onnx_graph.network import Array

INPUT_TRANSFORM = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64)
WEIGHT_TRANSFORM = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float64)
OUTPUT_TRANSFORM = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64)
"""B^T, G and A^T of the equation."""


def tiles(size: int) -> int:
    """How many outputs' pairs an axis of ``size`` has."""
    return -(-size // 2)


def tiling(size: int) -> Array:
    """[4 * tiles, size]: one axis of a map, padded by one on either side, to the transformed 4-wide tiles at steps
    of 2. Row ``place * tiles + tile`` is what the transform leaves at that place of that tile."""
    count = tiles(size)
    padded = np.zeros((4, count, 2 * count + 2))
    for tile in range(count):
        padded[:, tile, 2 * tile : 2 * tile + 4] = INPUT_TRANSFORM
    return padded[:, :, 1 : size + 1].reshape(4 * count, size).astype(np.float32)


def untiling(size: int) -> Array:
    """[size, 4 * tiles]: products along one axis, in the order of :func:`tiling`, to the outputs."""
    count = tiles(size)
    whole = np.zeros((2 * count, 4, count))
    for tile in range(count):
        whole[2 * tile : 2 * tile + 2, :, tile] = OUTPUT_TRANSFORM
    return whole[:size].reshape(size, 4 * count).astype(np.float32)


def kernel_places(weight: Array) -> Array:
    """A kernel [O, C, 3, 3] to one of the 16 products each, float64 [4, 4, C, O]."""
    places: Array = np.einsum("ai,ocij,bj->abco", WEIGHT_TRANSFORM, weight.astype(np.float64), WEIGHT_TRANSFORM)
    return places


def kernel_from(places: Array) -> Array:
    """:func:`kernel_places` undone, exact up to rounding: float32 [O, C, 3, 3]."""
    back = np.linalg.pinv(WEIGHT_TRANSFORM)
    restored = np.einsum("ia,abco,jb->ocij", back, places.astype(np.float64), back)
    return np.ascontiguousarray(restored, np.float32)

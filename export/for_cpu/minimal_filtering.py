"""Lavin and Gray's minimal filtering (arXiv:1509.09308): 3 x 3 convolutions by fewer multiplications.

F(2 x 2, 3 x 3) makes four outputs with 16 multiplications, where the plain sum takes 36, F(4 x 4, 3 x 3) sixteen
with 36, where that takes 144, F(5 x 5, 3 x 3) 25 with 49, where that takes 225. The larger, the coarser it rounds:
over four convolutions, by 6e-7 of the largest value, by 5e-6 and by 7e-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedet.onnx_graph.network import Array


@dataclass(frozen=True)
class MinimalFilter:
    """F(m x m, 3 x 3); ``inputs``, ``weights`` and ``outputs`` are B^T, G and A^T of the paper's equation 8."""

    inputs: Array
    weights: Array
    outputs: Array

    @property
    def step(self) -> int:
        """m: how many outputs along an axis a tile gives."""
        return len(self.outputs)

    @property
    def places(self) -> int:
        """How many multiplications along an axis they take, m + 2: as many as inputs."""
        return len(self.inputs)

    def tiles(self, size: int) -> int:
        """How many tiles an axis of ``size`` has."""
        return -(-size // self.step)

    def tiling(self, size: int) -> Array:
        """[places * tiles, size]: one axis of a map, padded by one on either side, to its transformed tiles. Row
        ``place * tiles + tile`` is what the transform leaves at that place of that tile."""
        count, step = self.tiles(size), self.step
        padded = np.zeros((self.places, count, step * count + 2))
        for tile in range(count):
            padded[:, tile, step * tile : step * tile + self.places] = self.inputs
        return padded[:, :, 1 : size + 1].reshape(-1, size).astype(np.float32)

    def untiling(self, size: int) -> Array:
        """[size, places * tiles]: products along one axis, in the order of :meth:`tiling`, to the outputs."""
        count, step = self.tiles(size), self.step
        whole = np.zeros((step * count, self.places, count))
        for tile in range(count):
            whole[step * tile : step * (tile + 1), :, tile] = self.outputs
        return whole[:size].reshape(size, -1).astype(np.float32)

    def kernel_places(self, weight: Array) -> Array:
        """A kernel [O, C, 3, 3] to one of each of the products, float64 [places, places, C, O]."""
        places: Array = np.einsum("ai,ocij,bj->abco", self.weights, weight.astype(np.float64), self.weights)
        return places

    def kernel_from(self, places: Array) -> Array:
        """:meth:`kernel_places` undone, exact up to rounding: float32 [O, C, 3, 3]."""
        back = np.linalg.pinv(self.weights)
        restored = np.einsum("ia,abco,jb->ocij", back, places.astype(np.float64), back)
        return np.ascontiguousarray(restored, np.float32)


TWO = MinimalFilter(
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64),
    np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float64),
    np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64),
)
FOUR = MinimalFilter(
    np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        np.float64,
    ),
    np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64) / 24,
    np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64),
)


def by_points(*points: float) -> MinimalFilter:
    """Toom and Cook's filter over ``points`` and infinity: F(m x m, 3 x 3) for m - 1 different, small points.

    Inputs are interpolated, weights and products evaluated (Barabasz et al., arXiv:1803.10986, section 3). Rows of
    the first two are scaled against each other, by powers of two, so that transformed inputs stay as large as
    inputs.
    """

    def powers(count: int) -> Array:
        return np.array([[point**power for power in range(count)] for point in points] + [[0] * (count - 1) + [1]])

    inputs: Array = np.linalg.inv(powers(len(points) + 1)).T
    scales = 2.0 ** -np.round(np.log2(np.abs(inputs).sum(1, keepdims=True)))
    return MinimalFilter(inputs * scales, powers(3) / scales, powers(len(points) - 1).T)


FIVE = by_points(0, 1, -1, 2, -2, 0.5)

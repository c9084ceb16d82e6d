"""Motion of boxes, foretold: a Kalman filter for each, of constant velocity, over seconds and not over frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NOISE = 0.05
"""Standard deviation of a detector's box, as a share of its size."""
START_SPEED = 1.5
"""Standard deviation of a new box's velocity, in sizes per second."""
ACCELERATION = 3.0
"""Standard deviation of the acceleration, in sizes per second squared: what a turning head does to a view."""


class Motion:
    """Boxes that move. Centre and sides are filtered one by one: matrices of SORT and ByteTrack couple none.

    Cameras and slow detectors leave out frames, so that the time between two frames is no constant here.
    """

    def __init__(self) -> None:
        self._value = np.zeros((0, 4))
        self._speed = np.zeros((0, 4))
        # Variance of the value, covariance of both, variance of the velocity.
        self._spread = np.zeros((3, 0, 4))

    def __len__(self) -> int:
        return len(self._value)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Float64 [N, 4], x1, y1, x2, y2 in pixels."""
        half = np.maximum(self._value[:, 2:], 1.0) / 2
        return np.concatenate([self._value[:, :2] - half, self._value[:, :2] + half], axis=1)

    def add(self, boxes: NDArray[np.floating]) -> None:
        """Follow further boxes, float [M, 4], x1, y1, x2, y2 in pixels."""
        value = _centres(boxes)
        size = _size(value)
        zero = np.zeros_like(value)
        spread = np.stack([zero + (NOISE * size) ** 2, zero, zero + (START_SPEED * size) ** 2])
        self._value = np.concatenate([self._value, value])
        self._speed = np.concatenate([self._speed, zero])
        self._spread = np.concatenate([self._spread, spread], axis=1)

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Forget the others."""
        self._value, self._speed, self._spread = self._value[which], self._speed[which], self._spread[:, which]

    def pass_time(self, seconds: float) -> None:
        """Move all of them on."""
        place, both, speed = self._spread
        force = (ACCELERATION * _size(self._value)) ** 2
        self._value = self._value + seconds * self._speed
        self._spread = np.stack(
            [
                place + 2 * seconds * both + seconds**2 * speed + force * seconds**4 / 4,
                both + seconds * speed + force * seconds**3 / 2,
                speed + force * seconds**2,
            ]
        )

    def correct(self, which: NDArray[np.intp], boxes: NDArray[np.floating]) -> None:
        """These were seen at ``boxes``, float [M, 4], x1, y1, x2, y2 in pixels."""
        seen = _centres(boxes)
        place, both, speed = self._spread[:, which]
        total = place + (NOISE * _size(seen)) ** 2
        wrong = seen - self._value[which]
        self._value[which] += place / total * wrong
        self._speed[which] += both / total * wrong
        left = 1 - place / total
        self._spread[:, which] = np.stack([place * left, both * left, speed - both**2 / total])


def _centres(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Centre and sides."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)


def _size(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Side of a square of the same area, [N, 1], in pixels."""
    return np.sqrt(np.prod(np.maximum(value[:, 2:], 1.0), axis=1, keepdims=True))

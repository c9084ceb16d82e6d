"""A part of the frame: a rectangle or polygon, in shares of the frame or in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import UsageError


@dataclass(frozen=True)
class Region:
    """A polygon in which the centre of a box must lie.

    Attributes:
        points: its corners, (x, y) each, three or more. Where all of them are from 0 to 1, they are shares of the
            frame's width and height; else pixels.

    Raises:
        UsageError: fewer than three points, no area, numbers below 0 or not finite; or neither shares nor pixels:
            some numbers above 1, and others that are not whole, or less than two pixels wide or high.

    >>> right_half = Region(((0.5, 0), (1, 0), (1, 1), (0.5, 1)))
    >>> right_half.contains(np.array([[50, 10, 60, 20], [0, 0, 20, 20]]), (100, 80)).tolist()
    [True, False]
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        points = tuple((float(x), float(y)) for x, y in self.points)
        object.__setattr__(self, "points", points)
        if len(points) < 3:
            raise UsageError(f"a region of {len(points)} points has no inside; expected three points or more")
        for value in (value for point in points for value in point):
            if not 0 <= value < math.inf:
                raise UsageError(f"the region has a corner at {value:g}; expected shares or pixels from 0 on")
        around = np.array(points)
        x, y = around.T
        if abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) < 1e-9:
            raise UsageError("the region has no area; expected corners in order around it")
        if self.in_pixels:
            broken = next((value for point in points for value in point if value != int(value)), None)
            if broken is not None:
                raise UsageError(
                    f"the region has a corner at {broken:g} and one at {around.max():g}; expected shares of the "
                    "frame, all from 0 to 1, or whole pixels"
                )
            if np.ptp(around, axis=0).min() < 2:
                wide, high = np.ptp(around, axis=0)
                raise UsageError(
                    f"the region is {wide:g}x{high:g} pixels, too narrow for the centre of a box; expected shares "
                    "of the frame, all from 0 to 1, or two pixels and more"
                )

    @property
    def in_pixels(self) -> bool:
        """Whether its corners are pixels, and not shares of the frame."""
        return any(value > 1 for point in self.points for value in point)

    @staticmethod
    def parse(text: str) -> Region:
        """Read ``x1,y1,x2,y2`` (a rectangle) or ``x,y x,y x,y …`` (a polygon).

        Args:
            text: numbers from 0 to 1 as shares of the frame, else pixels.

        Returns:
            The region.

        Raises:
            UsageError: anything else.

        >>> Region.parse("0,0.5,1,1").points
        ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
        """
        try:
            points = [tuple(float(value) for value in part.split(",")) for part in text.split()]
        except ValueError:
            points = []
        if len(points) == 1 and len(points[0]) == 4:
            left, top, right, bottom = points[0]
            if not (left < right and top < bottom):
                raise UsageError(f"region {text!r} is no rectangle; expected x1,y1,x2,y2 with x1 < x2 and y1 < y2")
            return Region(((left, top), (right, top), (right, bottom), (left, bottom)))
        if not points or any(len(point) != 2 for point in points):
            raise UsageError(
                f"region {text!r} is not understood; expected x1,y1,x2,y2 or three points or more 'x,y x,y x,y', "
                "in shares of the frame (0 to 1) or in pixels"
            )
        return Region(tuple((point[0], point[1]) for point in points))

    def misfit(self, frame_size: tuple[int, int]) -> str | None:
        """Why it was meant for other frames.

        Args:
            frame_size: (height, width) in pixels.

        Returns:
            One sentence; None where it fits.
        """
        height, width = frame_size
        x, y = np.array(self.points).max(0)
        if not self.in_pixels or (x <= width and y <= height):
            return None
        return (
            f"the region reaches to {x:g},{y:g}, and the frame has {width}x{height} pixels; give it for frames "
            "of this size, or in shares of the frame (0 to 1)"
        )

    def contains(
        self, boxes: NDArray[np.floating] | Sequence[Sequence[float]], frame_size: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Whether the centres of boxes lie inside.

        Args:
            boxes: float [N, 4], x1, y1, x2, y2 in pixels of the frame.
            frame_size: (height, width) in pixels.

        Returns:
            bool [N].

        Raises:
            UsageError: the region is in pixels, and reaches beyond such a frame: it was meant for another.
        """
        misfit = self.misfit(frame_size)
        if misfit is not None:
            raise UsageError(misfit)
        height, width = frame_size
        corners = np.array(self.points)
        if not self.in_pixels:
            corners = corners * (width, height)
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T
        inside = np.zeros(len(boxes), bool)
        # Even-odd rule: a ray to the right crosses the outline an odd number of times.
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y1 != y2:
                crosses = (y1 > y) != (y2 > y)
                inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
        return inside

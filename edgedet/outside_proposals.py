"""Proposals from outside: boxes of the caller's frame become the second input of a two-stage network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import PROPOSAL_COUNT, PROPOSALS, InputSpec
from edgedet.errors import ProposalsError
from edgedet.geometry import ResizeGeometry


class ProposalInput:
    """The input tensors of one network that takes proposals, filled place by place of the batch.

    Attributes:
        tensors: ``proposals`` float32 [N, P, 4] in canvas pixels, zero past ``proposal_count`` int32 [N].

    >>> from edgedet.geometry import plan_resize
    >>> from edgedet.artifacts.card import ResizeRule
    >>> place = plan_resize(ResizeRule("stretch"), 100, 200, 50, 50)
    >>> given = ProposalInput(InputSpec(height=50, width=50, proposals=2))
    >>> given.place(np.array([[20, 10, 120, 60]]), place, 0)
    1
    >>> given.tensors["proposals"][0].tolist()
    [[5.0, 5.0, 30.0, 30.0], [0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, spec: InputSpec) -> None:
        self._most = spec.proposals or 0
        boxes = np.zeros((spec.batch, self._most, 4), np.float32)
        self.tensors: dict[str, NDArray[Any]] = {
            PROPOSALS: boxes,
            PROPOSAL_COUNT: np.zeros(spec.batch, np.int32),
        }

    def place(self, boxes: Any, geometry: ResizeGeometry, slot: int) -> int:
        """Put the proposals of the frame that lies at ``geometry`` into place ``slot``; returns how many they are.

        Raises:
            ProposalsError: as :func:`checked_proposals`, or more of them than the network has places for.
        """
        checked = checked_proposals(boxes, geometry.frame_height, geometry.frame_width)
        if len(checked) > self._most:
            raise ProposalsError(
                f"{len(checked)} proposals, and this artifact takes {self._most} at most: pass the best of them, "
                "or export it with a larger --outside-proposals"
            )
        rows = self.tensors[PROPOSALS][slot]
        rows[: len(checked)] = geometry.to_canvas(checked)
        rows[len(checked) :] = 0
        self.tensors[PROPOSAL_COUNT][slot] = len(checked)
        return len(checked)

    def leave_empty(self, slot: int) -> None:
        """No proposals for a place of the batch that no frame has."""
        self.tensors[PROPOSALS][slot] = 0
        self.tensors[PROPOSAL_COUNT][slot] = 0


def checked_proposals(boxes: Any, height: int, width: int) -> NDArray[np.float32]:
    """Proposals as float32 [N, 4], clipped to their frame of ``height`` x ``width``, as a network's own are.

    ``boxes``: numbers [N, 4], x1, y1, x2, y2 in pixels of the frame; an empty list is none.

    Raises:
        ProposalsError: another shape or kind, not finite, corners in the wrong order, shares of the frame, or
            boxes that lie outside it.

    >>> checked_proposals([[-5, 10, 30, 40]], 100, 200).tolist()
    [[0.0, 10.0, 30.0, 40.0]]
    """
    array = box_array(boxes)
    if array.size == 0 and array.ndim in (1, 2) and array.shape[-1] in (0, 4):
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "fiu":
        raise ProposalsError(
            f"proposals are {array.dtype} {list(array.shape)}, expected numbers [N, 4]: x1, y1, x2, y2 in pixels "
            "of the frame"
        )
    array = array.astype(np.float64)
    _refuse(array, np.any(~np.isfinite(array), axis=1), "which is not finite")
    inverted: NDArray[np.bool_] = np.any(array[:, 2:] <= array[:, :2], axis=1)
    _refuse(array, inverted, "expected x1 < x2 and y1 < y2: corners, not a corner with width and height")
    if np.abs(array).max() <= 1 and min(height, width) > 1:
        raise ProposalsError(
            f"proposals such as {_row(array[0])} are shares of the frame, expected its pixels: multiply by "
            f"{width} and {height}"
        )
    clipped = np.clip(array, 0, [width, height] * 2).astype(np.float32)
    outside: NDArray[np.bool_] = np.any(clipped[:, 2:] <= clipped[:, :2], axis=1)
    _refuse(
        array, outside, f"which lies outside the frame of {width}x{height}: leave it out, or pass its own frame"
    )
    return clipped


def box_array(boxes: Any) -> NDArray[Any]:
    """Whatever was given for boxes as an array, of any shape.

    Raises:
        ProposalsError: rows of different lengths, or what no array is made of.
    """
    try:
        return np.asarray(boxes)
    except (TypeError, ValueError) as error:
        raise ProposalsError(
            f"proposals are a {type(boxes).__name__} whose rows differ in length or kind, expected numbers [N, 4]: "
            "x1, y1, x2, y2 in pixels of the frame (of Detections, their boxes)"
        ) from error


def _refuse(boxes: NDArray[np.float64], wrong: NDArray[np.bool_], why: str) -> None:
    """Name the first box that is ``wrong``."""
    if wrong.any():
        number = int(np.argmax(wrong))
        raise ProposalsError(f"proposal {number} is {_row(boxes[number])}, {why}")


def _row(box: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"

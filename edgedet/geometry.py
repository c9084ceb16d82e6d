"""A frame's place on the input canvas, and the way back for boxes: arithmetic, no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import ResizeRule


@dataclass(frozen=True)
class ResizeGeometry:
    """A frame of ``frame_height`` x ``frame_width`` resized to ``height`` x ``width`` at (``left``, ``top``).

    ``scale_x``, ``scale_y``: canvas pixels per frame pixel, as the training framework uses them to map
    boxes back. They may differ from ``width / frame_width`` by the rounding of the content's size.
    ``shift_x``, ``shift_y``: what it adds to ``left`` and ``top`` in doing so. ``by_ratios``: it multiplies by the
    ratio of frame to content, both float32, as torchvision's ``resize_boxes`` does: the last digit decides at which
    pixel a mask begins.
    """

    frame_height: int
    frame_width: int
    height: int
    width: int
    left: int
    top: int
    scale_x: float
    scale_y: float
    shift_x: float = 0.0
    shift_y: float = 0.0
    by_ratios: bool = False

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Canvas boxes [N, 4] (x1, y1, x2, y2) to frame pixels, clipped to the frame."""
        offset = np.array([self.left + self.shift_x, self.top + self.shift_y] * 2, np.float32)
        limit = np.array([self.frame_width, self.frame_height] * 2, np.float32)
        return np.clip(self._back(boxes - offset, 2), 0, limit)

    def points_to_frame(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Canvas points [..., 2] (x, y) to frame pixels, also those beyond the frame's edges."""
        offset = np.array([self.left + self.shift_x, self.top + self.shift_y], np.float32)
        return np.asarray(self._back(points - offset, 1), np.float32)

    def _back(self, values: NDArray[np.float32], points: int) -> NDArray[np.float32]:
        """Pixels of the content, ``points`` pairs of x and y in a row, in those of the frame."""
        if self.by_ratios:
            frame = np.array([self.frame_width, self.frame_height] * points, np.float32)
            content = np.array([self.width, self.height] * points, np.float32)
            return np.multiply(values, np.divide(frame, content))
        return np.divide(values, np.array([self.scale_x, self.scale_y] * points, np.float32))

    def to_canvas(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frame boxes [N, 4] (x1, y1, x2, y2) to canvas pixels."""
        offset = np.array([self.left + self.shift_x, self.top + self.shift_y] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y], np.float32)
        return boxes * scale + offset


def plan_resize(
    rule: ResizeRule, frame_height: int, frame_width: int, canvas_height: int, canvas_width: int
) -> ResizeGeometry:
    """Place a frame on the canvas as ``rule`` says.

    >>> rule = ResizeRule("letterbox", place="center", rounding="round")
    >>> plan_resize(rule, 1080, 1920, 640, 640)
    ResizeGeometry(frame_height=1080, frame_width=1920, height=360, width=640, left=0, top=140,
                   scale_x=0.333..., scale_y=0.333...)
    """
    if rule.rule == "none":
        return ResizeGeometry(frame_height, frame_width, frame_height, frame_width, 0, 0, 1.0, 1.0)
    if rule.rule == "stretch":
        return ResizeGeometry(
            frame_height,
            frame_width,
            canvas_height,
            canvas_width,
            0,
            0,
            canvas_width / frame_width,
            canvas_height / frame_height,
        )
    if rule.rule == "shortest_side":
        height, width = shortest_side_size(rule, frame_height, frame_width)
        if height <= canvas_height and width <= canvas_width:
            # torchvision maps boxes back by the ratio of the rounded sizes, per axis.
            return ResizeGeometry(
                frame_height,
                frame_width,
                height,
                width,
                0,
                0,
                width / frame_width,
                height / frame_height,
                by_ratios=rule.rounding != "divide",
            )
    if rule.rounding == "divide" and rule.rule == "letterbox":
        return _divided(frame_height, frame_width, canvas_height, canvas_width)
    scale = min(canvas_height / frame_height, canvas_width / frame_width)
    if not rule.enlarge:
        scale = min(scale, 1.0)
    # No guard against float error before rounding: the frameworks have none, so 23 * (416 / 23) floors to 415.
    height = min(max(_whole(frame_height * scale, rule), 1), canvas_height)
    width = min(max(_whole(frame_width * scale, rule), 1), canvas_width)
    left = top = 0
    if rule.place == "center":
        # Odd remainders put the smaller half first, as Ultralytics does (round(x - 0.1)).
        left = round((canvas_width - width) / 2 - 0.1)
        top = round((canvas_height - height) / 2 - 0.1)
    if rule.rule == "letterbox" and rule.rounding == "floor":
        # YOLOX divides boxes by the one scale it asked for ...
        scale_x = scale_y = scale
    else:
        # ... Ultralytics (since 8.4) and torchvision by the ratio of the rounded sizes, per axis.
        scale_x, scale_y = width / frame_width, height / frame_height
    return ResizeGeometry(frame_height, frame_width, height, width, left, top, scale_x, scale_y)


def _whole(side: float, rule: ResizeRule) -> int:
    """A side in whole pixels."""
    if rule.rounding == "round":
        return round(side)
    return math.floor(side + 0.5) if rule.rounding == "half_up" else math.floor(side)


def _divided(frame_height: int, frame_width: int, canvas_height: int, canvas_width: int) -> ResizeGeometry:
    """Darknet's ``letterbox_image`` and ``correct_yolo_boxes``, which compares the scales in float32."""
    if np.float32(canvas_width) / np.float32(frame_width) < np.float32(canvas_height) / np.float32(frame_height):
        width, height = canvas_width, frame_height * canvas_width // frame_width
    else:
        width, height = frame_width * canvas_height // frame_height, canvas_height
    width, height = max(width, 1), max(height, 1)
    # A border of 91 pixels has its content at 45, and boxes go back from 45.5.
    left, shift_x = divmod((canvas_width - width) / 2, 1)
    top, shift_y = divmod((canvas_height - height) / 2, 1)
    return ResizeGeometry(
        frame_height,
        frame_width,
        height,
        width,
        int(left),
        int(top),
        width / frame_width,
        height / frame_height,
        shift_x,
        shift_y,
    )


def shortest_side_size(rule: ResizeRule, frame_height: int, frame_width: int) -> tuple[int, int]:
    """Height and width after torchvision's detection resize (``GeneralizedRCNNTransform``), or that of its presets
    (``transforms.functional.resize``) where the rounding is ``divide``.

    >>> shortest_side_size(ResizeRule("shortest_side", min_size=320, max_size=640), 480, 640)
    (320, 426)
    >>> shortest_side_size(ResizeRule("shortest_side", min_size=520, max_size=693, rounding="divide"), 480, 640)
    (520, 693)
    """
    assert rule.min_size is not None and rule.max_size is not None
    if rule.rounding == "divide":
        shortest = min(frame_height, frame_width)
        sides = rule.min_size * frame_height // shortest, rule.min_size * frame_width // shortest
        if max(sides) <= rule.max_size:
            return sides
    # In double precision, as torchvision's eager mode: a float32 scale floors half of all frame sizes differently.
    scale = min(rule.min_size / min(frame_height, frame_width), rule.max_size / max(frame_height, frame_width))
    return max(math.floor(frame_height * scale), 1), max(math.floor(frame_width * scale), 1)

"""From frames to the network's input tensor, in buffers that are kept from call to call."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.card import InputSpec, ResizeRule
from edgedet.frames import as_bgr
from edgedet.geometry import ResizeGeometry, plan_resize


class Preprocessor:
    """Prepares frames for one network. Not safe for several threads at once.

    ``tensor`` is the input: [N, H, W, 3] or [N, 3, H, W] as ``InputSpec.layout`` says, of ``InputSpec.dtype``;
    the next :meth:`prepare` overwrites it. With the resize rule ``none`` it has the size of the last frame.
    """

    def __init__(self, spec: InputSpec, resize: ResizeRule) -> None:
        self._spec = spec
        self._resize = resize
        self._planar = spec.layout == "NCHW"
        shape = (spec.batch, spec.height, spec.width, 3) if resize.rule != "none" else (spec.batch, 1, 1, 3)
        # Foreign networks were trained on pixels resized in uint8; ours say so by their dtype.
        pixels: type[Any] = np.float32 if spec.dtype == "float32" and spec.normalise == "graph" else np.uint8
        self._canvas = np.empty(shape, pixels)
        self._pad = np.array(resize.pad, np.float64)
        if pixels is np.uint8:
            self._pad = np.rint(self._pad)
        self._painted: list[ResizeGeometry | None] = [None] * spec.batch
        self._tables = _normalisation_tables(spec) if spec.normalise == "host" else None
        self.tensor: NDArray[Any] = self._canvas
        if self._planar or self._tables is not None:
            self.tensor = np.zeros((shape[0], 3, *shape[1:3]) if self._planar else shape, np.dtype(spec.dtype))

    def prepare(self, frame: NDArray[Any], slot: int = 0) -> ResizeGeometry:
        """Put a frame (see :func:`edgedet.frames.as_bgr`) into ``tensor[slot]``; the frame is only read.

        Returns where it landed, which takes boxes back (:meth:`ResizeGeometry.to_frame`).

        Raises:
            FrameError: not an image.
        """
        pixels = as_bgr(frame)
        height, width = pixels.shape[:2]
        if self._resize.rule == "none":
            return self._take_whole(pixels)
        geometry = plan_resize(self._resize, height, width, self._spec.height, self._spec.width)
        canvas = self._canvas[slot]
        if self._painted[slot] != geometry:
            _paint_border(canvas, geometry, self._pad)
            self._painted[slot] = geometry
        content = canvas[
            geometry.top : geometry.top + geometry.height, geometry.left : geometry.left + geometry.width
        ]
        if canvas.dtype == np.uint8:
            if pixels.dtype != np.uint8:
                pixels = np.rint(pixels).astype(np.uint8)
            _resize_into(pixels, content)
        else:
            _resize_into(pixels.astype(np.float32, copy=False), content)
        if self.tensor is not self._canvas:
            self._convert(canvas, self.tensor[slot])
        return geometry

    def _take_whole(self, pixels: NDArray[Any]) -> ResizeGeometry:
        height, width = pixels.shape[:2]
        wanted = self._canvas.dtype
        if wanted == np.uint8 and pixels.dtype != np.uint8:
            pixels = np.rint(pixels)
        self.tensor = np.ascontiguousarray(pixels, dtype=wanted)[None]
        return ResizeGeometry(height, width, height, width, 0, 0, 1.0, 1.0)

    def _convert(self, canvas: NDArray[Any], target: NDArray[Any]) -> None:
        """Colour order, layout and, where the host does it, normalisation."""
        swap = self._spec.colour == "RGB"
        planes = cv2.split(canvas)
        for channel in range(3):
            plane = planes[2 - channel if swap else channel]
            place = target[channel] if self._planar else target[..., channel]
            if self._tables is not None:
                # One look-up does the whole arithmetic, exactly rounded; plain multiplication is slower.
                np.copyto(place, cv2.LUT(plane, self._tables[channel]))
            else:
                np.copyto(place, plane)


def _resize_into(pixels: NDArray[Any], content: NDArray[Any]) -> None:
    if pixels.shape == content.shape:
        np.copyto(content, pixels)
        return
    resized = cv2.resize(pixels, (content.shape[1], content.shape[0]), dst=content, interpolation=cv2.INTER_LINEAR)
    if not np.shares_memory(resized, content):
        np.copyto(content, resized.reshape(content.shape))


def _paint_border(canvas: NDArray[Any], geometry: ResizeGeometry, pad: NDArray[np.float64]) -> None:
    bottom, right = geometry.top + geometry.height, geometry.left + geometry.width
    for part in (
        canvas[: geometry.top],
        canvas[bottom:],
        canvas[geometry.top : bottom, : geometry.left],
        canvas[geometry.top : bottom, right:],
    ):
        part[...] = pad


def _normalisation_tables(spec: InputSpec) -> list[NDArray[np.float32]]:
    """(value * scale - mean) / std for every uint8 value, per channel of the tensor."""
    values = np.arange(256, dtype=np.float64)
    # `scale` is 1/255 as a float; dividing by its reciprocal gives value / 255 exactly rounded.
    scaled = values / round(1 / spec.scale, 9)
    mean, std = np.array(spec.mean), np.array(spec.std)
    if spec.colour != spec.trained_colour:
        mean, std = mean[::-1], std[::-1]
    return [((scaled - mean[c]) / std[c]).astype(np.float32)[None] for c in range(3)]

"""From frames to the network's input tensor, in buffers that are kept from call to call."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.geometry import ResizeGeometry, plan_resize
from edgedet.pictures.frames import as_bgr
from edgedet.resizing.aligned import AlignedResize
from edgedet.resizing.antialias import AntialiasedResize
from edgedet.resizing.byte_resize import OWN_CODE, ByteResize
from edgedet.resizing.four_pixels import FourPixelResize
from edgedet.resizing.torch_places import TorchResize

BAND_BYTES = 2_500_000
"""Size of the bands in which a shrinking frame is converted to float32 and resized. A band stays in the cache:
0.7 ms in place of 1.5 for a whole 1080p frame, and 2.5 MB of memory in place of 25."""
MAX_PHASES = 32
"""Largest number of distinct row phases that are resized phase by phase (:func:`_mix_rows`)."""

Array = NDArray[Any]

Sides = tuple[int, int]
PREPARED: dict[str, Callable[[Sides, Sides], FourPixelResize]] = {
    "align_corners": AlignedResize,
    "half_pixel_float32": TorchResize,
}
"""What resizes by tables of its own, by ``ResizeRule.coordinates``."""


class Preprocessor:
    """Prepares frames for one network. Not safe for several threads at once.

    ``tensor`` is the input: [N, H, W, 3] or [N, 3, H, W] as ``InputSpec.layout`` says, of ``InputSpec.dtype``;
    the next :meth:`prepare` overwrites it. With the resize rule ``none`` it has the size of the last frame.

    Resizing is bilinear with half-pixel centres, without antialiasing as OpenCV and torchvision's detectors train
    with, or with it (``ResizeRule.antialias``); or as Darknet does it or to PyTorch's last digit
    (``ResizeRule.coordinates``).
    A float32 tensor of pixels (0..255) keeps the fractions of interpolation; everywhere else they are rounded.
    With ``threads`` above one, large frames that are shrunk without aliasing are shared with a second one; OpenCV
    brings its own.

    >>> import numpy as np
    >>> preprocessor = Preprocessor(InputSpec(height=4, width=4), ResizeRule("letterbox"))
    >>> geometry = preprocessor.prepare(np.full((2, 4), 9, np.uint8))
    >>> preprocessor.tensor[0, :, 0, 0].tolist(), geometry.height
    ([9, 9, 114, 114], 2)
    """

    def __init__(self, spec: InputSpec, resize: ResizeRule, *, threads: int = 1) -> None:
        self._spec = spec
        self._resize = resize
        self._planar = spec.layout == "NCHW"
        height, width = (spec.height, spec.width) if resize.rule != "none" else (1, 1)
        shape = (spec.batch, 3, height, width) if self._planar else (spec.batch, height, width, 3)
        self.tensor: Array = np.zeros(shape, np.dtype(spec.dtype))
        self._geometries: list[ResizeGeometry | None] = [None] * spec.batch
        # Foreign networks take normalised floats, but were trained on pixels that were resized in uint8.
        self._direct = not self._planar and spec.normalise == "graph" and spec.colour == "BGR"
        self._unrounded = spec.dtype == "float32" and spec.normalise == "graph"
        self._offset, self._divisor = normalisation(spec)
        self._scratch: dict[str, Array] = {}
        self._prepared: AntialiasedResize | FourPixelResize | ByteResize | None = None
        self._threads = threads

    def prepare(self, frame: Array, slot: int = 0) -> ResizeGeometry:
        """Put a frame (see :func:`edgedet.pictures.frames.as_bgr`) into ``tensor[slot]``; the frame is only read.

        Returns where it landed, which takes boxes back (:meth:`ResizeGeometry.to_frame`).

        Raises:
            FrameError: not an image.
        """
        pixels = as_bgr(frame)
        height, width = pixels.shape[:2]
        if not self._unrounded and pixels.dtype != np.uint8:
            pixels = np.rint(pixels).astype(np.uint8)
        geometry = plan_resize(self._resize, height, width, self._spec.height, self._spec.width)
        if self._resize.rule == "none":
            self.tensor = np.ascontiguousarray(pixels, self.tensor.dtype)[None]
            return geometry
        rows = slice(geometry.top, geometry.top + geometry.height)
        columns = slice(geometry.left, geometry.left + geometry.width)
        target = self.tensor[slot]
        if self._geometries[slot] != geometry:
            self._paint_border(target, rows, columns)
            self._geometries[slot] = geometry
        if self._direct:
            self._resize_into(pixels, target[rows, columns])
        else:
            shape = (geometry.height, geometry.width, 3)
            resized = self._buffer("resized", shape, np.float32 if self._unrounded else np.uint8)
            self._resize_into(pixels, resized)
            self._convert(resized, target[:, rows, columns] if self._planar else target[rows, columns])
        return geometry

    def _resize_into(self, pixels: Array, content: Array) -> None:
        height, width = content.shape[:2]
        if pixels.shape == content.shape:
            np.copyto(content, pixels)
            return
        kind: Callable[[Sides, Sides], AntialiasedResize | FourPixelResize | ByteResize] | None
        antialiased = partial(AntialiasedResize, threads=self._threads)
        kind = antialiased if self._resize.antialias else PREPARED.get(self._resize.coordinates)
        if kind is None and OWN_CODE and pixels.dtype == content.dtype == np.uint8:
            kind = ByteResize
        if kind is not None:
            sizes = (pixels.shape[:2], (height, width))
            if self._prepared is None or (self._prepared.source, self._prepared.target) != sizes:
                self._prepared = kind(*sizes)
            self._prepared(pixels, content)
            return
        if pixels.dtype == content.dtype:
            cv2.resize(pixels, (width, height), dst=content)
            return
        steps = math.gcd(len(pixels), height)
        if height // steps <= MAX_PHASES and len(pixels) >= height:
            self._resize_by_phases(pixels, content, steps)
            return
        # Interpolation must not see the edges of bands: they fall on whole rows of both, and where frames are
        # enlarged there is one band only.
        step = len(pixels) // steps
        together = max(BAND_BYTES // (step * pixels.shape[1] * 12), 1) if len(pixels) > height else steps
        band = self._buffer("band", (min(together, steps) * step, *pixels.shape[1:]), np.float32)
        for first in range(0, steps, together):
            source = pixels[first * step : (first + together) * step]
            target = content[first * height // steps : min(first + together, steps) * height // steps]
            floats = band[: len(source)]
            # dst = 0 * dst + 1 * src: OpenCV's quickest conversion to float, twice as quick as NumPy's.
            cv2.accumulateWeighted(source, floats, 1.0)
            cv2.resize(floats, (width, len(target)), dst=target)

    def _resize_by_phases(self, pixels: Array, content: Array, steps: int) -> None:
        """Shrink uint8 to float32: all rows at the same place between two of the frame's at once.

        ``steps`` times over, ``len(pixels) // steps`` rows become ``len(content) // steps``, the phases.
        """
        step, phases = len(pixels) // steps, len(content) // steps
        together = min(max(BAND_BYTES // (pixels.shape[1] * 12), 1), steps)
        buffer = self._buffer("lines", (together, *pixels.shape[1:]), np.float32)
        # On one thread: a second one, woken for a millisecond's work, makes it a quarter longer.
        for first in range(0, steps, together):
            source = pixels[first * step : (first + together) * step]
            target = content[first * phases : (first + together) * phases]
            for phase in range(phases):
                rows = target[phase::phases]
                lines = buffer[: len(rows)]
                _mix_rows(source, lines, (phase + 0.5) * len(pixels) / len(content) - 0.5)
                cv2.resize(lines, (content.shape[1], len(lines)), dst=rows)

    def _convert(self, resized: Array, content: Array) -> None:
        """Colour order, layout and, where the host does it, normalisation."""
        planes = list(self._buffer("planes", (3, *resized.shape[:2]), resized.dtype.type))
        cv2.split(resized, planes)
        for channel in range(3):
            plane = planes[2 - channel if self._spec.colour == "RGB" else channel]
            place = content[channel] if self._planar else content[..., channel]
            np.copyto(place, plane)
            self._normalise(place, channel)

    def _normalise(self, values: Array, channel: int) -> None:
        if self._spec.normalise == "host":
            if self._offset[channel]:
                np.subtract(values, self._offset[channel], out=values)
            np.divide(values, self._divisor[channel], out=values)

    def _paint_border(self, target: Array, rows: slice, columns: slice) -> None:
        """Fill everything but the content; it stays until frames of another size come."""
        pad = np.array(self._resize.pad, np.float64)
        if self._spec.colour == "RGB":
            pad = pad[::-1]
        if not self._unrounded:
            pad = np.rint(pad)
        image = target.transpose(1, 2, 0) if self._planar else target
        for part in (
            image[: rows.start],
            image[rows.stop :],
            image[rows, : columns.start],
            image[rows, columns.stop :],
        ):
            for channel in range(3):
                part[..., channel] = pad[channel]
                self._normalise(part[..., channel], channel)

    def _buffer(self, use: str, shape: tuple[int, ...], dtype: type[Any]) -> Array:
        """Scratch memory for one use, kept as long as frames keep their size."""
        buffer = self._scratch.get(use)
        if buffer is None or buffer.shape != shape or buffer.dtype != dtype:
            buffer = self._scratch[use] = np.zeros(shape, dtype)
        return buffer


def _mix_rows(pixels: Array, lines: Array, place: float) -> None:
    """Interpolate uint8 ``pixels`` into float32 ``lines`` at the row ``place`` and, from there, at every
    ``len(pixels) / len(lines)`` rows.

    Only the rows that count are read and converted: of a 1080p frame that becomes 320 rows, six of ten.
    """
    first = math.floor(place)
    step = len(pixels) // len(lines)
    # dst = (1 - weight) * dst + weight * src
    cv2.accumulateWeighted(pixels[first::step], lines, 1.0)
    if place > first:
        cv2.accumulateWeighted(pixels[first + 1 :: step], lines, place - first)


def normalisation(spec: InputSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``(x * scale - mean) / std`` as ``(x - offset) / divisor``, per channel of the tensor; x / 255 is exact."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    if spec.colour != spec.trained_colour:
        mean, std = mean[::-1], std[::-1]
    return (mean / spec.scale).astype(np.float32), (std / spec.scale).astype(np.float32)

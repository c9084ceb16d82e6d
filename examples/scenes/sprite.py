"""Small drawn objects: a transparent canvas measured in millimetres, and the pose that puts it in a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Color = tuple[float, float, float]
"""Blue, green, red, 0 to 255."""

Points = Sequence[tuple[float, float]]

# cv2 draws at 1/16 pixel when coordinates are shifted by four bits.
_SHIFT = 4
_ONE = 1 << _SHIFT


@dataclass(frozen=True)
class View:
    """How an object faces the viewer: yaw, pitch and roll in radians, applied in that order."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator, *, tilt: float = 0.6, roll: float = 0.4) -> View:
        """Angles around facing the viewer; ``tilt`` bounds yaw and pitch, ``roll`` is a standard deviation."""
        yaw, pitch = rng.uniform(-tilt, tilt, 2)
        return cls(float(yaw), float(pitch), float(rng.normal(0, roll)))

    def shift(self, depth: float) -> tuple[float, float]:
        """Place of a point ``depth`` millimetres in front of the canvas as seen on it, relative to its foot."""
        return depth * math.tan(self.yaw), depth * math.tan(self.pitch)

    def matrix(self) -> np.ndarray:
        """Rotation ``float64 [3, 3]`` from object axes (x right, y down, z away) to the viewer's."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        spin = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return spin @ nod @ turn


class Sprite:
    """A canvas of ``width`` by ``height`` millimetres, origin at its centre, x right, y down.

    Pixels are premultiplied BGRA ``uint8 [h, w, 4]``: antialiased drawing on a clear canvas then gives
    edges without dark fringes, and interpolation stays right when the sprite is warped into a frame.
    """

    def __init__(self, width: float, height: float, pixels_per_mm: float) -> None:
        self.width, self.height, self.scale = width, height, pixels_per_mm
        size = max(2, math.ceil(height * pixels_per_mm)), max(2, math.ceil(width * pixels_per_mm))
        self.pixels = np.zeros((*size, 4), np.uint8)

    def blank(self) -> Sprite:
        """A clear canvas of the same size, for a layer to be added later."""
        return Sprite(self.width, self.height, self.scale)

    def polygon(self, points: Points, color: Color) -> None:
        cv2.fillPoly(self.pixels, [self._fixed(points)], (*color, 255), cv2.LINE_AA, _SHIFT)

    def rectangle(
        self, x: float, y: float, width: float, height: float, color: Color, *, radius: float = 0.0
    ) -> None:
        """A filled rectangle centred on (``x``, ``y``), corners rounded by ``radius``."""
        self.polygon(rounded(x, y, width, height, radius), color)

    def disc(self, x: float, y: float, radius: float, color: Color, *, squash: float = 1.0) -> None:
        """A filled circle, or an ellipse ``squash`` times as high as wide."""
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        ellipse = np.stack([x + radius * np.cos(angle), y + radius * squash * np.sin(angle)], 1)
        self.polygon([(float(px), float(py)) for px, py in ellipse], color)

    def stroke(self, points: Points, width: float, color: Color) -> None:
        """A line with round ends."""
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.pixels, [self._fixed(points)], False, (*color, 255), thickness, cv2.LINE_AA, _SHIFT)

    def text(self, words: str, x: float, y: float, height: float, color: Color) -> None:
        """Words from (``x``, ``y``), the left end of the baseline, with capitals ``height`` high."""
        size = height * self.scale / 22
        if size > 0.12:  # smaller letters are dots that only alias
            at = self._fixed([(x, y)])[0, 0] // _ONE
            thick = max(1, round(size * 1.5))
            cv2.putText(
                self.pixels, words, at.tolist(), cv2.FONT_HERSHEY_SIMPLEX, size, (*color, 255), thick, cv2.LINE_AA
            )

    def add(self, layer: Sprite, *, opacity: float = 1.0) -> None:
        """Lay ``layer`` over this sprite, only where this sprite already is."""
        inside = cv2.multiply(layer.pixels, _spread(self.pixels[..., 3]), scale=opacity / 255)
        self.pixels = over(self.pixels, inside)

    def shade(self, rng: np.random.Generator, *, strength: float = 0.35) -> None:
        """Light falling off across the object, in a random direction."""
        height, width = self.pixels.shape[:2]
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.add.outer(
            np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(angle)),
            np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(angle)),
        )
        gain = 1 + np.float32(strength) * ramp * np.float32(rng.uniform(0.3, 1))
        lit = self.pixels[..., :3] * gain[..., None]
        self.pixels[..., :3] = np.minimum(lit, self.pixels[..., 3:])

    def grain(self, rng: np.random.Generator, amount: float) -> None:
        """Fine surface texture: leather, fabric, paper; ``amount`` is a standard deviation in grey levels."""
        height, width = self.pixels.shape[:2]
        noise = rng.normal(0, amount, (height, width)).astype(np.float32)[..., None]
        rough = self.pixels[..., :3] + noise * (self.pixels[..., 3:] > 0)
        self.pixels[..., :3] = np.clip(rough, 0, self.pixels[..., 3:])

    def glint(self, rng: np.random.Generator) -> None:
        """A specular streak over the object, as a lamp or window gives on glass and plastic."""
        layer = self.blank()
        x = rng.uniform(-0.5, 0.5) * self.width
        lean, breadth = rng.uniform(-0.5, 0.5) * self.height, rng.uniform(0.05, 0.3) * self.width
        top, bottom = -self.height, self.height
        layer.polygon(
            [(x - lean, top), (x - lean + breadth, top), (x + lean + breadth, bottom), (x + lean, bottom)],
            (255, 255, 255),
        )
        layer.pixels = cv2.blur(layer.pixels, (3, 3))
        self.add(layer, opacity=float(rng.uniform(0.08, 0.5)))

    def place(self, view: View, center: tuple[float, float], scale: float) -> np.ndarray:
        """Homography ``float64 [3, 3]`` from this sprite's pixels to frame pixels.

        ``center`` is where the canvas' origin lands, ``scale`` the pixels per millimetre there.
        """
        height, width = self.pixels.shape[:2]
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width, height) / (2 * self.scale)
        turned = np.c_[half, np.zeros(4)] @ view.matrix().T
        distance = 4 * max(self.width, self.height)
        flat = turned[:, :2] / (1 + turned[:, 2:] / distance)
        frame = (flat * scale + center).astype(np.float32)
        source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
        return cv2.getPerspectiveTransform(source, frame - 0.5)

    def _fixed(self, points: Points) -> np.ndarray:
        height, width = self.pixels.shape[:2]
        pixels = np.asarray(points, np.float64) * self.scale + (width / 2 - 0.5, height / 2 - 0.5)
        return np.round(pixels * _ONE).astype(np.int32)[:, None]


def rounded(x: float, y: float, width: float, height: float, radius: float) -> Points:
    """The outline of a rectangle centred on (``x``, ``y``) with rounded corners."""
    radius = min(radius, width / 2, height / 2)
    if radius <= 0:
        return [
            (x - width / 2, y - height / 2),
            (x + width / 2, y - height / 2),
            (x + width / 2, y + height / 2),
            (x - width / 2, y + height / 2),
        ]
    points = []
    for corner, (sx, sy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        cx, cy = x + sx * (width / 2 - radius), y + sy * (height / 2 - radius)
        for step in range(7):
            angle = (corner + step / 6) * math.pi / 2
            points.append((cx + radius * math.cos(angle), cy + radius * math.sin(angle)))
    return points


def over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Porter and Duff's "over" on premultiplied BGRA ``uint8 [h, w, 4]``."""
    through = cv2.multiply(below, _spread(255 - above[..., 3]), scale=1 / 255)
    return cv2.add(through, above)


def darker(color: Color, factor: float) -> Color:
    """``color`` times ``factor``, kept in range; a factor above 1 lightens."""
    return tuple(min(255.0, max(0.0, c * factor)) for c in color)  # type: ignore[return-value]


def hue(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """A random hue, with saturation and value drawn from the given ranges in [0, 1]."""
    hsv = np.array([[[rng.uniform(0, 180), 255 * rng.uniform(*saturation), 255 * rng.uniform(*value)]]])
    blue, green, red = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return float(blue), float(green), float(red)


def grey(rng: np.random.Generator, low: float, high: float) -> Color:
    """A nearly neutral tone between ``low`` and ``high``."""
    level = rng.uniform(low, high)
    blue, green, red = np.clip(level + rng.normal(0, 4, 3), 0, 255)
    return float(blue), float(green), float(red)


def _spread(plane: np.ndarray) -> np.ndarray:
    return cv2.merge([plane] * 4)

"""Boxes and labels on pictures."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.artifacts.keypoint_skeleton import Skeleton, seen_keypoints
from edgedet.pictures.frames import as_bgr

if TYPE_CHECKING:
    from edgedet.detections import Detections
    from edgedet.masks.base import Region

FONT = cv2.FONT_HERSHEY_SIMPLEX
GOLDEN_ANGLE = 0.381966
"""Step on the colour circle: successive classes land far apart, however many there are."""

TINT = 0.4
"""Share of its class's colour in an object's pixels."""

LARGEST_PLACE = 1 << 14
"""Pixels from the frame's corner beyond which nothing is drawn."""
CLASS_TINT = 0.5
"""The same where every pixel has a class."""

Colour = tuple[int, int, int]


def draw(frame: NDArray[Any], detections: Detections) -> NDArray[np.uint8]:
    """A copy of the frame, uint8 [H, W, 3] BGR, with every detection's box, name and score; best on top. Where
    there are masks, objects are tinted and outlined, and have no boxes. Of keypoints those that are seen are drawn,
    and lines between two of them.

    Line width and letters grow with the frame. Labels stay inside the picture.
    """
    picture = np.rint(as_bgr(frame)).astype(np.uint8)
    picture = np.ascontiguousarray(picture).copy()
    height, width = picture.shape[:2]
    size = max(min(height, width), 1)
    thickness = max(round(size / 270), 1)
    scale = max(size / 1100, 0.38)
    worst_first = list(detections)[::-1]
    if detections.masks is not None:
        for index in reversed(range(len(detections))):
            region = detections.masks.region(index)
            _tint(picture, region, class_colour(int(detections.labels[index])), thickness)
    for box, _, label, _ in worst_first if detections.masks is None else []:
        left, top, right, bottom = (round(float(value)) for value in box)
        cv2.rectangle(picture, (left, top), (right, bottom), class_colour(label), thickness)
    if detections.keypoints is not None:
        seen = seen_keypoints(detections.keypoints, detections.skeleton)
        for index in reversed(range(len(detections))):
            places = detections.keypoints[index, :, :2]
            _skeleton(picture, places, seen[index], detections.skeleton, thickness)
    # Labels last: no line crosses a number.
    for box, score, label, name in worst_first:
        corner = (round(float(box[0])) - thickness // 2, round(float(box[1])))
        _label(picture, f"{name} {score:.2f}", corner, class_colour(label), scale)
    return picture


def colour_by_class(frame: NDArray[Any], labels: NDArray[Any], hidden: set[int]) -> NDArray[np.uint8]:
    """A copy of the frame, uint8 [H, W, 3] BGR, tinted by the class of each pixel, ``labels`` [H, W]; pixels of the
    classes ``hidden`` are left as they are."""
    picture = np.ascontiguousarray(np.rint(as_bgr(frame)).astype(np.uint8))
    colours = np.array([class_colour(label) for label in range(int(labels.max(initial=0)) + 1)], np.float32)
    tinted = np.rint(picture * np.float32(1 - CLASS_TINT) + colours[labels] * np.float32(CLASS_TINT))
    shown = ~np.isin(labels, list(hidden))
    return np.where(shown[..., None], tinted.astype(np.uint8), picture)


def class_colour(label: int) -> Colour:
    """BGR colour of a class, always the same one."""
    hue = (0.58 + label * GOLDEN_ANGLE) % 1
    # Two rings of brightness keep neighbours on the circle apart.
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.78, 0.95 if label % 2 == 0 else 0.72)
    return round(blue * 255), round(green * 255), round(red * 255)


def _tint(picture: NDArray[np.uint8], region: Region, colour: Colour, thickness: int) -> None:
    """Colour an object's pixels and draw its outline, in place."""
    pixels = region.values
    height, width = pixels.shape
    if not pixels.any():
        return
    below = picture[region.top : region.top + height, region.left : region.left + width]
    tinted = below[pixels] * (1 - TINT) + np.array(colour) * TINT
    below[pixels] = np.rint(tinted).astype(np.uint8)
    outlines, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, outlines, -1, colour, thickness, offset=(region.left, region.top))


def _skeleton(
    picture: NDArray[np.uint8],
    places: NDArray[np.float32],
    seen: NDArray[np.bool_],
    skeleton: Skeleton | None,
    thickness: int,
) -> None:
    """Draw one object's keypoints, each in a colour of its own, and its lines, in place."""
    # OpenCV's coordinates have 16 bits; nothing so far outside is on the picture.
    pixels = [(int(x), int(y)) for x, y in np.floor(np.clip(places, -LARGEST_PLACE, LARGEST_PLACE)).tolist()]
    for first, second in () if skeleton is None else skeleton.links:
        if seen[first] and seen[second]:
            cv2.line(picture, pixels[first], pixels[second], class_colour(second), thickness, cv2.LINE_AA)
    for number in np.flatnonzero(seen).tolist():
        cv2.circle(picture, pixels[number], thickness + 1, class_colour(number), -1, cv2.LINE_AA)


def _label(picture: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: Colour, scale: float) -> None:
    height, width = picture.shape[:2]
    weight = max(round(scale * 1.6), 1)
    (text_width, text_height), baseline = cv2.getTextSize(text, FONT, scale, weight)
    margin = max(round(scale * 6), 2)
    tall, wide = text_height + baseline + margin, text_width + 2 * margin
    left, top = corner
    # Above the box; inside it where there is no room above.
    upper = top - tall if top - tall >= 0 else top
    left, upper = max(min(left, width - wide), 0), max(min(upper, height - tall), 0)
    cv2.rectangle(picture, (left, upper), (left + wide, upper + tall), colour, -1)
    blue, green, red = colour
    ink = (20, 20, 20) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)
    place = (left + margin, upper + tall - baseline - margin // 2)
    cv2.putText(picture, text, place, FONT, scale, ink, weight, cv2.LINE_AA)

"""Whole frames: a background, objects at their distances, hands, light, blur, noise, and boxes of what is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from examples.scenes.background import background
from examples.scenes.devices import CAMERAS, PHONES, Draw
from examples.scenes.distractors import DISTRACTORS
from examples.scenes.sprite import Sprite, View

NAMES = ("camera", "phone")
MIN_VISIBLE = 0.35
"""Devices of which less than this share is seen (the rest covered or outside) get no box."""
MIN_SIDE = 10
"""Nor do devices whose seen part is narrower or lower than so many pixels."""
TRIES = 20
"""Places for the camera of a clip, until four moments have it in view; the last one where none has."""


@dataclass(frozen=True)
class Scene:
    """``image``: uint8 [H, W, 3] BGR. ``boxes``: float32 [N, 4], x1, y1, x2, y2 around what is seen of each device.
    ``labels``: int32 [N], indices into ``NAMES``. ``owner``: int16 [H, W], which box's device a pixel shows, -1 for
    none."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    owner: np.ndarray


@dataclass(frozen=True)
class Actor:
    """One object in a scene. ``label`` is -1 for what is neither camera nor phone; ``seed`` fixes its looks."""

    draw: Draw
    label: int
    view: View
    center: tuple[float, float]
    scale: float
    seed: int
    held: bool


def render_scene(seed: int, *, width: int = 480, height: int = 360) -> Scene:
    """One random scene; equal seeds give equal scenes."""
    rng = np.random.default_rng(seed)
    ground = background(rng, width, height)
    return _compose(rng, ground, _cast(rng, width, height))


def render_clip(seed: int, frames: int, *, width: int = 640, height: int = 480) -> Iterator[Scene]:
    """A short clip: the wearer's head sways, things come nearer or turn away."""
    rng = np.random.default_rng(seed)
    margin = 80
    ground = background(rng, width + 2 * margin, height + 2 * margin)
    actors = _cast(rng, width, height, devices=3)
    speeds = rng.normal(0, [2.2, 1.4], (len(actors), 2))
    growth = 1 + rng.uniform(-0.004, 0.008, len(actors))
    spins = rng.normal(0, 0.012, (len(actors), 3))
    phase = rng.uniform(0, 2 * np.pi, 2)
    noise = int(rng.integers(1 << 30))
    for index in range(frames):
        sway = np.array([np.sin(index / 9 + phase[0]) * 28, np.sin(index / 13 + phase[1]) * 16])
        x, y = np.rint(margin + sway).astype(int)
        moved = [
            replace(
                actor,
                center=(
                    actor.center[0] + speed[0] * index - sway[0] * 1.2,
                    actor.center[1] + speed[1] * index - sway[1] * 1.2,
                ),
                scale=actor.scale * rate**index,
                view=View(
                    float(np.clip(actor.view.yaw + spin[0] * index, -0.9, 0.9)),
                    float(np.clip(actor.view.pitch + spin[1] * index, -0.9, 0.9)),
                    actor.view.roll + spin[2] * index,
                ),
            )
            for actor, speed, rate, spin in zip(actors, speeds, growth, spins, strict=True)
        ]
        view = np.ascontiguousarray(ground[y : y + height, x : x + width])
        yield _compose(np.random.default_rng(noise), view, moved)


def render_visit(
    seed: int, frames: int, *, comes: int | None = None, goes: int = 0, width: int = 480, height: int = 360
) -> Iterator[Scene]:
    """A clip of things that look like devices; a camera comes into view in frame ``comes`` and is gone in ``goes``.

    The head sways, and the camera is pointed at the wearer by whoever steps in from the side and stands where
    nothing hides it. Looks are drawn once for each clip, so that hours of it can be rendered. Without ``comes``
    there is no device at all.
    """
    rng = np.random.default_rng(seed)
    margin = 60
    ground = background(rng, width + 2 * margin, height + 2 * margin)
    others = _cast(rng, width, height, devices=0)
    speeds = rng.normal(0, [1.0, 0.6], (len(others), 2))
    phase = rng.uniform(0, 2 * np.pi, 2)
    noise = int(rng.integers(1 << 30))
    fronts = CAMERAS[:-1]
    weights = np.array([weight for _, weight in fronts])
    draw = fronts[int(rng.choice(len(fronts), p=weights / weights.sum()))][0]
    extent = height * float(rng.uniform(0.3, 0.7))
    view = View.random(rng, tilt=0.5, roll=0.3)
    camera = Actor(draw, 0, view, (0.0, 0.0), extent / 130, int(rng.integers(1 << 30)), True)
    stands = np.array([rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height])
    outside = -extent if rng.random() < 0.5 else width + extent
    elsewhere = np.random.default_rng([seed, 1])
    looks: dict[int, tuple[Sprite, Sprite | None]] = {}

    def once(actor: Actor) -> tuple[Sprite, Sprite | None]:
        if actor.seed not in looks:
            looks[actor.seed] = _drawn(actor)
        return looks[actor.seed]

    def moment(index: int) -> tuple[np.ndarray, list[Actor]]:
        """What lies behind everything, and who is there."""
        sway = np.array([np.sin(index / 9 + phase[0]) * 20, np.sin(index / 13 + phase[1]) * 12])
        x, y = np.rint(margin + sway).astype(int)
        # Things that move come back, so that they are there in long clips too.
        swing = 60 * np.sin(index / 60)
        actors = [
            replace(actor, center=tuple(np.array(actor.center) + speed * swing - sway * 1.2))
            for actor, speed in zip(others, speeds, strict=True)
        ]
        if comes is not None and comes <= index < goes:
            # Half a second to step in, and as long to step out.
            there = np.clip(min(index - comes + 1, goes - index) / 5, 0, 1)
            place = (there * stands[0] + (1 - there) * outside, stands[1])
            actors.append(replace(camera, center=tuple(np.array(place) - sway * 1.2)))
        actors.sort(key=lambda actor: actor.scale)
        return np.ascontiguousarray(ground[y : y + height, x : x + width]), actors

    if comes is not None:
        # A camera that something nearer hides films nobody.
        stay = np.unique(np.linspace(min(comes + 4, goes - 1), max(goes - 5, comes), 4).astype(int))
        for _ in range(TRIES):
            if all(len(_compose(np.random.default_rng(0), *moment(index), once).boxes) for index in stay):
                break
            stands = elsewhere.uniform(0.2, 0.8, 2) * (width, height)
    for index in range(frames):
        yield _compose(np.random.default_rng(noise + index), *moment(index), once)


def _cast(rng: np.random.Generator, width: int, height: int, *, devices: int | None = None) -> list[Actor]:
    """Who is in the scene, far to near."""
    count = int(rng.choice([0, 1, 2, 3], p=[0.12, 0.42, 0.3, 0.16])) if devices is None else devices
    actors = []
    for place in range(count + int(rng.integers(1, 6))):
        device = place < count
        label = int(rng.integers(2)) if device else -1
        if device:
            kinds = CAMERAS if label == 0 else PHONES
            weights = np.array([weight for _, weight in kinds])
            draw = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][0]
        else:
            draw = DISTRACTORS[int(rng.integers(len(DISTRACTORS)))]
        # 130 mm fill from a twelfth of the frame's height to most of it.
        extent = height * float(np.exp(rng.uniform(np.log(0.13), np.log(0.8 if device else 0.6))))
        actors.append(
            Actor(
                draw,
                label,
                View.random(rng, tilt=0.7, roll=0.35 if rng.random() < 0.8 else 1.2),
                (float(rng.uniform(0.04, 0.96) * width), float(rng.uniform(0.06, 0.94) * height)),
                extent / 130,
                int(rng.integers(1 << 30)),
                device and rng.random() < 0.6,
            )
        )
    return sorted(actors, key=lambda actor: actor.scale)


def _drawn(actor: Actor) -> tuple[Sprite, Sprite | None]:
    """What an actor looks like, and the fingers that hold it."""
    looks = np.random.default_rng(actor.seed)
    sprite = actor.draw(looks, actor.view, min(actor.scale * 1.15, 4.0))
    return sprite, _hand(looks, sprite) if actor.held else None


def _compose(
    rng: np.random.Generator,
    frame: np.ndarray,
    actors: list[Actor],
    drawn: Callable[[Actor], tuple[Sprite, Sprite | None]] = _drawn,
) -> Scene:
    """``actors``: from far to near, drawn by ``drawn``."""
    height, width = frame.shape[:2]
    owner = np.full((height, width), -1, np.int16)
    whole: dict[int, float] = {}
    for index, actor in enumerate(actors):
        sprite, fingers = drawn(actor)
        homography = sprite.place(actor.view, actor.center, actor.scale)
        _lay(frame, owner, sprite.pixels, homography, index)
        if actor.label >= 0:
            # Area of the whole object in frame pixels, whether covered or outside.
            opaque = float((sprite.pixels[..., 3] > 127).sum()) / sprite.scale**2 * actor.scale**2
            slant = abs(np.cos(actor.view.yaw) * np.cos(actor.view.pitch))
            whole[index] = max(opaque * slant, 1.0)
        if fingers is not None:
            _lay(frame, owner, fingers.pixels, fingers.place(actor.view, actor.center, actor.scale), -1)
    boxes, labels = [], []
    boxed = np.full_like(owner, -1)
    for index, area in whole.items():
        seen = owner == index
        columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
        if not len(columns) or seen.sum() < MIN_VISIBLE * area:
            continue
        if min(columns[-1] - columns[0], rows[-1] - rows[0]) + 1 < MIN_SIDE:
            continue
        boxed[seen] = len(boxes)
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        labels.append(actors[index].label)
    return Scene(
        _photograph(rng, frame),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int32),
        boxed,
    )


def _lay(frame: np.ndarray, owner: np.ndarray, pixels: np.ndarray, homography: np.ndarray, index: int) -> None:
    """Draw premultiplied BGRA ``pixels`` into ``frame`` and note in ``owner`` whose pixels are seen."""
    height, width = frame.shape[:2]
    tall, wide = pixels.shape[:2]
    corners = cv2.perspectiveTransform(np.float32([[[0, 0], [wide, 0], [wide, tall], [0, tall]]]), homography)[0]
    left, top = np.floor(corners.min(0)).astype(int) - 1
    right, bottom = np.ceil(corners.max(0)).astype(int) + 1
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    layer = cv2.warpPerspective(pixels, shift @ homography, (right - left, bottom - top), flags=cv2.INTER_AREA)
    alpha = layer[..., 3]
    part = frame[top:bottom, left:right]
    through = cv2.multiply(part, cv2.merge([255 - alpha] * 3), scale=1 / 255)
    part[:] = cv2.add(through, layer[..., :3])
    owner[top:bottom, left:right][alpha > 127] = index


def _hand(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """Fingers around the sides of a held device, with a palm behind its lower end."""
    hand = sprite.blank()
    tone = np.array([rng.uniform(60, 190), 0, 0])
    tone[1], tone[2] = tone[0] * 1.18 + 10, tone[0] * 1.35 + 25
    skin = tuple(float(value) for value in np.clip(tone, 0, 255))
    opaque = np.flatnonzero((sprite.pixels[..., 3] > 127).any(0))
    half = (opaque[-1] - opaque[0]) / 2 / sprite.scale if len(opaque) else sprite.width / 3
    for side in (-1, 1):
        count = int(rng.integers(1, 5))
        start = rng.uniform(-0.1, 0.25) * sprite.height
        for finger in range(count):
            y = start + finger * 17
            reach = rng.uniform(10, 24)
            hand.stroke([(side * (half + 12), y + 3), (side * (half - reach), y)], 15, skin)
    hand.shade(rng)
    return hand


def _photograph(rng: np.random.Generator, frame: np.ndarray) -> np.ndarray:
    """What a small camera makes of it: exposure, white balance, vignette, blur, noise, compression."""
    height, width = frame.shape[:2]
    table = np.arange(256) / 255
    curve = 255 * np.clip(table * rng.uniform(0.55, 1.3), 0, 1) ** rng.uniform(0.75, 1.35)
    balance = rng.normal(1, 0.05, 3)
    lut = np.clip(curve[:, None] * balance, 0, 255).astype(np.uint8)[None]
    image = cv2.LUT(frame, lut)
    if rng.random() < 0.35:
        reach = int(rng.integers(3, 9))
        kernel = np.zeros((reach, reach), np.float32)
        angle = rng.uniform(0, np.pi)
        middle = (reach - 1) / 2
        way = np.array([np.cos(angle), np.sin(angle)]) * middle
        start, end = np.rint(middle - way).astype(int), np.rint(middle + way).astype(int)
        cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    elif rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < 0.7:
        grain = np.empty((height, width, 3), np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(grain, 0, float(rng.uniform(1, 9)))
        image = cv2.add(image, grain, dtype=cv2.CV_8U)
    if rng.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return np.asarray(image)

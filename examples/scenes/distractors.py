"""Things that share a shape, a shine or a colour with cameras and phones, and are neither."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from examples.scenes.sprite import Color, Sprite, View, darker, grey, hue

Draw = Callable[[np.random.Generator, View, float], Sprite]


def cup(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A mug with a handle: a dark disc on top may pass for a lens."""
    width, height = rng.uniform(75, 95), rng.uniform(85, 115)
    color = hue(rng, (0, 0.8), (0.3, 1))
    sprite = Sprite(width + 90, height + 60, scale)
    side = rng.choice([-1, 1])
    handle = np.linspace(-np.pi / 2, np.pi / 2, 12)
    arc = [(side * (width / 2 - 4 + 26 * np.cos(a)), 28 * np.sin(a)) for a in handle]
    sprite.stroke([(float(x), float(y)) for x, y in arc], 9, darker(color, 0.8))
    sprite.disc(0, height / 2, width * 0.44, darker(color, 0.85), squash=0.25)
    low, high = width * 0.44, width / 2
    sprite.polygon([(-high, -height / 2), (high, -height / 2), (low, height / 2), (-low, height / 2)], color)
    sprite.disc(0, -height / 2, high, darker(color, 1.15), squash=0.3)
    sprite.disc(0, -height / 2, high - 5, darker(hue(rng, (0.3, 0.7), (0.1, 0.4)), 0.8), squash=0.28)
    if rng.random() < 0.5:
        sprite.rectangle(0, 8, width * 0.5, height * 0.3, hue(rng, (0.2, 1), (0.4, 1)), radius=8)
    return _finish(rng, sprite)


def book(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A closed book: a dark rounded rectangle with words, as large phones are."""
    width, height = rng.uniform(90, 160), rng.uniform(140, 230)
    color = hue(rng, (0.1, 0.9), (0.15, 0.8))
    sprite = Sprite(width + 50, height + 50, scale)
    x, y = view.shift(-rng.uniform(12, 30))
    sprite.rectangle(x, y, width, height, darker(color, 0.5))
    sprite.rectangle(x * 0.6, y * 0.6, width - 3, height - 3, grey(rng, 190, 240))
    sprite.rectangle(0, 0, width, height, color, radius=2)
    sprite.rectangle(-width / 2 + 7, 0, 9, height, darker(color, 0.7))
    ink = hue(rng, (0, 0.6), (0.6, 1))
    for row in range(rng.integers(1, 5)):
        sprite.rectangle(6, -height * 0.3 + row * 20, width * rng.uniform(0.3, 0.7), 8, ink, radius=1)
    if rng.random() < 0.5:
        sprite.disc(6, height * 0.22, width * rng.uniform(0.12, 0.28), hue(rng, (0, 1), (0.2, 1)))
    return _finish(rng, sprite)


def sunglasses(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """Two dark glossy discs in a frame."""
    radius, gap = rng.uniform(22, 30), rng.uniform(14, 22)
    frame = grey(rng, 10, 50) if rng.random() < 0.6 else hue(rng, (0.3, 0.9), (0.3, 0.9))
    lens = hue(rng, (0.2, 0.8), (0.05, 0.35))
    squash = rng.uniform(0.75, 1)
    sprite = Sprite(4 * radius + gap + 40, 3 * radius + 30, scale)
    away = radius + gap / 2
    sprite.stroke([(-gap, -radius * 0.3), (0, -radius * 0.5), (gap, -radius * 0.3)], 5, frame)
    for side in (-1, 1):
        sprite.stroke([(side * (away + radius), -radius * 0.4), (side * (away + radius + 14), -radius)], 5, frame)
        sprite.disc(side * away, 0, radius + 3, frame, squash=squash)
        sprite.disc(side * away, 0, radius, lens, squash=squash)
        sprite.disc(side * away - radius * 0.35, -radius * 0.35, radius * 0.2, darker(lens, 4), squash=squash)
    return _finish(rng, sprite)


def clock(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A round face with hands and ticks."""
    radius = rng.uniform(45, 110)
    rim, face = hue(rng, (0, 0.7), (0.1, 0.9)), grey(rng, 200, 250) if rng.random() < 0.7 else grey(rng, 15, 60)
    ink = darker(face, 0.1) if sum(face) > 300 else grey(rng, 200, 250)
    sprite = Sprite(2 * radius + 30, 2 * radius + 30, scale)
    sprite.disc(*view.shift(-15), radius, darker(rim, 0.5))
    sprite.disc(0, 0, radius, rim)
    sprite.disc(0, 0, radius * 0.88, face)
    for hour in range(12):
        x, y = np.sin(hour * np.pi / 6), np.cos(hour * np.pi / 6)
        sprite.stroke([(x * radius * 0.7, y * radius * 0.7), (x * radius * 0.8, y * radius * 0.8)], 3, ink)
    for length in (0.45, 0.65):
        angle = rng.uniform(0, 2 * np.pi)
        sprite.stroke([(0, 0), (radius * length * np.cos(angle), radius * length * np.sin(angle))], 4, ink)
    return _finish(rng, sprite)


def remote(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A remote control: long, dark, buttons."""
    width, height = rng.uniform(38, 52), rng.uniform(130, 190)
    color = grey(rng, 15, 60) if rng.random() < 0.7 else grey(rng, 180, 240)
    sprite = Sprite(width + 30, height + 30, scale)
    sprite.rectangle(*view.shift(-15), width, height, darker(color, 0.5), radius=8)
    sprite.rectangle(0, 0, width, height, color, radius=8)
    pad = grey(rng, 90, 220)
    sprite.disc(0, -height * 0.2, width * 0.3, pad)
    sprite.disc(0, -height * 0.2, width * 0.14, darker(color, 0.8))
    sprite.disc(-width * 0.25, -height * 0.42, 4, hue(rng, (0.8, 1), (0.6, 1)))
    for row in range(5):
        for column in (-1, 0, 1):
            sprite.rectangle(column * width * 0.28, height * (0.05 + row * 0.08), 7, 5, pad, radius=2)
    return _finish(rng, sprite)


def laptop(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A screen far too large for a phone, with windows on it."""
    width, height = rng.uniform(280, 360), rng.uniform(180, 220)
    sprite = Sprite(width + 60, height + 150, scale)
    metal = grey(rng, 40, 200)
    sprite.rectangle(0, -40, width, height, darker(metal, 0.5), radius=6)
    sprite.rectangle(0, -40, width - 14, height - 14, hue(rng, (0.1, 0.7), (0.1, 0.9)))
    for _ in range(rng.integers(1, 4)):
        wide, tall = rng.uniform(60, width * 0.5), rng.uniform(40, height * 0.6)
        x, y = rng.uniform(-0.2, 0.2) * width, rng.uniform(-0.15, 0.15) * height - 40
        sprite.rectangle(x, y, wide, tall, grey(rng, 20, 250))
        for row in range(int(tall / 14)):
            sprite.rectangle(x - wide * 0.1, y - tall / 2 + 8 + row * 14, wide * 0.6, 4, grey(rng, 60, 200))
    base = -40 + height / 2
    corners = [(-width / 2, base), (width / 2, base), (width / 2 + 22, base + 60), (-width / 2 - 22, base + 60)]
    sprite.polygon(corners, metal)
    sprite.rectangle(0, base + 22, width * 0.86, 26, darker(metal, 0.5), radius=3)
    return _finish(rng, sprite)


def bottle(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A bottle or can with a label."""
    width, height = rng.uniform(55, 75), rng.uniform(120, 220)
    color = hue(rng, (0.1, 0.9), (0.2, 0.9))
    sprite = Sprite(width + 30, height + 90, scale)
    sprite.rectangle(0, -height / 2 - 12, width * 0.42, 46, darker(color, 0.9), radius=5)
    sprite.rectangle(0, -height / 2 - 36, width * 0.46, 16, hue(rng, (0.2, 1), (0.3, 1)), radius=4)
    sprite.rectangle(0, 0, width, height, color, radius=14)
    sprite.rectangle(0, 8, width, height * 0.4, hue(rng, (0, 0.8), (0.4, 1)))
    sprite.disc(0, 8, width * 0.28, hue(rng, (0, 1), (0.1, 1)))
    return _finish(rng, sprite)


def wallet(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A card, a wallet, a chocolate bar: a plain rounded rectangle of a phone's size, without eyes or screen."""
    width, height = rng.uniform(60, 110), rng.uniform(85, 150)
    color = hue(rng, (0, 0.8), (0.15, 0.95))
    sprite = Sprite(width + 30, height + 30, scale)
    sprite.rectangle(*view.shift(-8), width, height, darker(color, 0.6), radius=6)
    sprite.rectangle(0, 0, width, height, color, radius=6)
    for _ in range(rng.integers(0, 4)):
        stripe = hue(rng, (0, 0.9), (0.2, 1))
        sprite.rectangle(
            0, rng.uniform(-0.4, 0.4) * height, width * rng.uniform(0.4, 1), rng.uniform(4, 20), stripe
        )
    if rng.random() < 0.5:
        sprite.grain(rng, 12)
    return _finish(rng, sprite)


def ring(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """Concentric circles alone: a speaker, a plate, a wheel, a tin. A lens without a camera."""
    radius = rng.uniform(30, 90)
    sprite = Sprite(2 * radius + 20, 2 * radius + 20, scale)
    color: Color = hue(rng, (0, 0.8), (0.1, 1))
    for factor in sorted(rng.uniform(0.15, 1, rng.integers(2, 6)))[::-1]:
        sprite.disc(0, 0, radius * factor, color)
        color = hue(rng, (0, 0.5), (0.05, 0.9)) if rng.random() < 0.5 else darker(color, rng.uniform(0.4, 1.6))
    return _finish(rng, sprite)


DISTRACTORS: tuple[Draw, ...] = (cup, book, sunglasses, clock, remote, laptop, bottle, wallet, ring)


def _finish(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    sprite.shade(rng)
    if rng.random() < 0.4:
        sprite.glint(rng)
    return sprite

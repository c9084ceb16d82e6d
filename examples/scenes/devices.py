"""The two classes to detect: cameras and phones, drawn from the views a wearable meets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from examples.scenes.sprite import Color, Sprite, View, darker, grey, hue, rounded

Draw = Callable[[np.random.Generator, View, float], Sprite]


def dslr(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A reflex or mirrorless camera from the front: grip, viewfinder hump, large lens."""
    body = grey(rng, 18, 60) if rng.random() < 0.8 else grey(rng, 120, 210)
    width, height = rng.uniform(120, 150), rng.uniform(78, 100)
    lens = rng.uniform(30, 40)
    sprite = _canvas(width + 130, height + 130, scale)
    depth = rng.uniform(25, 45)
    hump = rng.uniform(20, 34)
    for x, y, tone in _stack(view, -depth, 0, body):
        sprite.rectangle(x, y, width, height, tone, radius=12)
        top = y - height / 2
        sprite.polygon([(x - 32, top + 8), (x - 20, top - hump), (x + 20, top - hump), (x + 32, top + 8)], tone)
    for x, y, tone in _stack(view, 0, 14, darker(body, 0.9)):
        sprite.rectangle(x - width / 2 + 14, y + 6, 28, height - 6, tone, radius=12)
    _leather(rng, sprite, width - 6, height * 0.55, body)
    if rng.random() < 0.4:  # the silver top of a retro body
        sprite.rectangle(0, -height / 2 + 9, width - 4, 16, grey(rng, 130, 215), radius=5)
    for x in (-width / 2 + 16, width / 2 - 18):
        sprite.disc(x, -height / 2 - 2, 9, darker(body, 1.6), squash=0.5)
    sprite.disc(-width / 2 + 14, -height / 2 + 2, 4, grey(rng, 60, 200))
    sprite.text(
        rng.choice(["ALPHA", "OPTIC", "LUMA", "KIRON", "VISTA"]), -18, -height / 2 - hump / 4, 7, (230, 230, 230)
    )
    offset = rng.uniform(-8, 16)
    _lens(rng, sprite, view, (offset, 6.0), lens, length=rng.uniform(20, 75))
    return _finish(rng, sprite)


def compact(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A pocket camera from the front: flat body, small stepped lens, flash window."""
    body = grey(rng, 20, 70) if rng.random() < 0.4 else hue(rng, (0.0, 0.8), (0.3, 0.95))
    width, height = rng.uniform(92, 112), rng.uniform(54, 66)
    sprite = _canvas(width + 60, height + 60, scale)
    for x, y, tone in _stack(view, -20, 0, body):
        sprite.rectangle(x, y, width, height, tone, radius=rng.uniform(4, 14))
    sprite.rectangle(rng.uniform(-30, -10), -height / 2 - 1.5, 14, 4, darker(body, 0.6), radius=1)
    if rng.random() < 0.5:
        sprite.rectangle(-width / 2 + 12, 4, 10, height * 0.6, darker(body, 0.75), radius=4)
    sprite.rectangle(width * 0.05, -height / 2 + 9, 17, 8, grey(rng, 180, 250), radius=2)
    sprite.disc(width * 0.24, -height / 2 + 9, 3, (20, 20, 20))
    sprite.text(
        rng.choice(["SNAP", "PIXEA", "LUMO", "ZOOM 8x"]),
        -width / 2 + 8,
        -height / 2 + 12,
        6,
        darker(body, 0.4 if sum(body) > 300 else 4),
    )
    _lens(rng, sprite, view, (rng.uniform(2, 20), 4.0), rng.uniform(19, 25), length=rng.uniform(4, 30))
    return _finish(rng, sprite)


def rangefinder(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A rangefinder or film camera: two-tone body, viewfinder window, dials, modest lens."""
    metal, skin = grey(rng, 120, 215), hue(rng, (0.1, 0.7), (0.1, 0.45))
    width, height = rng.uniform(118, 140), rng.uniform(70, 82)
    sprite = _canvas(width + 80, height + 80, scale)
    for x, y, tone in _stack(view, -28, 0, metal):
        sprite.rectangle(x, y, width, height, tone, radius=16)
    for x in (-width / 2 + 20, width / 2 - 22, width / 2 - 42):
        sprite.rectangle(x, -height / 2 - 2, rng.uniform(10, 18), 7, darker(metal, 0.8), radius=1)
    _leather(rng, sprite, width, height * 0.62, skin)
    sprite.rectangle(-width / 2 + 26, -height / 2 + 9, 15, 9, (40, 30, 25), radius=2)
    sprite.rectangle(8, -height / 2 + 9, 9, 7, (60, 45, 40), radius=2)
    sprite.disc(width / 2 - 16, -height / 2 + 9, 5, (70, 80, 90))
    _lens(rng, sprite, view, (rng.uniform(-4, 14), 4.0), rng.uniform(21, 28), length=rng.uniform(12, 40))
    return _finish(rng, sprite)


def action(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """An action camera: a small block with a square lens window and sometimes a front screen."""
    body = grey(rng, 22, 75) if rng.random() < 0.75 else hue(rng, (0.4, 0.9), (0.3, 0.8))
    width, height = rng.uniform(58, 72), rng.uniform(42, 52)
    sprite = _canvas(width + 50, height + 50, scale)
    for x, y, tone in _stack(view, -24, 0, body):
        sprite.rectangle(x, y, width, height, tone, radius=8)
    x, y = width / 2 - 17, -height / 2 + 17
    for dx, dy, tone in _stack(view, 0, 6, (30, 30, 30)):
        sprite.rectangle(x + dx, y + dy, 27, 27, tone, radius=6)
    dx, dy = view.shift(6)
    _glass(rng, sprite, x + dx, y + dy, 10)
    if rng.random() < 0.6:
        sprite.rectangle(-width / 2 + 17, 2, 24, 22, (18, 16, 15), radius=2)
        sprite.text("4K", -width / 2 + 9, 6, 8, (230, 230, 230))
    else:
        sprite.rectangle(-width / 2 + 17, height / 2 - 12, 22, 9, darker(body, 1.8), radius=2)
    sprite.disc(-width / 2 + 10, -height / 2 + 7, 2, (40, 40, 240))
    return _finish(rng, sprite)


def camera_back(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A camera seen by its user: screen, dial, buttons, eyepiece, and the lens peeking out behind."""
    body = grey(rng, 20, 65)
    width, height = rng.uniform(110, 145), rng.uniform(66, 92)
    sprite = _canvas(width + 60, height + 80, scale)
    x, y = view.shift(-50)
    sprite.disc(x, y, height * 0.42, darker(body, 0.6))
    sprite.polygon(
        [(-28, -height / 2 + 6), (-18, -height / 2 - 18), (18, -height / 2 - 18), (28, -height / 2 + 6)], body
    )
    sprite.rectangle(0, 0, width, height, body, radius=10)
    sprite.rectangle(0, -height / 2 - 8, 24, 13, darker(body, 0.4), radius=4)
    sprite.rectangle(-width * 0.12, 4, width * 0.6, height * 0.72, (14, 14, 14), radius=2)
    screen = sprite.blank()
    _picture(rng, screen, -width * 0.12, 4, width * 0.56, height * 0.66)
    sprite.add(screen, opacity=float(rng.choice([0.1, 0.9])))
    sprite.disc(width * 0.34, 8, 11, darker(body, 1.6))
    sprite.disc(width * 0.34, 8, 5, darker(body, 0.7))
    for dy in (-24, 26):
        sprite.disc(width * 0.3, dy, 3.5, darker(body, 1.8))
        sprite.disc(width * 0.4, dy, 3.5, darker(body, 1.8))
    return _finish(rng, sprite)


def phone_back(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A phone from behind, its cameras towards the viewer: the view that matters most to a bystander."""
    body = grey(rng, 15, 70) if rng.random() < 0.4 else hue(rng, (0.0, 0.75), (0.3, 0.98))
    width, height, corner = _phone_body(rng)
    sprite = _canvas(width + 30, height + 30, scale)
    for x, y, tone in _stack(view, -9, 0, body):
        sprite.rectangle(x, y, width, height, tone, radius=corner)
    sprite.rectangle(0, 0, width - 3, height - 3, darker(body, 1.12), radius=corner - 1)
    _bump(rng, sprite, view, width, height, body)
    if rng.random() < 0.5:
        sprite.disc(0, rng.uniform(-8, 8), 6.5, darker(body, rng.choice([0.7, 1.5])))
    return _finish(rng, sprite)


def phone_front(rng: np.random.Generator, view: View, scale: float) -> Sprite:
    """A phone's screen: off, showing a picture, an app grid, messages or a lock screen."""
    frame = grey(rng, 10, 60) if rng.random() < 0.7 else hue(rng, (0.0, 0.6), (0.4, 0.95))
    width, height, corner = _phone_body(rng)
    sprite = _canvas(width + 30, height + 30, scale)
    for x, y, tone in _stack(view, -9, 0, frame):
        sprite.rectangle(x, y, width, height, tone, radius=corner)
    bezel = rng.uniform(2, 5)
    sprite.rectangle(0, 0, width - 2.4, height - 2.4, (12, 12, 12), radius=corner - 1)
    chin = rng.uniform(8, 16) if rng.random() < 0.2 else 0.0  # an older phone with a home button
    screen = sprite.blank()
    inner, tall = width - 2 * bezel, height - 2 * bezel - 2 * chin
    content: Callable[..., None] = _SCREENS[rng.integers(len(_SCREENS))]
    content(rng, screen, 0.0, 0.0, inner, tall)
    mask = sprite.blank()
    mask.rectangle(0, 0, inner, tall, (255, 255, 255), radius=max(1.0, corner - bezel - chin))
    screen.pixels = np.minimum(screen.pixels, mask.pixels[..., 3:])
    sprite.add(screen)
    if chin:
        sprite.disc(0, height / 2 - chin / 2 - bezel, chin * 0.38, (45, 45, 45))
    elif rng.random() < 0.4:
        sprite.rectangle(0, -tall / 2 + 3, 22, 5, (8, 8, 8), radius=2.5)
    else:
        sprite.disc(rng.choice([0.0, -inner / 2 + 6]), -tall / 2 + 5, 2.2, (8, 8, 8))
    return _finish(rng, sprite)


CAMERAS: tuple[tuple[Draw, float], ...] = (
    (dslr, 0.36), (compact, 0.22), (rangefinder, 0.16), (action, 0.16), (camera_back, 0.10),
)  # fmt: skip
PHONES: tuple[tuple[Draw, float], ...] = ((phone_back, 0.55), (phone_front, 0.45))


def _canvas(width: float, height: float, scale: float) -> Sprite:
    return Sprite(width, height, scale)


def _stack(view: View, back: float, front: float, color: Color) -> list[tuple[float, float, Color]]:
    """Offsets and tones that draw a solid from its far face to its near one; sides are darker than the face."""
    (x0, y0), (x1, y1) = view.shift(back), view.shift(front)
    steps = max(2, int(np.hypot(x1 - x0, y1 - y0) / 1.5))
    sides = [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps, darker(color, 0.55)) for i in range(steps)]
    return [*sides, (x1, y1, color)]


def _finish(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    sprite.shade(rng)
    if rng.random() < 0.5:
        sprite.glint(rng)
    return sprite


def _leather(rng: np.random.Generator, sprite: Sprite, width: float, height: float, color: Color) -> None:
    band = sprite.blank()
    band.rectangle(0, 6, width, height, darker(color, 0.8), radius=4)
    band.grain(rng, 14)
    sprite.add(band)


def _lens(
    rng: np.random.Generator, sprite: Sprite, view: View, foot: tuple[float, float], radius: float, *, length: float
) -> None:
    """A barrel of stepped rings standing ``length`` mm out of the body, with glass at its end."""
    metal = grey(rng, 20, 50) if rng.random() < 0.75 else grey(rng, 110, 200)
    sections = rng.integers(1, 4)
    near, size = 0.0, radius
    for section in range(sections):
        far, near = near, length * (section + 1) / sections
        if section:
            size = radius * rng.uniform(0.86, 1.08)
        for x, y, tone in _stack(view, far, near, metal):
            sprite.disc(foot[0] + x, foot[1] + y, size, darker(tone, rng.uniform(0.9, 1.15)))
    x, y = foot[0] + view.shift(near)[0], foot[1] + view.shift(near)[1]
    sprite.disc(x, y, size * 0.93, darker(metal, 1.5))
    sprite.disc(x, y, size * 0.86, (22, 22, 22))
    if rng.random() < 0.5:
        accent = hue(rng, (0.6, 1.0), (0.5, 0.9)) if rng.random() < 0.6 else (200.0, 200.0, 200.0)
        sprite.disc(x, y, size * 0.8, accent)
        sprite.disc(x, y, size * 0.76, (18, 18, 18))
    _glass(rng, sprite, x, y, size * rng.uniform(0.5, 0.74))


def _glass(rng: np.random.Generator, sprite: Sprite, x: float, y: float, radius: float) -> None:
    """Dark coated glass: rings of reflected colour and one or two bright spots."""
    sprite.disc(x, y, radius, (30, 22, 18))
    tint = hue(rng, (0.4, 0.9), (0.15, 0.5))
    sprite.disc(x, y, radius * 0.8, tint)
    sprite.disc(x + radius * 0.06, y + radius * 0.06, radius * 0.66, darker(tint, 0.45))
    sprite.disc(x, y, radius * rng.uniform(0.3, 0.48), (10, 8, 8))
    angle = rng.uniform(0, 2 * np.pi)
    dx, dy = 0.45 * radius * np.cos(angle), 0.45 * radius * np.sin(angle)
    sprite.disc(x + dx, y + dy, radius * rng.uniform(0.1, 0.24), (250, 245, 240))
    if rng.random() < 0.5:
        sprite.disc(x - dx, y - dy, radius * 0.1, (200, 160, 190))


def _phone_body(rng: np.random.Generator) -> tuple[float, float, float]:
    width = rng.uniform(64, 79)
    return width, width * rng.uniform(1.95, 2.2), rng.uniform(5, 13)


def _bump(rng: np.random.Generator, sprite: Sprite, view: View, width: float, height: float, body: Color) -> None:
    """The rear camera island: square, pill, bar, disc, or bare lenses."""
    layout = rng.choice(["square", "pill", "bar", "disc", "bare"])
    radius = rng.uniform(5, 7.5)
    top, left = -height / 2, -width / 2
    if layout == "square":
        size = rng.uniform(30, 40)
        x, y = left + size / 2 + 3, top + size / 2 + 3
        island = rounded(0, 0, size, size, 9)
        eyes = [(x - size * 0.22, y - size * 0.22), (x - size * 0.22, y + size * 0.22), (x + size * 0.22, y)]
        flash = (x + size * 0.25, y - size * 0.3)
    elif layout == "pill":
        long = rng.uniform(34, 50)
        x, y = left + 14, top + long / 2 + 5
        island = rounded(0, 0, 20, long, 10)
        eyes = [(x, y + long * f) for f in ((-0.28, 0.02, 0.3) if long > 40 else (-0.22, 0.2))]
        flash = (x + 16, y - long * 0.3)
    elif layout == "bar":
        x, y = 0.0, top + rng.uniform(18, 28)
        island = rounded(0, 0, width - rng.choice([0, 6]), 20, 9)
        eyes = [(x - 18, y), (x - 2, y)]
        flash = (x + 16, y)
    elif layout == "disc":
        size = rng.uniform(38, 50)
        x, y = 0.0, top + size / 2 + 5
        island = rounded(0, 0, size, size, size / 2)
        eyes = [(x + size * 0.24 * a, y + size * 0.24 * b) for a, b in ((-1, -1), (1, -1), (-1, 1), (1, 1))]
        flash = (x, y)
    else:
        x, y = left + 13, top + 26
        island = []
        eyes = [(x, y - 15), (x, y + 2), (x, y + 19)][: rng.integers(1, 4)]
        flash = (x + 15, y - 15)
    tone = darker(body, rng.choice([0.4, 0.8, 1.25]))
    for dx, dy, shade in _stack(view, 0, 2.5, tone):
        if island:
            sprite.polygon([(x + px + dx, y + py + dy) for px, py in island], shade)
    for ex, ey in eyes:
        sprite.disc(ex, ey, radius * 1.15, grey(rng, 60, 190))
        _glass(rng, sprite, ex, ey, radius)
    sprite.disc(*flash, 2.8, (200, 235, 245))


def _off(rng: np.random.Generator, screen: Sprite, x: float, y: float, width: float, height: float) -> None:
    screen.rectangle(x, y, width, height, grey(rng, 8, 30))


def _picture(rng: np.random.Generator, screen: Sprite, x: float, y: float, width: float, height: float) -> None:
    """A photograph or a wallpaper: sky, hills and a sun will do at this size."""
    screen.rectangle(x, y, width, height, hue(rng, (0.2, 0.7), (0.5, 1.0)))
    for _ in range(3):
        base = y + height * rng.uniform(-0.1, 0.4)
        ridge = [(x + width * f, base + height * rng.uniform(-0.15, 0.15)) for f in (-0.5, -0.25, 0.0, 0.25, 0.5)]
        ridge += [(x + width / 2, y + height / 2), (x - width / 2, y + height / 2)]
        screen.polygon(ridge, hue(rng, (0.2, 0.8), (0.15, 0.7)))
    screen.disc(x + width * rng.uniform(-0.3, 0.3), y - height * 0.25, width * 0.1, hue(rng, (0, 0.6), (0.9, 1)))


def _apps(rng: np.random.Generator, screen: Sprite, x: float, y: float, width: float, height: float) -> None:
    screen.rectangle(x, y, width, height, hue(rng, (0.1, 0.6), (0.2, 0.9)))
    pitch = width / 4
    for row in range(int(height / pitch * 0.85)):
        for column in range(4):
            if rng.random() < 0.8:
                at = x + (column - 1.5) * pitch, y - height / 2 + (row + 1.1) * pitch * 1.12
                screen.rectangle(*at, pitch * 0.62, pitch * 0.62, hue(rng, (0.2, 0.9), (0.5, 1.0)), radius=3)


def _messages(rng: np.random.Generator, screen: Sprite, x: float, y: float, width: float, height: float) -> None:
    dark = rng.random() < 0.4
    screen.rectangle(x, y, width, height, grey(rng, 15, 40) if dark else grey(rng, 225, 252))
    mine = hue(rng, (0.4, 0.9), (0.6, 1.0))
    row = y - height / 2 + 16
    screen.rectangle(x, row - 10, width, 11, grey(rng, 40, 70) if dark else mine)
    while row < y + height / 2 - 16:
        tall, wide = rng.uniform(7, 20), width * rng.uniform(0.3, 0.65)
        right = rng.random() < 0.5
        at = x + (width / 2 - wide / 2 - 4) * (1 if right else -1)
        screen.rectangle(at, row + tall / 2, wide, tall, mine if right else grey(rng, 80, 210), radius=4)
        row += tall + 5


def _lock(rng: np.random.Generator, screen: Sprite, x: float, y: float, width: float, height: float) -> None:
    _picture(rng, screen, x, y, width, height)
    words = f"{rng.integers(0, 24):02d}:{rng.integers(0, 60):02d}"
    screen.text(words, x - width * 0.34, y - height * 0.22, width * 0.16, (250, 250, 250))


_SCREENS = (_off, _picture, _apps, _messages, _lock)

"""A camera made of numbers: frames that say which they are, at a rate, and every way of breaking, counted.

It stands behind captures (:class:`edgedet.pictures.live.capture.Capture`) and outlives them: opened
again, it goes on.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import SourceError
from edgedet.pictures.live.capture import Damaged, Finished, Gone, Shot

SIDE = 64
BOX = 16
Trouble = Callable[[int], str | None]
"""From a picture's number to what happens in its place: stall, late (a stall that ends
with the picture), disconnect, resize, damage; None for nothing."""


def box_of(number: int) -> list[float]:
    """Where picture ``number`` of 64 x 64 shows its rectangle, x1, y1, x2, y2."""
    spread = SIDE - BOX
    x, y = (number * 7) % spread, (number * 13) // 5 % spread
    return [float(x), float(y), float(x + BOX), float(y + BOX)]


def picture(number: int, *, scale: int = 1, channel: int = 1) -> NDArray[np.uint8]:
    """Picture ``number``: its rectangle on black."""
    image = np.zeros((SIDE * scale, SIDE * scale, 3), np.uint8)
    x1, y1, x2, y2 = (int(value) * scale for value in box_of(number))
    image[y1:y2, x1:x2] = 180
    image[y1:y2, x1:x2, channel] = 250
    return image


class VirtualCamera:
    """``rate``: pictures a second, None as fast as they are read. ``count``: pictures until its end. ``stall``:
    seconds that a stalled read takes to come back, None until :meth:`release`."""

    def __init__(
        self,
        *,
        rate: float | None = None,
        count: int | None = None,
        trouble: Trouble = lambda number: None,
        channel: int = 1,
        stall: float | None = None,
    ) -> None:
        self.rate = rate
        self.pictures = count
        self.trouble = trouble
        self.channel = channel
        self.stall = stall
        self.number = 0
        self.scale = 1
        self.happened: Counter[str] = Counter()
        self.openings = 0
        self.open_captures = 0
        self.refusing = False
        self.lock = threading.Lock()
        self.freed = threading.Event()
        self.began = time.monotonic()

    def __call__(self) -> VirtualCapture:
        """Open it."""
        if self.refusing:
            raise SourceError("the virtual camera is unplugged")
        self.openings += 1
        return VirtualCapture(self)

    def release(self) -> None:
        """Let stalled reads come back."""
        self.freed.set()


class VirtualCapture:
    """One opening of a camera."""

    count: int | None = None

    def __init__(self, camera: VirtualCamera) -> None:
        self.rate = camera.rate
        self._camera = camera
        self._due = 0.0
        with camera.lock:
            camera.open_captures += 1

    def read(self) -> Shot:
        camera = self._camera
        with camera.lock:
            number = camera.number
            camera.number += 1
        if camera.pictures is not None and number >= camera.pictures:
            raise Finished
        if camera.rate is not None:
            # Like a sensor: pictures come at their times, however late they are asked for.
            now = time.monotonic()
            self._due = max(self._due + 1 / camera.rate, now - now % (1 / camera.rate))
            time.sleep(max(self._due - now, 0.0))
        happens = camera.trouble(number)
        if happens is not None:
            camera.happened[happens] += 1
        if happens == "stall":
            camera.freed.wait(camera.stall)
            raise Gone("stopped", "it had stalled")
        if happens == "late":
            camera.freed.wait(camera.stall)
        if happens == "disconnect":
            raise Gone("stopped", "is it still connected?")
        if happens == "damage":
            raise Damaged("is damaged and cannot be decoded")
        if happens == "resize":
            camera.scale = 3 - camera.scale
        image = picture(number, scale=camera.scale, channel=camera.channel)
        # Too dark for the detector.
        # Too dark for a rectangle; of two pixels, for runs of more than 64 ** 3.
        image[0, :2] = np.array([number // 64**digit % 64 for digit in range(6)]).reshape(2, 3)
        return Shot(image, time.monotonic(), number / (camera.rate or 30))

    def close(self) -> None:
        with self._camera.lock:
            self._camera.open_captures -= 1


def number_in(image: NDArray[np.uint8]) -> int:
    """Which picture it is."""
    return sum(int(value) * 64**digit for digit, value in enumerate(image[0, :2].reshape(-1)))

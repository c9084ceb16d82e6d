"""The pictures to calibrate or to compare on: a dataset's, or whatever ``edgedet detect`` takes frames from."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets import Dataset, read_dataset
from edgedet.pictures.frames import Frame, Unreadable
from edgedet.pictures.image_file import read_image
from edgedet.pictures.image_size import read_image_size
from edgedet.pictures.sources import is_dataset_name, open_source

MAX_FRAMES = 500
"""Maximum number of frames kept of a video."""
KEPT_BYTES = 512 * 2**20
"""Frames of a video are kept decoded, up to here: they cannot be gone back to."""
LIVE_FRAMES, LIVE_STEP = 100, 15
"""Frames taken of a camera or stream that does not end, and of how many one is taken."""


@dataclass(frozen=True)
class Picture:
    """One picture to calibrate on.

    Attributes:
        name: path of its file, or name of a frame, for people.
        width, height: in pixels; 0 where an image file does not say without being decoded.
        pixels: uint8 [H, W, 3] BGR of a frame that cannot be read again; None for a file.

    >>> picture = pictures_of("photos/*.png", first=1).pictures[0]
    >>> picture
    Picture(name='photos/00.png', width=96, height=72)
    >>> picture.read().shape
    (72, 96, 3)
    """

    name: str
    width: int
    height: int
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False)

    def read(self) -> NDArray[np.uint8]:
        """Decode it, or give the pixels that are kept.

        Returns:
            uint8 [H, W, 3] BGR.

        Raises:
            SourceError: it cannot be decoded.
        """
        return read_image(self.name) if self.pixels is None else self.pixels


@dataclass(frozen=True)
class Pictures:
    """Pictures to calibrate on, and where they are from.

    Attributes:
        source: what was asked for.
        pictures: in the order of the source.
        notes: sentences on what was left out, and on how frames of a video were chosen.

    >>> rows = np.zeros((2, 72, 96, 3), np.uint8)
    >>> own = Pictures("my camera", tuple(Picture(f"frame {i}", 96, 72, rows[i]) for i in range(2)))
    >>> [picture.name for picture in own.pictures]
    ['frame 0', 'frame 1']
    """

    source: str
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


def pictures_of(source: str, *, first: int | None = None) -> Pictures:
    """The pictures of a dataset (``PATH[:SPLIT]``, labels are not needed), or those of a source.

    Of a video, frames are chosen that lie evenly over its length: every one, until as many are kept as are to be;
    then every second, every fourth, and so on. A camera or stream without an end gives 100 frames, one of 15.

    Args:
        source: a dataset, or what :func:`edgedet.open_source` takes as text.
        first: take only so many, from the beginning; None takes all of a dataset, folder or pattern.

    Returns:
        Paths of pictures in files, and decoded frames of anything else.

    Raises:
        DatasetError, SourceError: not there, or not readable.

    >>> found = pictures_of("photos/labels.json")
    >>> len(found.pictures), found.pictures[0].name
    (12, 'photos/00.png')
    """
    if is_dataset_name(source):
        return of_dataset(read_dataset(source, needs="pictures"), first=first)
    told: list[Unreadable] = []
    with open_source(source, unreadable=told.append) as frames:
        paths: list[Path] | None = getattr(frames, "paths", None)
        if paths is not None:
            sizes = [(path, read_image_size(path)) for path in paths]
            found = tuple(
                Picture(str(path), size.width if size else 0, size.height if size else 0)
                for path, size in islice(sizes, first)
            )
            return Pictures(source, found)
        if first is not None:
            return Pictures(source, tuple(_in_memory(islice(frames, first))))
        if getattr(frames, "endless", False):
            taken = list(_in_memory(islice(frames, 0, LIVE_FRAMES * LIVE_STEP, LIVE_STEP)))
            chosen = f"{len(taken)} frames, one of {LIVE_STEP}; another run sees others, a recording does not"
        else:
            taken, step = _evenly(frames)
            chosen = f"{len(taken)} frames" + (f", one of {step}, evenly over its length" if step > 1 else "")
    said = (one.reason if one.ends else f"{one.reason}; left out" for one in told)
    return Pictures(source, tuple(taken), (f"calibrated on {chosen}", *said))


def of_dataset(dataset: Dataset, *, first: int | None = None) -> Pictures:
    """The pictures of a dataset that has been read."""
    images = dataset.images[:first]
    return Pictures(dataset.source, tuple(Picture(str(one.path), one.width, one.height) for one in images))


def different(pixels: NDArray[np.generic]) -> int:
    """A number that differs between different pictures (but once in four thousand million)."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _in_memory(frames: Iterable[Frame]) -> Iterator[Picture]:
    for frame in frames:
        height, width = frame.image.shape[:2]
        yield Picture(frame.name, width, height, frame.image)


def _evenly(frames: Iterable[Frame]) -> tuple[list[Picture], int]:
    """Pictures evenly spaced in ``frames``, in one pass and without believing what a video says of its length."""
    taken: list[Picture] = []
    step = 1
    room = MAX_FRAMES
    for number, frame in enumerate(frames):
        if number % step:
            continue
        room = min(room, max(KEPT_BYTES // frame.image.nbytes, 2))
        if len(taken) >= room:
            taken, step = taken[::2], step * 2
            if number % step:
                continue
        taken += _in_memory([frame])
    return taken, step

"""The frames a benchmark runs on, decoded beforehand and kept in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import DatasetError, SourceError
from edgedet.proof.golden_scene import golden_frame

Frame = NDArray[np.uint8]

FRAME_COUNT = 32
SYNTHETIC_NOTE = (
    "synthetic scenes: nothing in them is what the detector was trained on, so post-processing has less or other "
    "work than in the field; give --frames PATH for figures that count"
)


@dataclass(frozen=True)
class FrameSet:
    """Decoded frames to measure on.

    Attributes:
        frames: uint8 [H, W, 3] BGR each.
        capture_ms: time to read and decode each, in milliseconds; empty for synthetic frames.
        kind: where they are from.
        source: what was asked for.

    >>> frames = load_frames(None)
    >>> frames.kind, len(frames.frames), frames.frames[0].dtype.name
    ('synthetic', 8, 'uint8')
    """

    frames: tuple[Frame, ...]
    capture_ms: tuple[float, ...]
    kind: Literal["dataset", "source", "synthetic"]
    source: str

    def describe(self) -> dict[str, Any]:
        """Number, sizes and source of the frames.

        Returns:
            Plain values, as the result file has them.
        """
        sizes = sorted({(frame.shape[1], frame.shape[0]) for frame in self.frames})
        return {
            "kind": self.kind,
            "source": self.source,
            "count": len(self.frames),
            "sizes": [list(size) for size in sizes],
            "note": SYNTHETIC_NOTE if self.kind == "synthetic" else None,
        }


def load_frames(
    source: str | Path | None, *, count: int = FRAME_COUNT, clock: Callable[[], float] = time.perf_counter
) -> FrameSet:
    """Read frames: spread evenly over a dataset or folder, the first ones of a video or camera.

    Args:
        source: dataset (``PATH[:SPLIT]``), image, folder, video or camera; None for synthetic frames.
        count: limit of frames.
        clock: gives seconds, for the time that reading takes.

    Returns:
        The frames, in memory.

    Raises:
        SourceError: nothing readable is there.

    >>> load_frames("photos", count=4).describe()["sizes"]
    [[96, 72]]
    """
    from edgedet.pictures.sources import open_source, read_image

    if source is None:
        frames = tuple(golden_frame(seed) for seed in range(8))
        return FrameSet(frames, (), "synthetic", "golden frames, seeds 0 to 7")
    paths = _image_paths(str(source))
    if paths is not None:
        chosen = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, count).round().astype(int))]
        frames_read, times = _timed(map(read_image, chosen), count, clock)
        return FrameSet(tuple(frames_read), tuple(times), "dataset", str(source))
    with open_source(source) as stream:
        frames_read, times = _timed((frame.image for frame in stream), count, clock)
    if not frames_read:
        raise SourceError(f"{source} gave no frame; expected a dataset, images or a video to run on")
    return FrameSet(tuple(frames_read), tuple(times), "source", str(source))


def _image_paths(source: str) -> list[Path] | None:
    """The image files of a folder or dataset, or None where the source is neither."""
    from edgedet.artifacts.file_signs import IMAGE_SUFFIXES
    from edgedet.pictures.sources import is_dataset_name

    if "://" in source or not is_dataset_name(source):
        return None

    if Path(source).is_dir():
        images = sorted(path for path in Path(source).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if images:
            return images
    from edgedet.datasets import read_dataset

    try:
        dataset = read_dataset(source, needs="pictures")
    except DatasetError as error:
        raise SourceError(f"cannot take frames from {source}: {error}") from error
    return [Path(record.path) for record in dataset.images] or None


def _timed(frames: Iterable[Frame], count: int, clock: Callable[[], float]) -> tuple[list[Frame], Sequence[float]]:
    taken: list[Frame] = []
    times: list[float] = []
    stream = iter(frames)
    while len(taken) < count:
        begin = clock()
        frame = next(stream, None)
        if frame is None:
            break
        times.append(round((clock() - begin) * 1e3, 4))
        taken.append(np.array(frame))
    return taken, times

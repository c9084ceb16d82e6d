"""Pictures that are the frames of clips: which belong together, in which order, at which times."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.errors import DatasetError

TIMES_PER_SECOND = "--fps"


@dataclass(frozen=True)
class Clip:
    """Frames of one recording. ``images``: numbers in the dataset, in order. ``times``: of these, in seconds from
    the first. ``step``: seconds that each frame stands for."""

    name: str
    images: tuple[int, ...]
    times: tuple[float, ...]
    step: float

    @property
    def seconds(self) -> float:
        """Seconds of video that were looked at; what is missing between two frames is not."""
        return len(self.images) * self.step


def states_clips(dataset: Dataset) -> bool:
    """Whether the annotations themselves say which clips the pictures are of."""
    return any(record.clip is not None for record in dataset.images)


def states_rates(dataset: Dataset) -> bool:
    """Whether the annotations say it, and how many frames a second each clip has."""
    return states_clips(dataset) and all(
        record.clip is not None and record.clip.rate is not None for record in dataset.images
    )


def clips_of(dataset: Dataset, fps: float | None, *, option: str = TIMES_PER_SECOND) -> tuple[Clip, ...]:
    """The clips of a dataset, in order of their first pictures.

    Where the annotations say to which clip each picture belongs and its number there, that counts; numbers may
    leave gaps. Else each folder is a clip, and its pictures follow each other by name, ``2.jpg`` before ``10.jpg``.

    Args:
        dataset: whose pictures are frames.
        fps: how many of the annotations' frame numbers, or of a folder's pictures, make a second; None where the
            annotations say it.
        option: how ``fps`` is called in messages.

    Raises:
        DatasetError: a rate that is not there or differs from that of the annotations; some pictures of no clip, or
            two of one number.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise DatasetError(f"{option} is {fps!r}, expected a number of frames per second above 0")
    if not states_clips(dataset):
        if fps is None:
            raise DatasetError(f"{dataset.source} does not say how many frames make a second; add {option} N")
        return _by_folder(dataset.images, fps)
    strangers = [record for record in dataset.images if record.clip is None]
    if strangers:
        raise DatasetError(
            f"{len(strangers):,} of {len(dataset):,} pictures of {dataset.source} have no video_id with a "
            f"frame_id, first {strangers[0].path.name}, and the others do; give all of them both, or none"
        )
    return _by_number(dataset, fps, option)


def _by_folder(images: Iterable[ImageRecord], fps: float) -> tuple[Clip, ...]:
    folders: dict[Path, list[tuple[list[tuple[int, int | str]], int]]] = {}
    for index, record in enumerate(images):
        folders.setdefault(record.path.parent, []).append((_in_order(record.path.name), index))
    home = Path(os.path.commonpath(list(folders))) if folders else Path()
    clips = []
    for folder, members in folders.items():
        ordered = tuple(index for _, index in sorted(members))
        name = folder.relative_to(home).as_posix()
        clips.append(
            Clip(
                folder.name if name == "." else name,
                ordered,
                tuple(place / fps for place in range(len(ordered))),
                1 / fps,
            )
        )
    return tuple(clips)


def _in_order(name: str) -> list[tuple[int, int | str]]:
    """What sorts names as people count: numbers in them by their value."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _by_number(dataset: Dataset, fps: float | None, option: str) -> tuple[Clip, ...]:
    groups: dict[str, list[int]] = {}
    for index, record in enumerate(dataset.images):
        assert record.clip is not None
        groups.setdefault(record.clip.name, []).append(index)
    numbers = {index: record.clip.number for index, record in enumerate(dataset.images) if record.clip is not None}
    rates = {name: _rate(dataset, name, members[0], fps, option) for name, members in groups.items()}
    orders = {name: sorted(members, key=lambda index: numbers[index]) for name, members in groups.items()}
    steps: dict[str, int] = {}
    for name, members in orders.items():
        gaps = [numbers[after] - numbers[before] for before, after in itertools.pairwise(members)]
        if 0 in gaps:
            raise DatasetError(
                f"{dataset.source}: two pictures of clip {name} have the frame_id "
                f"{numbers[members[gaps.index(0)]]}; give each frame a number of its own"
            )
        if gaps:
            counts = Counter(gaps)
            steps[name] = min(counts, key=lambda gap: (-counts[gap], gap))
    usual = Counter(steps.values()).most_common(1)[0][0] if steps else 1
    return tuple(
        Clip(
            name,
            tuple(members),
            tuple((numbers[index] - numbers[members[0]]) / rates[name] for index in members),
            steps.get(name, usual) / rates[name],
        )
        for name, members in orders.items()
    )


def _rate(dataset: Dataset, name: str, member: int, fps: float | None, option: str) -> float:
    clip = dataset.images[member].clip
    stated = None if clip is None else clip.rate
    if stated is None:
        if fps is None:
            raise DatasetError(
                f"{dataset.source} has frame numbers for clip {name} and no 'fps' in its videos; add {option} N, "
                "the number of frames (of these numbers) per second"
            )
        return fps
    if fps is not None and fps != stated:
        raise DatasetError(
            f"{option} is {fps:g}, and {dataset.source} says that clip {name} has {stated:g} frames per second; "
            f"leave {option} out, or mend 'fps' in its videos"
        )
    return stated

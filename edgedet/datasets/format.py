"""What a format's module brings: how it is recognised, read and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from edgedet.datasets.box_form import PIXEL_CORNERS, BoxForm
from edgedet.datasets.dataset import Dataset
from edgedet.datasets.layout import Layout

Find = Callable[[Path], Layout | None]
"""What is at a path, or None where it is not of the format. Raises DatasetError where it is, but broken."""


class Sign(IntEnum):
    """What a format is recognised by, the surest first: a folder may show several."""

    INDEX = 1
    """A file that names the pictures and classes of the whole dataset."""
    FOLDERS = 2
    """Folders of the format's own names."""
    TABLE = 3
    """A file with the boxes of many pictures."""
    PER_PICTURE = 4
    """A file beside each picture that says what it is."""
    BARE = 5
    """A file of numbers beside each picture."""

    @property
    def of_one_picture(self) -> bool:
        """Whether it is one file per picture. A folder may hold several formats of that kind."""
        return self >= Sign.PER_PICTURE


@dataclass(frozen=True)
class Writer:
    """How a format is written.

    ``write``: everything but the pictures, into a folder. It is given where each picture lies below it, by its
    index in ``Dataset.images``, and may return what it could not write of what it carries, in words. ``folder``:
    of the pictures of a split, below it. ``carries``: what it has a word for: ``crowd``, ``difficult``, ``area``,
    ``outlines``, ``keypoints``, ``clip`` (places in a video), ``empty`` (pictures without objects). ``split``: the
    name that a split has in it.
    """

    write: Callable[[Dataset, Path, dict[int, str]], Sequence[str] | None]
    folder: Callable[[str], str]
    carries: frozenset[str] = frozenset()
    split: Callable[[str], str] = str


@dataclass(frozen=True)
class Format:
    """A dataset format.

    ``title``: for people. ``signs``: how it is recognised; what finds it says how it is read. ``form``: how its
    boxes are written. ``writer``: None where it is only read. ``options``: of ``read_dataset`` that it alone has.
    ``chooses_classes``: the reader itself leaves out what is not of the wanted classes.
    """

    title: str
    signs: tuple[tuple[Sign, Find], ...]
    form: BoxForm = PIXEL_CORNERS
    writer: Writer | None = None
    options: frozenset[str] = frozenset()
    chooses_classes: bool = False

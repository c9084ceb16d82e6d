"""A plain folder of pictures, and lists of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from edgedet.datasets.dataset import ImageRecord
from edgedet.datasets.image_size import IMAGE_SUFFIXES
from edgedet.datasets.rows import ProblemLog, picture_size, unlabelled_record


def find_pictures(folder: Path) -> Iterator[Path]:
    """Every picture in and below a folder, in the order of their names; hidden files and folders are passed by."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            yield path


def read_folder(folder: Path, log: ProblemLog) -> tuple[ImageRecord, ...]:
    """The pictures of a folder, without labels."""
    return tuple(_records(find_pictures(folder), log))


def _records(paths: Iterable[Path], log: ProblemLog) -> Iterator[ImageRecord]:
    for path in paths:
        size = picture_size(path, str(path.parent), log)
        if size is not None:
            yield unlabelled_record(path, size)

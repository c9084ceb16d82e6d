"""A plain folder of pictures, and lists of pictures."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from edgedet.artifacts.file_signs import IMAGE_SUFFIXES
from edgedet.datasets.dataset import ImageRecord
from edgedet.datasets.rows import ProblemLog, picture_size, unlabelled_record


def find_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Every file of these suffixes (lower case, with dot) in and below a folder, in the order of their names.

    Hidden files and folders are passed by; links to folders are not followed.
    """
    found: list[Path] = []
    endings = tuple(suffixes)
    for home, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        chosen = (name for name in names if name.lower().endswith(endings) and not name.startswith("."))
        found += [Path(home, name) for name in chosen]
    return sorted(found, key=lambda path: path.parts)


def find_pictures(folder: Path) -> list[Path]:
    """Every picture in and below a folder; see :func:`find_files`."""
    return find_files(folder, IMAGE_SUFFIXES)


def read_folder(folder: Path, log: ProblemLog) -> tuple[ImageRecord, ...]:
    """The pictures of a folder, without labels."""
    return tuple(_records(find_pictures(folder), log))


def _records(paths: Iterable[Path], log: ProblemLog) -> Iterator[ImageRecord]:
    for path in paths:
        size = picture_size(path, str(path.parent), log)
        if size is not None:
            yield unlabelled_record(path, size)

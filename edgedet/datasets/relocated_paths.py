"""The place on this machine of a path that was written on another one.

Annotation tools write what was true where they ran: ``D:\\\\set\\\\images\\\\a.png``, ``/home/me/images/a.png``,
``../images/a.png``. Its tail (``images/a.png``, ``a.png``) is what still holds beside the annotation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from edgedet.datasets.folder import find_pictures
from edgedet.files import is_file, is_there

_TRIED = 50
"""Number of names that are tried to find the folder a file means."""


def path_parts(text: str) -> tuple[str, ...]:
    """The parts of a path as any system writes it, without drive, root, ``.`` and ``..``.

    >>> path_parts("D:\\\\vest\\\\valid"), path_parts("../train/./images"), path_parts("file:///a/b.png")
    (('vest', 'valid'), ('train', 'images'), ('a', 'b.png'))
    """
    parts = re.split(r"[\\/]+", re.sub(r"^([A-Za-z]:|[a-z]+:(?=//))", "", text.strip()))
    return tuple(part for part in parts if part not in ("", ".", ".."))


def is_absolute(text: str) -> bool:
    """Whether a path starts at a root, on this system or on Windows.

    >>> is_absolute("/a/b"), is_absolute("D:\\\\a"), is_absolute("a/b")
    (True, True, False)
    """
    return re.match(r"[\\/]|[A-Za-z]:[\\/]", text.strip()) is not None


class Place(NamedTuple):
    """``guessed``: only the tail of what was written lies there."""

    path: Path
    guessed: bool


def find_tail(text: str, folders: Iterable[Path], there: Callable[[Path], bool] = is_there) -> Place | None:
    """The path as it is written, in one of the folders, else its longest tail that lies in one."""
    folders = tuple(dict.fromkeys(folders))
    for folder in folders:
        if there(folder / text):
            return Place(folder / text, False)
    parts = path_parts(text)
    for start in range(len(parts)):
        for folder in folders:
            path = folder.joinpath(*parts[start:])
            if there(path):
                return Place(path, start > 0 or is_absolute(text))
    return None


class Located(NamedTuple):
    """``paths``: a name to its picture. ``unclear``: names of which several mean one picture."""

    paths: dict[str, Path]
    unclear: frozenset[str]


def locate_pictures(names: Iterable[str], folders: Sequence[Path]) -> Located | None:
    """The pictures of these names in the one folder that has most of them; None where none has any.

    One folder only: a picture that is missing among the validation pictures must not be taken from the training
    pictures. In it a name is looked for as it is, by its tails, then with other letter case.
    """
    names = tuple(dict.fromkeys(names))
    listings = Listings()
    best: tuple[int, Path] | None = None
    for folder in dict.fromkeys(folders):
        hits = sum(_in_folder(folder, name, listings) is not None for name in names[:_TRIED])
        if hits and (best is None or hits > best[0]):
            best = hits, folder
    if best is None and len(names) > _TRIED:
        return locate_pictures(names[_TRIED:], folders)
    if best is None:
        return None
    paths = {name: path for name in names if (path := _in_folder(best[1], name, listings)) is not None}
    claims: dict[Path, set[tuple[str, ...]]] = {}
    for name, path in paths.items():
        claims.setdefault(path, set()).add(path_parts(name))
    unclear = frozenset(name for name, path in paths.items() if len(claims[path]) > 1)
    return Located({name: path for name, path in paths.items() if name not in unclear}, unclear)


class Listings:
    """Names in folders, whatever their letter case; every folder is listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def find(self, folder: Path, name: str) -> Path | None:
        """The only entry of ``folder`` that has this name in any letter case."""
        if folder not in self._folders:
            entries: dict[str, list[str]] = {}
            try:
                for entry in folder.iterdir():
                    entries.setdefault(entry.name.casefold(), []).append(entry.name)
            except OSError:
                pass
            self._folders[folder] = entries
        found = self._folders[folder].get(name.casefold(), [])
        if name in found:
            return folder / name
        return folder / found[0] if len(found) == 1 else None


def _in_folder(folder: Path, name: str, listings: Listings) -> Path | None:
    place = find_tail(name, (folder,), is_file)
    if place is not None:
        return place.path
    parts = path_parts(name)
    for start in range(len(parts)):
        path: Path | None = folder
        for part in parts[start:]:
            path = None if path is None else listings.find(path, part)
        if path is not None and path.is_file():
            return path
    return None


class PictureIndex:
    """The pictures below a folder, found by the place of an annotation that has a picture's name."""

    def __init__(self, folder: Path) -> None:
        self.pictures = tuple(find_pictures(folder))
        self._root = folder
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.pictures:
            self._by_stem.setdefault(path.stem.casefold(), []).append(path)

    def beside(self, annotation: Path) -> tuple[Path, ...]:
        """The pictures of an annotation's name whose folders are most like its own; more than one is a tie."""
        candidates = self._by_stem.get(annotation.stem.casefold(), [])
        here = Counter(part.casefold() for part in annotation.parent.parts)

        def likeness(path: Path) -> tuple[int, bool]:
            shared = here & Counter(part.casefold() for part in path.parent.parts)
            return shared.total(), path.stem == annotation.stem

        best = max(map(likeness, candidates), default=(0, False))
        return tuple(path for path in candidates if likeness(path) == best)

    def named(self, text: str) -> tuple[Path, ...]:
        """The pictures of the file name an annotation gives."""
        parts = path_parts(text)
        name = parts[-1].casefold() if parts else ""
        return tuple(p for p in self._by_stem.get(Path(name).stem, []) if p.name.casefold() == name)

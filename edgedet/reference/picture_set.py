"""The pictures and class names that a bare list of COCO results leaves to a dataset."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.datasets.coco import usual_folders
from edgedet.datasets.coco_files import coco_files
from edgedet.datasets.folder import find_pictures
from edgedet.datasets.read import read_dataset, split_argument
from edgedet.datasets.text import read_text
from edgedet.errors import DatasetError, ReferenceBoxesError
from edgedet.reference.boxes_file import BoxesFile, Key, Listed
from edgedet.reference.file_reader import read_categories, read_pictures


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures of a dataset: their places and their names.

    ``pictures``: with ``file_name`` and, of a COCO file, its own ids; empty for a folder. ``categories``: names by
    number where the dataset has numbers of its own, ``names`` otherwise. ``paths``: of pictures that the dataset
    places itself. ``below``: a folder anywhere below which they lie.
    """

    source: str
    folders: tuple[Path, ...]
    pictures: tuple[Listed, ...] = ()
    categories: Mapping[Key, str] = dataclasses.field(default_factory=dict)
    names: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    below: Path | None = None

    def named(self, picture: Listed) -> Path | None:
        """The one picture of that file name in the dataset, or anywhere below the folder.

        Raises:
            ReferenceBoxesError: there are several.
        """
        name = Path(picture.file_name).name
        # A dataset's keys stand for its pictures; names alone may repeat.
        if self.paths and isinstance(picture.key, str) and Path(picture.key) in self.paths:
            return Path(picture.key)
        known = self.paths if self.below is None else tuple(find_pictures(self.below))
        alike = [path for path in known if path.name == name]
        if len(alike) > 1:
            raise ReferenceBoxesError(
                f"{self.source} has several pictures named {name} ({alike[0]}, {alike[1]}); give the path below it "
                "as file_name"
            )
        return alike[0] if alike else None

    def complete(self, file: BoxesFile) -> tuple[BoxesFile, list[str]]:
        """``file`` with the pictures and categories it leaves out, and what is not compared.

        Raises:
            ReferenceBoxesError: a picture or a class number that is not the dataset's, or could be several.
        """
        notes = []
        if file.categories is None:
            file = dataclasses.replace(file, categories=dict(self._categories(file)))
            unnamed = next((key for key in file.classes if key not in (file.categories or {})), None)
            if unnamed is not None:
                raise ReferenceBoxesError(
                    f"{file.path}: a box is of the category {unnamed!r}, which {self.source} does not have; its "
                    f"categories are {', '.join(map(repr, list(file.categories or {})[:5]))}"
                )
        if file.pictures is None:
            if not self.pictures:
                raise ReferenceBoxesError(
                    f"{file.path} names its pictures by numbers alone, and {self.source} is a folder; give the "
                    "COCO file whose ids they are"
                )
            found = self._pictures(file)
            chosen = tuple(dict.fromkeys(found))
            file = dataclasses.replace(file, pictures=chosen, of=tuple(picture.key for picture in found))
            rest = len(self.pictures) - len(chosen)
            if rest:
                notes.append(
                    f"{rest} pictures of {self.source} without a box in {file.path.name} are not compared: it does "
                    "not say whether it looked at them"
                )
        return file, notes

    def _pictures(self, file: BoxesFile) -> list[Listed]:
        """Each box's picture. One way of naming has to do for the whole file: an id may be another one's stem."""
        if all(name is not None for name in file.file_names):
            wanted: Sequence[Any] = [Path(name or "").name for name in file.file_names]
            ways = [("file name", _unique(self.pictures, lambda p: (Path(p.file_name).name,)))]
        else:
            wanted = file.of
            ways = [
                ("id", {} if self.paths else _unique(self.pictures, lambda p: (p.key,))),
                ("file name", _unique(self.pictures, lambda p: (p.file_name, Path(p.file_name).name))),
                ("file name without suffix", _unique(self.pictures, _stems)),
            ]
        able = [(way, table) for way, table in ways if all(key in table for key in wanted)]
        if not able:
            known = set().union(*(table for _, table in ways))
            lost = next((key for key in wanted if key not in known), wanted[0])
            raise ReferenceBoxesError(
                f"{file.path}: a box is of the image {lost!r}, which {self.source} does not have, or has more than "
                f"once; it has {len(self.pictures)} images, first {self.pictures[0].file_name!r}"
            )
        readings = {way: [table[key] for key in wanted] for way, table in able}
        first = able[0][0]
        for way, reading in readings.items():
            if reading != readings[first]:
                raise ReferenceBoxesError(
                    f"{file.path}: its image numbers fit the {first}s and the {way}s of {self.source}, which are "
                    'different pictures; add "file_name" to every row'
                )
        return readings[first]

    def _categories(self, file: BoxesFile) -> Mapping[Key, str]:
        if self.categories:
            return self.categories
        names, used = self.names, set(file.classes)
        if not names:
            raise ReferenceBoxesError(
                f"{file.path} names its classes by numbers alone, and {self.source} is a folder; give the COCO "
                "file whose categories they are"
            )
        if used <= set(names):
            return {name: name for name in names}
        # Ultralytics counted from 0 until 8.3 and counts from 1 since; nothing in the file says which.
        for first in (0, 1):
            if all(isinstance(key, int) and first <= key < first + len(names) for key in used) and (
                (0 in used) if first == 0 else len(names) in used
            ):
                return {first + index: name for index, name in enumerate(names)}
        raise ReferenceBoxesError(
            f"{file.path}: its category numbers ({', '.join(map(str, sorted(used, key=str)[:5]))}) may count from "
            f"0 or from 1, and {self.source} has names without numbers; give a COCO file, or write "
            '"categories": [{"id", "name"}] into it'
        )


def open_picture_set(source: str | Path, *, bare: bool) -> PictureSet:
    """A folder of pictures or a dataset. ``bare``: the boxes need its numbers and names.

    Raises:
        ReferenceBoxesError: neither. DatasetError: a dataset that cannot be read.
    """
    try:
        path, split = split_argument(str(source))
    except DatasetError as error:
        raise ReferenceBoxesError(f"{error}; expected the folder with the reference's pictures") from error
    if path.is_dir() and not bare and split is None:
        return PictureSet(str(source), (path,), below=path)
    annotations = _coco_file(path, split)
    if annotations is not None:
        return _coco_set(annotations, str(source))
    dataset = read_dataset(source, needs="pictures")
    paths = tuple(record.path for record in dataset.images)
    pictures = tuple(
        Listed(str(record.path), record.path.name, (record.width, record.height)) for record in dataset.images
    )
    if not dataset.labelled:
        return PictureSet(str(source), (path,), paths=paths)
    return PictureSet(str(source), (), pictures, names=dataset.names, paths=paths)


def _coco_file(path: Path, split: str | None) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() == ".json" else None
    files = coco_files(path)
    if not files or (split is None and len(files) > 1):
        return None  # read_dataset says which splits there are
    return next(iter(files.values())) if split is None else files.get(split)


def _coco_set(path: Path, source: str) -> PictureSet:
    """The ids and numbers as the file has them: :mod:`edgedet.datasets` forgets both."""
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ReferenceBoxesError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in ("images", "categories")):
        raise ReferenceBoxesError(f"{path} is not a COCO file: expected an object with 'images' and 'categories'")
    pictures = read_pictures(data["images"], path)
    categories = read_categories(data["categories"], path)
    return PictureSet(source, tuple(usual_folders(path)), pictures, categories)


def _unique(pictures: Iterable[Listed], keys: Callable[[Listed], Iterable[Key]]) -> dict[Key, Listed]:
    """Pictures by key; keys of several are left out."""
    table: dict[Key, Listed] = {}
    several = set()
    for picture in pictures:
        for key in keys(picture):
            if table.setdefault(key, picture) is not picture:
                several.add(key)
    return {key: picture for key, picture in table.items() if key not in several}


def _stems(picture: Listed) -> tuple[Key, ...]:
    """Ultralytics writes a stem of digits as a number."""
    stem = Path(picture.file_name).stem
    return (stem, int(stem)) if stem.isdigit() else (stem,)

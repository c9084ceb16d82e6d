"""YOLO's ``data.yaml``: class names, and which pictures a split has.

Its paths are often those of another machine. What is written is tried first, then its tail beside the YAML, which
is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edgedet.artifacts.file_signs import IMAGE_SUFFIXES
from edgedet.datasets.folder import find_pictures
from edgedet.datasets.relocated_paths import Place, find_tail, is_absolute, path_parts
from edgedet.datasets.text import read_text, require_distinct
from edgedet.errors import DatasetError, MissingDependencyError
from edgedet.files import is_file, is_folder, is_there

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SPLITS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}
"""A split and the keys it goes by; Ultralytics too takes ``validation`` for ``val``."""


class Listed(NamedTuple):
    """``pictures``: each, and where it is listed. ``folders``: the folders that are named. ``complete``: only
    folders are, so that the pictures are all that there are."""

    pictures: list[tuple[Path, str]]
    folders: list[Path]
    complete: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """A data.yaml. ``names``: by label. ``words_per_line``: words of a label line that are its box; None: all.
    ``keypoints``: how many follow the box, and the numbers of each (x, y, or x, y, visibility); None without
    ``kpt_shape``. ``keypoint_names``: as ``kpt_names`` has them; empty without."""

    path: Path
    names: tuple[str, ...]
    entries: dict[str, Any]
    root: str
    words_per_line: int | None
    notes: tuple[str, ...]
    keypoints: tuple[int, int] | None = None
    keypoint_names: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits it names."""
        return tuple(self.entries)

    def pictures(self, split: str, images: Path | None) -> Listed:
        """The pictures of a split. ``images``: the folder they are in, whatever the file says.

        Raises:
            DatasetError: they are nowhere.
        """
        pictures: dict[Path, str] = {}
        notes: list[str] = []
        complete = True
        folders = []
        repeated = 0
        for entry in self._entries(split):
            place = Place(images, False) if images is not None else self._resolve(split, entry)
            path = place.path
            if place.guessed:
                notes.append(f"{split} is {entry} in {self.path.name}, read from {path}")
            inside = self.path.parent / entry.removeprefix("../")
            if entry.startswith("../") and path != inside and is_there(inside):
                notes.append(f"{split} read from {path.resolve()}, as {self.path.name} says, and not from {inside}")
            if is_folder(path):
                found = [(picture, path.name) for picture in find_pictures(path)]
                folders.append(path)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                found, complete = [(path, f"{self.path.name}:{split}")], False
            else:
                found, more = _list(path, self.path.parent)
                notes += more
                complete = False
            repeated += len(found) - len({picture for picture, _ in found} - set(pictures))
            for picture, where in found:
                pictures.setdefault(picture, where)
        if repeated:
            notes.append(f"{repeated:,} pictures of {split} are listed more than once and count once")
        return Listed(list(pictures.items()), folders, complete, tuple(notes))

    def _entries(self, split: str) -> list[str]:
        entries = self.entries[split]
        entries = entries if isinstance(entries, list) else [entries]
        if not all(isinstance(entry, str) and entry for entry in entries):
            raise DatasetError(f"{self.path}: {split} must be a folder, a .txt list, or a list of these")
        return list(entries)

    def _resolve(self, split: str, entry: str) -> Place:
        place = self._find(entry)
        if place is None:
            raise DatasetError(
                f"{self.path}: {split} names {entry}, but {self._root / entry} is neither a folder nor a .txt list"
            )
        if place.guessed:
            # A tail that fits two splits alike (D:\a\train\images, D:\a\val\images) tells them apart no more.
            for other in self.splits:
                for rival in self._entries(other) if other != split else ():
                    found = self._find(rival)
                    if path_parts(rival) != path_parts(entry) and found is not None and found.path == place.path:
                        raise DatasetError(
                            f"{self.path}: {split} names {entry} and {other} {rival}; of both only {place.path} is "
                            "here; correct the paths"
                        )
        return place

    def _find(self, entry: str) -> Place | None:
        home = self.path.parent
        for folder in (self._root, home):
            if _can_be_read(folder / entry):
                return Place(folder / entry, False)
        # Files moved to another machine keep a stale root. Roboflow writes "../train/images" for "train/images".
        whole = f"{self.root}/{entry}" if self.root and not is_absolute(entry) else entry
        return find_tail(entry, (home,), _can_be_read) or find_tail(whole, (home,), _can_be_read)

    @property
    def _root(self) -> Path:
        return self.path.parent / self.root


def find_yaml(folder: Path) -> Path | None:
    """The data.yaml of a folder, by its name, else by its content.

    Raises:
        DatasetError: several files could be meant.
    """
    named = next((folder / name for name in YAML_NAMES if (folder / name).is_file()), None)
    if named is not None:
        return named
    likely = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".yaml", ".yml") and _is_dataset(p))
    if len(likely) > 1:
        raise DatasetError(
            f"{folder} has several YOLO datasets: {', '.join(path.name for path in likely)}; name one"
        )
    return likely[0] if likely else None


def load_yaml(path: Path) -> Any:
    """The content of a YAML file, plain values only.

    Raises:
        MissingDependencyError: PyYAML is not installed.
        DatasetError: not YAML.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path.name} needs PyYAML, which is not installed: pip install 'edgedet[report]' (or pyyaml)"
        ) from error
    # In double quotes YAML takes a backslash for an escape, which nobody means in "D:\train".
    text = re.sub(r'"[A-Za-z]:\\[^"\n]*"', lambda match: match[0].replace("\\", "/"), read_text(path))
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def read_settings(path: Path) -> Settings:
    """A data.yaml, checked.

    Raises:
        MissingDependencyError: PyYAML is not installed.
        DatasetError: not such a file, or its class names do not say which number is which class.
    """
    settings = load_yaml(path)
    if not isinstance(settings, dict) or not {"names", "nc"} & set(settings):
        raise DatasetError(f"{path} is not a YOLO dataset: expected the keys train, val and names")
    names, notes = _class_names(settings, path)
    entries = {
        split: settings[key]
        for split, keys in SPLITS.items()
        if (key := next((key for key in keys if settings.get(key)), None)) is not None
    }
    if not entries:
        raise DatasetError(f"{path} names no pictures: expected the keys train, val or test")
    words = 5 if "kpt_shape" in settings else None
    shape = _keypoint_shape(settings.get("kpt_shape"))
    return Settings(
        path,
        names,
        entries,
        str(settings.get("path") or ""),
        words,
        notes,
        shape,
        _keypoint_names(settings.get("kpt_names"), shape),
    )


def _keypoint_shape(value: Any) -> tuple[int, int] | None:
    """``kpt_shape``, where it is two whole numbers that can be meant."""
    if not isinstance(value, list) or len(value) != 2 or not all(type(each) is int for each in value):
        return None
    return (value[0], value[1]) if value[0] > 0 and value[1] in (2, 3) else None


def _keypoint_names(value: Any, shape: tuple[int, int] | None) -> tuple[str, ...]:
    """``kpt_names``: a list of names, or one for each class, where those are alike."""
    lists = list(value.values()) if isinstance(value, dict) else [value]
    same = lists and all(isinstance(each, list) and each == lists[0] for each in lists)
    names = tuple(map(str, lists[0])) if same else ()
    return names if shape is not None and len(names) == shape[0] else ()


def _class_names(settings: dict[str, Any], path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names by label, and notes."""
    names, count = settings.get("names"), settings.get("nc")
    count = int(count) if isinstance(count, str | int | float) and re.fullmatch(r"\d+(\.0*)?", str(count)) else None
    if names is None:
        if not count:
            raise DatasetError(f"{path}: 'nc' must be a whole number of at least 1 where there are no 'names'")
        return tuple(f"class_{label}" for label in range(count)), (
            f"{path.name} names no class: they are called class_0 to class_{count - 1}",
        )
    if isinstance(names, dict):
        numbered = {int(key): name for key, name in names.items() if re.fullmatch(r"\d{1,9}", str(key).strip())}
        if sorted(numbered) != list(range(len(names))) or len(numbered) != len(names):
            raise DatasetError(f"{path}: the keys of 'names' must be 0 to {len(names) - 1}, each once")
        names = [numbered[label] for label in range(len(numbered))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: 'names' must be a list of class names, or a table from 0, 1, 2 … to names")
    names = [str(name).strip() for name in names]
    require_distinct(names, f"{path}: 'names'")
    if count is not None and count != len(names):
        raise DatasetError(f"{path}: nc is {count}, but {len(names)} names are given")
    return tuple(names), ()


def _is_dataset(path: Path) -> bool:
    try:
        text = read_text(path)
    except DatasetError:
        return False
    keys = set(re.findall(r"^([A-Za-z]+)\s*:", text, re.MULTILINE))
    return bool(keys & {"names", "nc"}) and bool(keys & {"train", "val", "valid", "validation", "test"})


def _can_be_read(path: Path) -> bool:
    return is_folder(path) or (is_file(path) and path.suffix.lower() in {".txt", *IMAGE_SUFFIXES})


def _list(path: Path, home: Path) -> tuple[list[tuple[Path, str]], tuple[str, ...]]:
    """The pictures a list names, relative to it, as the tools that write "./images/a.jpg" mean it; and notes."""
    pictures = []
    guessed = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name = line.strip()
        if name:
            place = find_tail(name, (path.parent, home), is_file)
            picture = path.parent / Path(*path_parts(name)) if place is None else place.path
            pictures.append((picture, f"{path.name}:{number}"))
            if place is not None and place.guessed:
                guessed.append(name)
    if not guessed:
        return pictures, ()
    return pictures, (
        f"{len(guessed):,} paths in {path.name} are of another place; taken by their tail: {guessed[0]}",
    )

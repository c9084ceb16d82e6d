"""The COCO files that make up a dataset, and the names of their splits."""

from __future__ import annotations

import mmap
from pathlib import Path

from edgedet.datasets.layout import by_split, is_split, pattern_of, split_folders

ROBOFLOW_NAME = "_annotations.coco.json"
PREFIX = "instances_"
_KEYS = (b'"images"', b'"annotations"', b'"categories"')


def is_coco(path: Path) -> bool:
    """Whether a JSON file has the keys of COCO; files of hundreds of megabytes are not parsed for that."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(key) >= 0 for key in _KEYS)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def file_split(path: Path) -> str:
    """The split an annotation file stands for.

    >>> file_split(Path("annotations/instances_val2017.json")), file_split(Path("valid/_annotations.coco.json"))
    ('val2017', 'valid')
    """
    return path.parent.name if _named_by_folder(path) else path.stem.removeprefix(PREFIX)


def coco_files(path: Path) -> dict[str, Path]:
    """Split name to annotation file of a folder or file."""
    if not path.is_dir():
        return {file_split(path): path}
    places = (path, path / "annotations")
    usual = [file for place in places for file in sorted(place.glob(f"{PREFIX}*.json"))]
    usual += sorted(path.glob(f"*/{ROBOFLOW_NAME}"))
    if (path / ROBOFLOW_NAME).is_file():
        usual.append(path / ROBOFLOW_NAME)
    # No name of the usual ones: FiftyOne's labels.json, Label Studio's result.json, annotations/train.json …
    found = usual or [f for place in (*places, *split_folders(path)) for f in _json_files(place) if is_coco(f)]
    return by_split(found, file_split, path)


def other_splits(path: Path) -> list[Path]:
    """The files that hold the dataset's other splits: of the same name in other splits' folders, or of the same
    folder and pattern of name."""
    home = path.parent
    if _named_by_folder(path):
        return [f for folder in split_folders(home.absolute().parent) if (f := folder / path.name).is_file()]
    if path.stem.startswith(PREFIX):
        return sorted(home.glob(f"{PREFIX}*.json"))
    pattern = pattern_of(path.stem)
    return [other for other in _json_files(home) if "*" in pattern and pattern_of(other.stem) == pattern]


def files_beside(path: Path) -> list[Path]:
    """The other COCO files in a file's folder."""
    return [other for other in _json_files(path.parent) if other != path and is_coco(other)]


def _named_by_folder(path: Path) -> bool:
    if path.name == ROBOFLOW_NAME:
        return True
    return is_split(path.parent.name) and not path.stem.startswith(PREFIX) and not is_split(path.stem)


def _json_files(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() == ".json")
    except OSError:
        return []

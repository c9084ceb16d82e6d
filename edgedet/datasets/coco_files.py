"""Which COCO files make up a dataset, and what their splits are called."""

from __future__ import annotations

import mmap
from pathlib import Path

from edgedet.datasets.layout import is_split, pattern_of, split_folders

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


def coco_files(path: Path) -> tuple[dict[str, Path], tuple[Path, ...]]:
    """Split name to annotation file of a folder or file, and all files of the dataset it belongs to."""
    if path.is_dir():
        files = _in_folder(path)
        found = list(files.values())
    else:
        files, found = {file_split(path): path}, [path]
    beside = [other for one in found for other in _other_splits(one)]
    return files, tuple(sorted({*found, *beside}))


def _in_folder(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in (folder, folder / "annotations"):
        for path in sorted(place.glob(f"{PREFIX}*.json")):
            found.setdefault(path.stem.removeprefix(PREFIX), path)
    for path in sorted(folder.glob(f"*/{ROBOFLOW_NAME}")):
        found.setdefault(path.parent.name, path)
    if (folder / ROBOFLOW_NAME).is_file():
        found.setdefault(folder.name, folder / ROBOFLOW_NAME)
    if found:
        return found
    # No name of the usual ones: FiftyOne's labels.json, Label Studio's result.json, annotations/train.json …
    for place in (folder, folder / "annotations", *split_folders(folder)):
        for path in _json_files(place):
            if is_coco(path):
                found.setdefault(file_split(path), path)
    return found


def _other_splits(path: Path) -> list[Path]:
    """The files that hold the dataset's other splits: of the same name in other splits' folders, or of the same
    folder and pattern of name."""
    home = path.parent
    if _named_by_folder(path):
        return [
            other for folder in split_folders(home.absolute().parent) if (other := folder / path.name).is_file()
        ]
    if path.stem.startswith(PREFIX):
        return sorted(home.glob(f"{PREFIX}*.json"))
    pattern = pattern_of(path.stem)
    return [other for other in _json_files(home) if "*" in pattern and pattern_of(other.stem) == pattern]


def _named_by_folder(path: Path) -> bool:
    if path.name == ROBOFLOW_NAME:
        return True
    return is_split(path.parent.name) and not path.stem.startswith(PREFIX) and not is_split(path.stem)


def _json_files(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.suffix.lower() == ".json")
    except OSError:
        return []

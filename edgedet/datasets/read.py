"""``read_dataset``: one argument, recognised by what is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgedet.datasets.annotation import find_annotation, read_annotation
from edgedet.datasets.annotation import split_of as annotation_split
from edgedet.datasets.coco import find_coco, read_coco
from edgedet.datasets.coco import split_of as coco_split
from edgedet.datasets.dataset import Dataset, Format, ImageRecord
from edgedet.datasets.folder import read_folder
from edgedet.datasets.open_images import Mark, find_open_images, read_open_images
from edgedet.datasets.open_images import split_of as open_images_split
from edgedet.datasets.rows import ProblemLog, Strictness
from edgedet.datasets.voc import is_voc, read_voc, voc_splits
from edgedet.datasets.yolo import YAML_NAMES, read_yolo, yolo_splits
from edgedet.errors import DatasetError

Names = tuple[str, ...]
Records = tuple[ImageRecord, ...]
Notes = tuple[str, ...]

ALL = "all"
EXPECTED = (
    "COCO JSON, a YOLO data.yaml, a Pascal VOC root (Annotations, JPEGImages, ImageSets), an Open Images box CSV, "
    "annotation.txt, or a folder of pictures"
)


def read_dataset(
    source: str | Path,
    *,
    images: str | Path | None = None,
    classes: Sequence[str] | None = None,
    exclude: Collection[Mark] = (),
    problems: Strictness = "drop",
) -> Dataset:
    """Read a dataset, whatever its format.

    ``source``: ``PATH`` or ``PATH:SPLIT``. Where a dataset has several splits one must be named, or ``all`` for
    everything: calibrating on the pictures that judge must not happen by accident. ``images``: folder of the
    pictures where they do not lie at a usual place. ``classes``: only these, labelled in this order.
    ``exclude``: Open Images boxes with any of these marks are left out. ``problems``: drop bad annotations and
    name them in ``Dataset.problems``, or stop at the first.

    >>> read_dataset("nothing/here")
    Traceback (most recent call last):
    edgedet.errors.DatasetError: nothing/here: no such file or folder

    Raises:
        DatasetError: nothing there, not a dataset, no or an unknown split, nothing usable in it, or a bad
            annotation with ``problems="stop"``.
        MissingDependencyError: a YOLO dataset without PyYAML.
    """
    path, split = split_argument(str(source))
    folder = None if images is None else Path(images)
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected the folder with the dataset's pictures")
    log = ProblemLog(problems)
    request = _Request(log, folder, classes, exclude)
    names, records, format_name, notes = _read(path, split, request)
    dataset = Dataset(names, records, format_name, str(source), tuple(log.found), notes)
    if classes is not None and format_name != "openimages":
        if format_name == "folder":
            raise DatasetError(f"{source} is a plain folder of pictures: there are no classes to choose from")
        dataset = dataset.select_classes(classes)
    if not dataset.images:
        raise DatasetError(f"nothing usable in it; {dataset.describe()}. Expected {EXPECTED}")
    return dataset


def split_argument(source: str) -> tuple[Path, str | None]:
    """Take ``PATH[:SPLIT]`` apart; a colon that belongs to an existing path stays in it.

    Raises:
        DatasetError: no such path.
    """
    if source and Path(source).exists():
        return Path(source), None
    head, colon, split = source.rpartition(":")
    if colon and head and split and Path(head).exists():
        return Path(head), split
    raise DatasetError(f"{source}: no such file or folder")


class _Request(NamedTuple):
    log: ProblemLog
    images: Path | None
    classes: Sequence[str] | None
    exclude: Collection[Mark]


def _read(path: Path, split: str | None, request: _Request) -> tuple[Names, Records, Format, Notes]:
    """Recognise what is there and read it. Class names, records, format, notes."""
    log, images, classes, exclude = request
    yaml = next((path / name for name in YAML_NAMES if (path / name).is_file()), None) if path.is_dir() else path
    if yaml is not None and yaml.suffix.lower() in (".yaml", ".yml"):
        splits = _choose(path, split, yolo_splits(yaml))
        return *read_yolo(yaml, splits, log, images), "yolo", ()
    if path.is_dir() and is_voc(path):
        splits = _choose(path, split, voc_splits(path))
        return *read_voc(path, log, images=images, splits=splits), "voc", ()
    files = _files(path, find_coco, ".json", coco_split)
    if files:
        chosen = _choose(path, split, tuple(files))
        return *_joined([read_coco(files[name], log, images, name) for name in chosen]), "coco", ()
    files = _files(path, find_open_images, ".csv", open_images_split)
    if files:
        chosen = _choose(path, split, tuple(files))
        parts = [
            read_open_images(files[name], log, images=images, classes=classes, exclude=exclude, split=name)
            for name in chosen
        ]
        return (
            *_joined([part[:2] for part in parts]),
            "openimages",
            tuple(note for part in parts for note in part[2]),
        )
    files = _files(path, find_annotation, ".txt", annotation_split)
    if files:
        chosen = _choose(path, split, tuple(files))
        return *_joined([read_annotation(files[name], log, images, name) for name in chosen]), "annotation", ()
    if path.is_file():
        raise DatasetError(f"{path} is not a dataset; expected {EXPECTED}")
    if split is not None:
        raise DatasetError(f"{path} is a plain folder of pictures and has no split {split!r}; drop ':{split}'")
    return (), read_folder(path, log), "folder", ()


def _files(
    path: Path, find: Callable[[Path], dict[str, Path]], suffix: str, split_of: Callable[[Path], str]
) -> dict[str, Path]:
    """Split name to annotation file, whether the argument was a folder or one of the files."""
    if path.is_dir():
        return find(path)
    return {split_of(path): path} if path.suffix.lower() == suffix else {}


def _choose(path: Path, wanted: str | None, there: tuple[str, ...]) -> tuple[str, ...]:
    """The splits to read.

    Raises:
        DatasetError: not there, or none named although there are several.
    """
    if wanted == ALL:
        # trainval repeats train and val.
        return tuple(name for name in there if not (name == "trainval" and {"train", "val"} <= set(there)))
    if wanted is None and len(there) <= 1:
        return there
    if wanted in there:
        return (wanted,)
    named = [name for name in there if name] or ["none"]
    if wanted is None:
        raise DatasetError(
            f"{path} has the splits {', '.join(named)}; name one, such as {path}:{named[0]}, or :{ALL}"
        )
    raise DatasetError(f"{path} has no split {wanted!r}; it has {', '.join(named)}")


def _joined(parts: list[tuple[Names, Records]]) -> tuple[Names, Records]:
    """Splits with one list of class names; names that only a later split knows come last."""
    names = tuple(dict.fromkeys(name for part_names, _ in parts for name in part_names))
    records: list[ImageRecord] = []
    for part_names, part in parts:
        if part_names == names[: len(part_names)]:
            records += part
            continue
        label = np.array([names.index(name) for name in part_names], np.int32)
        records += [replace(record, labels=label[record.labels]) for record in part]
    return names, tuple(records)

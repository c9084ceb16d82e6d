"""What every format's module tells about a folder or file: which splits lie there, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.datasets.dataset import PLACES_SHOWN, ImageRecord
from edgedet.datasets.rows import ProblemLog

SPLIT_NAMES = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "trainval", "minival"}
)


class Request(NamedTuple):
    """What :func:`edgedet.datasets.read_dataset` was asked for; see there. ``options``: of one format alone.
    ``outlines``, ``keypoints``: whether those of objects are kept."""

    log: ProblemLog
    images: Path | None
    classes: Sequence[str] | None
    options: Mapping[str, Any]
    outlines: bool = False
    keypoints: bool = False


class Content(NamedTuple):
    """Class names by label, records, and what is to be said about them. ``skeleton``: what the keypoints of the
    records are, None where they have none."""

    names: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    notes: tuple[str, ...] = ()
    skeleton: Skeleton | None = None


@dataclass(frozen=True)
class Layout:
    """A dataset as it was found. ``splits``: those that can be read; empty where there are none.

    ``read``: the named splits. Class names and their numbers are those of the whole dataset, whichever splits are
    read: what was converted split by split must fit together.
    """

    splits: tuple[str, ...]
    read: Callable[[tuple[str, ...], Request], Content]


def split_of_folder(path: Path, root: Path) -> str:
    """The split that the folders between ``root`` and a file say it belongs to, "" where they do not.

    >>> split_of_folder(Path("set/images/val/a.png"), Path("set"))
    'val'
    """
    parts = path.relative_to(root).parts[:-1]
    return next((part for part in parts if is_split(part)), "")


def is_split(name: str) -> bool:
    """Whether a folder's name is one that splits have.

    >>> is_split("val2017"), is_split("Test"), is_split("cats")
    (True, True, False)
    """
    return re.sub(r"[-_]?\d+$", "", name.casefold()) in SPLIT_NAMES


def pattern_of(stem: str) -> str:
    """A file's name with its split left out: files of one pattern are the splits of one dataset.

    >>> pattern_of("train_labels"), pattern_of("test_labels"), pattern_of("instances_val2017")
    ('*_labels', '*_labels', 'instances_*')
    """
    words = re.split(r"([^A-Za-z0-9]+)", stem.casefold())
    return "".join("*" if is_split(word) else word for word in words)


def grouped(paths: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Split to its files; "" holds those outside any split's folder."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(split_of_folder(path, root), []).append(path)
    return groups


def split_folders(folder: Path) -> list[Path]:
    """The folders in a folder that are named as splits are."""
    try:
        return sorted(entry for entry in folder.iterdir() if is_split(entry.name) and entry.is_dir())
    except OSError:
        return []


def whole_of(folder: Path) -> tuple[Path, str]:
    """The root of the dataset a folder belongs to, and which split it is; (folder, "") where it stands alone."""
    folder = folder.absolute()
    return (folder.parent, folder.name) if is_split(folder.name) else (folder, "")


def elsewhere_note(names: Iterable[str], here: Collection[str], splits: Iterable[str]) -> tuple[str, ...]:
    """That the class list is the whole dataset's, where the splits that were read alone would have another."""
    others = [name for name in names if name not in here]
    if not others:
        return ()
    told = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    where = ", ".join(split for split in splits if split)
    return (
        f"classes are numbered over the whole dataset{f' ({where})' if where else ''}; not in this part: {told}",
    )


def by_split(files: Iterable[Path], split_of: Callable[[Path], str], root: Path) -> dict[str, Path]:
    """Split name to file; files that share a split's name go by their own, so that none hides another."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(split_of(path), []).append(path)
    named: dict[str, Path] = {}
    for split, members in groups.items():
        for path in members:
            inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
            named[split if len(members) == 1 else inside.with_suffix("").as_posix()] = path
    return named


def numbering_note(names: Sequence[str], others: Mapping[Path, Sequence[str]]) -> tuple[str, ...]:
    """Neighbouring files that number a class of the same name differently: their results must not be joined."""
    notes = []
    for path, theirs in others.items():
        name = next((n for n in theirs if n in names and theirs.index(n) != names.index(n)), None)
        if name is not None:
            notes.append(
                f"{path.name} beside it numbers classes otherwise: {name!r} is {names.index(name)} here and "
                f"{theirs.index(name)} there"
            )
    return tuple(notes)


def left_out_note(paths: Sequence[Path], why: str) -> tuple[str, ...]:
    """How many files something is the matter with, and the first of them."""
    if not paths:
        return ()
    first = ", ".join(path.name for path in paths[:PLACES_SHOWN])
    more = f" and {len(paths) - PLACES_SHOWN:,} more" if len(paths) > PLACES_SHOWN else ""
    return (f"{len(paths):,} {'picture' if len(paths) == 1 else 'pictures'} {why}: {first}{more}",)


def joined(parts: Sequence[Content], names: tuple[str, ...]) -> Content:
    """Splits under one list of class names; names that it lacks come last."""
    names = tuple(dict.fromkeys([*names, *(name for part in parts for name in part.names)]))
    records: list[ImageRecord] = []
    for part in parts:
        if part.names == names[: len(part.names)]:
            records += part.records
            continue
        label = np.array([names.index(name) for name in part.names], np.int32)
        records += [replace(record, labels=label[record.labels]) for record in part.records]
    notes = tuple(note for part in parts for note in part.notes)
    skeletons = list(dict.fromkeys(part.skeleton for part in parts if part.skeleton is not None))
    if len({each.names for each in skeletons}) > 1:
        records = [replace(record, keypoints=None) for record in records]
        return Content(names, tuple(records), (*notes, "keypoints not read: splits name them differently"))
    return Content(names, tuple(records), notes, skeletons[0] if skeletons else None)

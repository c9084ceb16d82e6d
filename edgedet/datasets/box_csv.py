"""A CSV of one box per line, as TensorFlow's object detection takes it and Roboflow exports it.

Columns ``filename,width,height,class,xmin,ymin,xmax,ymax`` in any order, edges in pixels. Splits are files
(``train_labels.csv``) or folders (``train/_annotations.csv``). A picture without a line has no place in this
format: whether it holds an object is not known.
"""

from __future__ import annotations

import csv
import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edgedet.datasets.folder import find_files, find_pictures
from edgedet.datasets.format import Format, Sign
from edgedet.datasets.layout import (
    Content,
    Layout,
    Request,
    by_split,
    elsewhere_note,
    is_split,
    joined,
    left_out_note,
    numbering_note,
    pattern_of,
    split_folders,
)
from edgedet.datasets.relocated_paths import Located, locate_pictures
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_names_beside, read_text
from edgedet.errors import DatasetError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NEEDED = {"filename", "class", *_CORNERS}


class _Box(NamedTuple):
    where: str
    name: str
    corners: list[float]
    stated: tuple[int, int] | None


def is_box_csv(path: Path) -> bool:
    """Whether a file is a CSV with these columns."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return set(_titles(file.readline(4096))) >= _NEEDED
    except OSError:
        return False


def find(path: Path) -> Layout | None:
    """The CSVs of a folder or of the splits' folders in it, or the one that is named; None where there is none."""
    places = find_files(path, (".csv",)) if path.is_dir() else [path] if path.suffix.lower() == ".csv" else []
    files = by_split([file for file in places if is_box_csv(file)], _split_of, path)
    splits = tuple(name for name in files if name or len(files) > 1)
    return Layout(splits, partial(_read, files)) if files else None


def _split_of(path: Path) -> str:
    words = pattern_of(path.stem)
    if "*" not in words:
        return path.parent.name if is_split(path.parent.name) else ""
    before, _, after = words.partition("*")
    return path.stem[len(before) : len(path.stem) - len(after)]


def _csv_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".csv")


def _read(files: dict[str, Path], splits: tuple[str, ...], request: Request) -> Content:
    read = {split: _boxes(files[split], request.log) for split in splits or tuple(files)}
    first = next(iter(files.values()))
    names = read_names_beside(first.parent)
    notes: tuple[str, ...] = ()
    if names is None:
        here = {name for boxes in read.values() for name in _names(boxes)}
        dataset = sorted({other for file in files.values() for other in _other_splits(file)})
        names = tuple(sorted({*here, *(name for path in dataset for name in _names_in(path))}))
        notes = elsewhere_note(names, here, map(_split_of, dataset))
        known = {*dataset, *(files[split] for split in read)}
        beside = [file for file in _csv_files(first.parent) if file not in known and is_box_csv(file)]
        lists = {path: sorted(_names_in(path)) for path in beside}
        notes += numbering_note(names, lists)
    parts = [_content(files[split], boxes, names, split, request) for split, boxes in read.items()]
    content = joined(parts, names)
    return content._replace(notes=(*content.notes, *notes))


def _other_splits(path: Path) -> list[Path]:
    home, pattern = path.parent, pattern_of(path.stem)
    if "*" in pattern:
        beside = [file for file in _csv_files(home) if pattern_of(file.stem) == pattern]
    elif is_split(home.name):
        beside = [folder / path.name for folder in split_folders(home.absolute().parent)]
    else:
        beside = []
    return [file for file in beside if is_box_csv(file)]


def _boxes(path: Path, log: ProblemLog) -> dict[str, list[_Box]]:
    """The boxes by file name."""
    boxes: dict[str, list[_Box]] = {}
    lines = read_text(path).splitlines()
    titles = _titles(lines[0])
    try:
        for number, fields in enumerate(csv.reader(lines[1:], skipinitialspace=True), 2):
            if not any(field.strip() for field in fields):
                continue
            where = f"{path.name}:{number}"
            row = {title: field.strip() for title, field in zip(titles, fields, strict=False)}
            if len(fields) != len(titles) or not row["filename"]:
                log.add(where, "not a line of as many fields as the header", "line dropped")
                continue
            lines_of = boxes.setdefault(row["filename"], [])
            if not any(row[key] for key in ("class", *_CORNERS)):
                continue  # a picture without objects
            if not row["class"]:
                log.add(where, "line without a class", "line dropped")
                continue
            sides = [to_number(row.get(key)) for key in ("width", "height")]
            stated = (int(sides[0]), int(sides[1])) if all(map(math.isfinite, sides)) else None
            lines_of.append(_Box(where, row["class"], [to_number(row[key]) for key in _CORNERS], stated))
    except csv.Error as error:
        raise DatasetError(f"{path} is not a CSV: {error}") from error
    return boxes


def _names(boxes: dict[str, list[_Box]]) -> set[str]:
    return {box.name for lines in boxes.values() for box in lines}


def _names_in(path: Path) -> set[str]:
    """The classes in a file nobody asked to read; none where it is broken."""
    try:
        return _names(_boxes(path, ProblemLog()))
    except DatasetError:
        return set()


def _content(
    path: Path, boxes: dict[str, list[_Box]], names: tuple[str, ...], split: str, request: Request
) -> Content:
    log, home = request.log, path.parent
    places = [
        home,
        home / split,
        home / "images",
        home / "images" / split,
        home.parent / split,
        home.parent / "images",
    ]
    folders = places if request.images is None else [request.images]
    located = locate_pictures(boxes, folders)
    if located is None and boxes:
        tried = ", ".join(str(folder) for folder in dict.fromkeys(folders))
        raise DatasetError(f"{path}: no folder holds its pictures (tried {tried}); name it with --images DIR")
    located = located or Located({}, frozenset())
    labels = {name: label for label, name in enumerate(names)}
    records = []
    for name, lines in boxes.items():
        where = lines[0].where if lines else path.name
        if name in located.unclear:
            log.add(f"{where} ({name})", "picture of several names", "image dropped")
            continue
        picture = located.paths.get(name, home / name)
        size = picture_size(picture, where, log, lines[0].stated if lines else None)
        if size is None:
            continue
        rows = []
        for box in lines:
            if box.name in labels:
                x1, y1, x2, y2 = box.corners
                rows.append(Row(box.where, labels[box.name], x1, y1, x2, y2))
            else:
                log.add(f"{box.where} ({box.name!r})", "unknown class")
        records.append(build_record(picture, size, rows, log, split))
    used = set(located.paths.values())
    around = sorted({picture.parent for picture in used})
    unused = [p for folder in around for p in find_pictures(folder) if p not in used] if _alone(path) else []
    return Content(names, tuple(records), left_out_note(unused, f"without a line in {path.name} left out"))


def _alone(path: Path) -> bool:
    """Whether the pictures around a file are its own, and not those of other splits too."""
    return is_split(path.parent.name) or len(_other_splits(path)) <= 1


def _titles(line: str) -> list[str]:
    return [title.strip().casefold() for title in next(csv.reader([line]), [])]


FORMAT = Format(title="TensorFlow CSV", signs=((Sign.TABLE, find),))

"""``annotation.txt``: lines of ``path,x1,y1,x2,y2,class``, edges in pixels, paths relative to the file.

A line ``path,,,,,`` is a picture without objects. Labels follow ``classes.txt`` beside the file where there is one,
else the alphabet over all splits (``annotation_train.txt``, ``annotation_val.txt``). A first line of column titles
is passed over. The same lines in a ``.csv`` are read when the file is named.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.format import Format, Sign, Writer
from edgedet.datasets.layout import Content, Layout, Request, elsewhere_note, joined, numbering_note, pattern_of
from edgedet.datasets.relocated_paths import Located, locate_pictures
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_names_beside, read_text
from edgedet.errors import DatasetError
from edgedet.files import atomic_path

FIELDS = 6
STEM = "annotation"
_Lines = dict[str, list[tuple[str, str, list[float]]]]
"""Picture to the lines of its boxes: place in the file, class, corners."""


def is_annotation(path: Path) -> bool:
    """Whether a text file's first line has the format's shape."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            line = next((line for line in file if line.strip()), "")
    except OSError:
        return False
    fields = _fields(line.strip()[:4096])
    if fields is None:
        return False
    corners = [field.strip() for field in fields[1:5]]
    return not any(corners) or all(map(_is_number, corners)) or corners[0].casefold() in ("x1", "xmin")


def split_of(path: Path) -> str:
    """The split a file stands for.

    >>> split_of(Path("annotation_val.txt")), split_of(Path("annotation.txt"))
    ('val', '')
    """
    return path.stem.removeprefix(STEM).lstrip("_") if path.stem.startswith(STEM) else ""


def find(path: Path) -> Layout | None:
    """The ``annotation*.txt`` of a folder, or the file that is named; None where there is none."""
    if path.is_dir():
        files = {split_of(file): file for file in sorted(path.glob(f"{STEM}*.txt")) if is_annotation(file)}
    elif path.suffix.lower() == ".txt" or (path.suffix.lower() == ".csv" and is_annotation(path)):
        files = {split_of(path): path}
    else:
        return None
    return Layout(tuple(files), partial(_read, files)) if files else None


def _read(files: dict[str, Path], splits: tuple[str, ...], request: Request) -> Content:
    home = next(iter(files.values())).parent
    lines = {split: _lines(files[split], request.log) for split in splits}
    notes: tuple[str, ...] = ()
    names = read_names_beside(home)
    if names is None:
        here = _classes(lines.values())
        dataset = sorted({path for file in files.values() for path in _other_splits(file)})
        elsewhere = {name for path in dataset for name in _classes_in(path)}
        names = tuple(sorted(here | elsewhere))
        known = {*dataset, *files.values()}
        suffix = next(iter(files.values())).suffix
        beside = [path for path in sorted(home.glob(f"*{suffix}")) if path not in known and is_annotation(path)]
        notes = elsewhere_note(names, here, (path.stem for path in dataset))
        notes += numbering_note(names, {path: sorted(_classes_in(path)) for path in beside})
    parts = [_content(files[split], lines[split], names, split, request) for split in splits]
    return joined(parts, names)._replace(notes=notes)


def _other_splits(path: Path) -> list[Path]:
    """The files of the same dataset: its name's, but for the split."""
    if path.stem.startswith(STEM):
        beside = path.parent.glob(f"{STEM}*{path.suffix}")
        return [other for other in beside if is_annotation(other)]
    pattern = pattern_of(path.stem)
    beside = path.parent.glob(f"*{path.suffix}")
    return [
        other for other in beside if "*" in pattern and pattern_of(other.stem) == pattern and is_annotation(other)
    ]


def _classes(files: Iterable[_Lines]) -> set[str]:
    return {name for lines in files for boxes in lines.values() for _, name, _ in boxes}


def _classes_in(path: Path) -> set[str]:
    """The classes in a file nobody asked to read; none where it is broken."""
    try:
        return _classes([_lines(path, ProblemLog())])
    except DatasetError:
        return set()


def _lines(path: Path, log: ProblemLog) -> _Lines:
    """The boxes by picture, classes as written.

    Raises:
        DatasetError: not UTF-8 text, or no line in it is of the format.
    """
    rows: _Lines = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where = f"{path.name}:{number}"
        if not line.strip():
            continue
        fields = _fields(line)
        if fields is None:
            log.add(where, "not a line of 'path,x1,y1,x2,y2,class'", "line dropped")
            continue
        name, *corners, class_name = (field.strip() for field in fields)
        if not any(corners) and not class_name:
            rows.setdefault(name, [])
            continue
        values = [to_number(corner) for corner in corners]
        if number == 1 and all(math.isnan(value) for value in values):
            continue
        if not class_name:
            log.add(where, "line without a class", "line dropped")
            continue
        rows.setdefault(name, []).append((where, class_name, values))
    if not rows:
        raise DatasetError(f"{path} holds no line of the form path,x1,y1,x2,y2,class")
    return rows


def _content(path: Path, lines: _Lines, names: tuple[str, ...], split: str, request: Request) -> Content:
    log, home = request.log, request.images or path.parent
    located = locate_pictures(lines, [home, home / "images"]) or Located({}, frozenset())
    labels = {name: label for label, name in enumerate(names)}
    records: list[ImageRecord] = []
    for name, boxes in lines.items():
        where = boxes[0][0] if boxes else path.name
        if name in located.unclear:
            log.add(f"{where} ({name})", "picture of several names", "image dropped")
            continue
        picture = located.paths.get(name, home / name)
        size = picture_size(picture, where, log)
        if size is None:
            continue
        good = []
        for where, class_name, (x1, y1, x2, y2) in boxes:
            if class_name in labels:
                good.append(Row(where, labels[class_name], x1, y1, x2, y2))
            else:
                log.add(f"{where} ({class_name!r})", "unknown class")
        records.append(build_record(picture, size, good, log, split))
    return Content(names, tuple(records))


def _fields(line: str) -> list[str] | None:
    # From the right, since paths may hold commas; quoted fields where a class does.
    fields = next(csv.reader([line])) if '"' in line else line.rsplit(",", FIELDS - 1)
    return fields if len(fields) == FIELDS else None


def _is_number(text: str) -> bool:
    return math.isfinite(to_number(text))


def _write(dataset: Dataset, root: Path, placed: dict[int, str]) -> None:
    """One file per split and ``classes.txt``.

    The format knows neither crowds nor difficult objects.
    """
    for split in dataset.splits or ("",):
        with (
            atomic_path(root / f"{STEM}{'_' if split else ''}{split}.txt") as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            for index, name in placed.items():
                record = dataset.images[index]
                if record.split != split:
                    continue
                for box, label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
                    corners = [f"{round(value, 4):.10g}" for value in box]
                    writer.writerow([name, *corners, dataset.names[label]])
                if not len(record):
                    writer.writerow([name, "", "", "", "", ""])
    with atomic_path(root / "classes.txt") as temporary:
        temporary.write_text("".join(f"{name}\n" for name in dataset.names), encoding="utf-8")


FORMAT = Format(
    title="annotation.txt",
    signs=((Sign.TABLE, find),),
    writer=Writer(_write, folder=lambda split: "images", carries=frozenset({"empty"})),
)

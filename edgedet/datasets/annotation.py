"""``annotation.txt``: lines of ``path,x1,y1,x2,y2,class``, edges in pixels, paths relative to the file.

A line ``path,,,,,`` is a picture without objects. Labels follow ``classes.txt`` beside the file where there is one,
else the alphabet. A first line of column titles is passed over.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_names_beside, read_text
from edgedet.errors import DatasetError
from edgedet.files import atomic_path

FIELDS = 6
STEM = "annotation"


def is_annotation(path: Path) -> bool:
    """Whether a text file's first line has the format's shape."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return len(file.readline(4096).rstrip("\n").rsplit(",", FIELDS - 1)) == FIELDS
    except OSError:
        return False


def split_of(path: Path) -> str:
    """The split a file stands for.

    >>> split_of(Path("annotation_val.txt")), split_of(Path("annotation.txt"))
    ('val', '')
    """
    return path.stem.removeprefix(STEM).lstrip("_") if path.stem.startswith(STEM) else ""


def find_annotation(folder: Path) -> dict[str, Path]:
    """Split name ("" for ``annotation.txt`` itself) to file; empty where the folder holds none."""
    return {split_of(path): path for path in sorted(folder.glob(f"{STEM}*.txt")) if is_annotation(path)}


def read_annotation(
    path: Path, log: ProblemLog, images: Path | None = None, split: str = "", names: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], tuple[ImageRecord, ...]]:
    """Class names and records.

    Raises:
        DatasetError: not UTF-8 text, or no line in it is of the format.
    """
    rows: dict[str, list[tuple[str, str, list[float]]]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where = f"{path.name}:{number}"
        if not line.strip():
            continue
        # From the right, since paths may hold commas; quoted fields where a class does.
        fields = next(csv.reader([line])) if '"' in line else line.rsplit(",", FIELDS - 1)
        if len(fields) != FIELDS:
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
    names = names or read_names_beside(path.parent)
    if names is None:
        names = tuple(sorted({class_name for lines in rows.values() for _, class_name, _ in lines}))
    labels = {name: label for label, name in enumerate(names)}
    records = []
    for name, lines in rows.items():
        picture = (images or path.parent) / name
        size = picture_size(picture, lines[0][0] if lines else path.name, log)
        if size is None:
            continue
        good = []
        for where, class_name, values in lines:
            if class_name in labels:
                x1, y1, x2, y2 = values
                good.append(Row(where, labels[class_name], x1, y1, x2, y2))
            else:
                log.add(f"{where} ({class_name!r})", "unknown class")
        records.append(build_record(picture, size, good, log, split))
    return names, tuple(records)


def write_annotation(dataset: Dataset, root: Path, placed: dict[int, str]) -> None:
    """One file per split and ``classes.txt``. ``placed``: index of an image to its path below ``root``.

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

"""Open Images (storage.googleapis.com/openimages): a CSV of boxes in shares of the picture, one of class names.

``train-annotations-bbox.csv`` and its like name classes by machine ids (/m/0dv5r); ``class-descriptions*.csv``
beside it (or one folder up) gives their names. Pictures are ``<ImageID>.jpg`` in a folder named like the split, in
``images``, ``data``, or where ``--images`` says. Boxes over groups (IsGroupOf) are read as crowds.

Pictures are annotated only for classes somebody checked: with a subset of classes, pictures without any of them are
left out, since nobody knows whether they hold one.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from edgedet.datasets.box_form import CORNERS, BoxForm
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.format import Format, Sign, Writer
from edgedet.datasets.layout import Content, Layout, Request, by_split, elsewhere_note, joined
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_text
from edgedet.errors import DatasetError
from edgedet.files import atomic_path, is_file

Mark = Literal["occluded", "truncated", "group", "depiction", "inside"]
MARKS: tuple[Mark, ...] = get_args(Mark)
_COLUMN_OF_MARK = {
    "occluded": "IsOccluded",
    "truncated": "IsTruncated",
    "group": "IsGroupOf",
    "depiction": "IsDepiction",
    "inside": "IsInside",
}
SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG")
_NEEDED = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_COLUMNS = (
    "ImageID",
    "Source",
    "LabelName",
    "Confidence",
    "XMin",
    "XMax",
    "YMin",
    "YMax",
    *_COLUMN_OF_MARK.values(),
)


def is_open_images(path: Path) -> bool:
    """Whether a file is a CSV of Open Images boxes."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(4096)
    except OSError:
        return False
    return set(_NEEDED) <= {column.strip(' "\n') for column in header.split(",")}


def find(path: Path) -> Layout | None:
    """The box CSVs of a folder, or the one that is named; None where there is none."""
    places = sorted(path.glob("*.csv")) if path.is_dir() else [path] if path.suffix.lower() == ".csv" else []
    files = by_split([file for file in places if is_open_images(file)], split_of, path)
    return Layout(tuple(files), partial(_read, files)) if files else None


def split_of(path: Path) -> str:
    """The split a box CSV stands for.

    >>> split_of(Path("oidv6-train-annotations-bbox.csv")), split_of(Path("validation-annotations-bbox.csv"))
    ('train', 'validation')
    """
    stem = path.stem
    return next((split for split in ("train", "validation", "test", "val") if split in stem.split("-")), stem)


def _read(files: dict[str, Path], splits: tuple[str, ...], request: Request) -> Content:
    """Class names (alphabetical; those of ``request.classes`` in its order), records, and what was left out.

    Open Images describes 600 classes. Those that no picture here has in any split would be noise in every table.

    Raises:
        DatasetError: no class descriptions, no pictures, or an unknown class.
    """
    home = next(iter(files.values()))
    described = _descriptions(home)
    every = tuple(sorted(set(described.values())))
    names = tuple(request.classes) if request.classes is not None else every
    unknown = [name for name in names if name not in every]
    if unknown:
        raise DatasetError(f"the class descriptions beside {home} have no class {unknown[0]!r}; check the spelling")
    parts = [_read_file(files[split], described, names, split, request) for split in splits]
    content = joined(parts, names)
    if request.classes is not None:
        return content
    here = {content.names[label] for record in content.records for label in record.labels.tolist()}
    beside = [path for path in sorted(home.parent.glob("*.csv")) if is_open_images(path)]
    others = [path for path in beside if path not in {files[split] for split in splits}]
    elsewhere = {name for path in others for name in _occurring(path, described, request)}
    kept = tuple(name for name in content.names if name in here | elsewhere)
    whole = Dataset(content.names, content.records, "openimages", "").select_classes(kept)
    note = elsewhere_note(kept, here, (split_of(path) for path in beside))
    return Content(kept, whole.images, (*content.notes, *note))


def _occurring(path: Path, described: dict[str, str], request: Request) -> set[str]:
    """The classes in a CSV nobody asked to read, of the pictures that are here. It may have millions of lines."""
    there = [stems for folder in _picture_folders(path, request.images) if (stems := _stems(folder))]
    if not there:
        return set()
    found: list[set[str]] = [set() for _ in there]
    hits = [0] * len(there)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True)
        columns = [column.strip() for column in next(reader)]
        image_id, label = columns.index("ImageID"), columns.index("LabelName")
        marks = [
            columns.index(_COLUMN_OF_MARK[mark]) for mark in _excluded(request) if _COLUMN_OF_MARK[mark] in columns
        ]
        try:
            for fields in reader:
                if len(fields) != len(columns) or any(fields[mark].strip() == "1" for mark in marks):
                    continue
                for index, stems in enumerate(there):
                    if fields[image_id] in stems:
                        hits[index] += 1
                        found[index].add(fields[label])
        except csv.Error:
            pass  # named when the file itself is read
    best = max(range(len(there)), key=hits.__getitem__)
    return {described[label] for label in found[best] if label in described}


def _excluded(request: Request) -> Collection[Mark]:
    """Boxes with any of these marks are left out: the option ``exclude``."""
    marks: Collection[Mark] = request.options.get("exclude", ())
    return marks


def _stems(folder: Path) -> set[str]:
    return {picture.stem for picture in folder.glob("*") if picture.suffix in SUFFIXES}


def _read_file(
    path: Path, described: dict[str, str], names: tuple[str, ...], split: str, request: Request
) -> Content:
    log, excluded = request.log, _excluded(request)
    labels = {name: label for label, name in enumerate(names)}
    rows: dict[str, list[Row]] = {}
    first_line: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for where, fields in _lines(path, log):
        image_id = fields["ImageID"]
        first_line.setdefault(image_id, where)
        name = described.get(fields["LabelName"])
        if name is None:
            log.add(f"{where} ({fields['LabelName']})", "unknown class")
            continue
        marks = _marks(fields)
        unwanted = "other class" if name not in labels else next((m for m in excluded if m in marks), None)
        if unwanted is not None:
            left_out[unwanted] += 1
            continue
        x1, y1, x2, y2 = (to_number(fields[key]) for key in ("XMin", "YMin", "XMax", "YMax"))
        row = Row(where, labels[name], x1, y1, x2, y2, crowd="group" in marks)
        rows.setdefault(image_id, []).append(row)
    wanted = [image_id for image_id in first_line if request.classes is None or image_id in rows]
    notes = [f"{count:,} boxes left out: {why}" for why, count in left_out.items()]
    if len(wanted) < len(first_line):
        notes.append(
            f"{len(first_line) - len(wanted):,} images left out: none of the wanted classes was looked for"
        )
    folder = _picture_folder(path, wanted, request.images)
    wheres = {image_id: first_line[image_id] for image_id in wanted}
    return Content(names, tuple(_records(folder, wheres, rows, log, split)), tuple(notes))


def _marks(fields: dict[str, str]) -> set[str]:
    return {mark for mark, column in _COLUMN_OF_MARK.items() if (fields.get(column) or "").strip() == "1"}


def _records(
    folder: Path,
    wheres: dict[str, str],
    rows: dict[str, list[Row]],
    log: ProblemLog,
    split: str,
) -> Iterator[ImageRecord]:
    for image_id, where in wheres.items():
        candidates = [folder / f"{image_id}{suffix}" for suffix in SUFFIXES]
        picture = next((path for path in candidates if is_file(path)), candidates[0])
        size = picture_size(picture, where, log)
        if size is None:
            continue
        width, height = size
        scaled = (
            row._replace(x1=row.x1 * width, y1=row.y1 * height, x2=row.x2 * width, y2=row.y2 * height)
            for row in rows.get(image_id, ())
        )
        yield build_record(picture, size, scaled, log, split)


def _lines(path: Path, log: ProblemLog) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]
        if not set(_NEEDED) <= set(reader.fieldnames):
            raise DatasetError(
                f"{path} is not a CSV of Open Images boxes; expected the columns {', '.join(_NEEDED)}"
            )
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                log.add(f"{path.name}:{reader.line_num}", f"broken CSV ({error})", "line dropped")
                continue
            if fields is None:
                return
            where = f"{path.name}:{reader.line_num}"
            if None in fields or any(not fields.get(key) for key in _NEEDED):
                log.add(where, "not a line of as many fields as the header", "line dropped")
            elif Path(fields["ImageID"]).name != fields["ImageID"]:
                log.add(where, "ImageID is not a plain name", "line dropped")
            else:
                yield where, fields


def _descriptions(path: Path) -> dict[str, str]:
    found = [
        *sorted(path.parent.glob("*class-descriptions*.csv")),
        *sorted(path.parent.parent.glob("*class-desc*.csv")),
    ]
    if not found:
        raise DatasetError(
            f"{path} names classes by machine ids, and no class-descriptions*.csv lies beside it; download it from "
            "the same page as the boxes"
        )
    try:
        rows = [row for row in csv.reader(read_text(found[0]).splitlines()) if len(row) >= 2]
    except csv.Error as error:
        raise DatasetError(
            f"{found[0]} is not a CSV of class ids and names ({error}); download it again"
        ) from error
    return {row[0].strip(): row[1].strip() for row in rows if row[0].strip() != "LabelName"}


def _picture_folders(path: Path, images: Path | None) -> list[Path]:
    """Possible folders of a CSV's pictures."""
    home = path.parent
    names = (split_of(path), "images", "data", ".")
    return [images] if images is not None else [base / name for base in (home, home.parent) for name in names]


def _picture_folder(path: Path, image_ids: list[str], images: Path | None) -> Path:
    folders = _picture_folders(path, images)
    for folder in folders:
        for suffix in SUFFIXES:
            if any(is_file(folder / f"{image_id}{suffix}") for image_id in image_ids[:50]):
                return folder
    if not image_ids:
        return folders[0]
    tried = ", ".join(str(folder) for folder in folders)
    raise DatasetError(f"{path}: no folder holds its pictures (tried {tried}); name it with --images DIR")


def _write(dataset: Dataset, root: Path, placed: dict[int, str]) -> None:
    """One box CSV per split and the class descriptions.

    Pictures without boxes cannot be expressed: the format lists boxes only.
    """
    ids = [f"/edgedet/{label}" for label in range(len(dataset.names))]
    for split in dataset.splits or ("train",):
        path = root / f"{split}-annotations-bbox.csv"
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for index, place in placed.items():
                name, record = Path(place).stem, dataset.images[index]
                if record.split not in (split, ""):
                    continue
                for box, label, crowd in zip(
                    record.boxes.tolist(), record.labels.tolist(), record.crowd.tolist(), strict=True
                ):
                    x1, x2 = (f"{min(max(v / record.width, 0.0), 1.0):.8f}" for v in (box[0], box[2]))
                    y1, y2 = (f"{min(max(v / record.height, 0.0), 1.0):.8f}" for v in (box[1], box[3]))
                    writer.writerow([name, "edgedet", ids[label], 1, x1, x2, y1, y2, 0, 0, int(crowd), 0, 0])
    with (
        atomic_path(root / "class-descriptions-boxable.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows(zip(ids, dataset.names, strict=True))


FORMAT = Format(
    title="Open Images",
    signs=((Sign.TABLE, find),),
    form=BoxForm(CORNERS, "shares"),
    writer=Writer(_write, folder=str, carries=frozenset({"crowd"})),
    options=frozenset({"exclude"}),
    chooses_classes=True,
)

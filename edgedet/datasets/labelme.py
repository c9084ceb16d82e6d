"""labelme (and X-AnyLabeling): one JSON per picture, with its shapes and where the picture lies.

Rectangles are boxes; polygons, rotated boxes, masks and circles count as their bounding boxes; points and lines
have none and are named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from edgedet.datasets.dataset import ImageRecord
from edgedet.datasets.folder import find_files
from edgedet.datasets.format import Format, Sign
from edgedet.datasets.layout import (
    Content,
    Layout,
    Request,
    elsewhere_note,
    grouped,
    left_out_note,
    split_folders,
    split_of_folder,
    whole_of,
)
from edgedet.datasets.relocated_paths import PictureIndex, find_tail
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_names_beside, read_text
from edgedet.errors import DatasetError
from edgedet.files import is_file

_FLAT = frozenset({"point", "points", "line", "linestrip"})


class _Shape(NamedTuple):
    where: str
    name: str
    edges: tuple[float, float, float, float]
    difficult: bool


def load(path: Path) -> dict[str, Any] | None:
    """The content of a labelme file, or None where it is none."""
    try:
        data = json.loads(read_text(path))
    except (DatasetError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list) or "imagePath" not in data:
        return None
    data.pop("imageData", None)  # the whole picture, in text
    return data


def find(path: Path) -> Layout | None:
    """A folder with such files somewhere in it; None where there are none."""
    if not path.is_dir():
        return None
    files = _files(path)
    if not any(load(file) is not None for file in files[:20]):
        return None
    root, only = whole_of(path)
    groups = {only: files} if only else grouped(files, path)
    splits = tuple(split for split in groups if split or len(groups) > 1)
    return Layout(splits, partial(_read, path, root, groups))


def _files(folder: Path) -> list[Path]:
    return find_files(folder, (".json",))


def _read(
    folder: Path, root: Path, groups: dict[str, list[Path]], splits: tuple[str, ...], request: Request
) -> Content:
    log = request.log
    index = PictureIndex(request.images or folder)
    read: list[tuple[Path, str, dict[str, Any], list[_Shape]]] = []
    for split in splits or ("",):
        for path in groups[split]:
            data = load(path)
            if data is None:
                log.add(path.relative_to(folder).as_posix(), "not a labelme file", "image dropped")
            else:
                read.append((path, split, data, list(_shapes(data, path.relative_to(folder).as_posix(), log))))
    names = read_names_beside(folder) or read_names_beside(root)
    notes: tuple[str, ...] = ()
    if names is None:
        here = {shape.name for *_, shapes in read for shape in shapes}
        others = [file for one in split_folders(root) for file in _files(one)] if root != folder.absolute() else []
        others += [file for files in groups.values() for file in files]
        done = {path.absolute() for path, *_ in read}
        names = tuple(sorted(here | _classes(path for path in others if path.absolute() not in done)))
        notes = elsewhere_note(names, here, [one.name for one in split_folders(root)] or groups)
    records: list[ImageRecord] = []
    claimed: set[Path] = set()
    labels = {name: label for label, name in enumerate(names)}
    for path, split, data, shapes in read:
        where = path.relative_to(folder).as_posix()
        picture = _picture(path, data, index, request, where)
        if picture is None:
            continue
        if picture in claimed:
            log.add(f"{where} ({picture.name})", "another annotation of the same picture", "image dropped")
            continue
        claimed.add(picture)
        sides = [to_number(data.get(key)) for key in ("imageWidth", "imageHeight")]
        stated = (int(sides[0]), int(sides[1])) if all(map(math.isfinite, sides)) else None
        size = picture_size(picture, where, log, stated)
        if size is None:
            continue
        rows = []
        for shape in shapes:
            if shape.name in labels:
                rows.append(Row(shape.where, labels[shape.name], *shape.edges, difficult=shape.difficult))
            else:
                log.add(f"{shape.where} ({shape.name!r})", "unknown class")
        records.append(build_record(picture, size, rows, log, split))
    asked = [p for p in index.pictures if len(groups) == 1 or split_of_folder(p, folder) in splits]
    unused = [path for path in asked if path not in claimed] if request.images is None else []
    return Content(names, tuple(records), (*left_out_note(unused, "without an annotation left out"), *notes))


def _picture(path: Path, data: dict[str, Any], index: PictureIndex, request: Request, where: str) -> Path | None:
    images, log = request.images, request.log
    text = str(data["imagePath"])
    place = find_tail(text, (path.parent,) if images is None else (images,), is_file)
    if place is not None:
        return place.path
    candidates = index.beside(path) or index.named(text)
    if len(candidates) > 1:
        log.add(f"{where} ({candidates[0].name})", "several pictures of that name", "image dropped")
        return None
    return candidates[0] if candidates else path.parent / (Path(text.replace("\\", "/")).name or f"{path.stem}.jpg")


def _classes(paths: Iterable[Path]) -> set[str]:
    data = (load(path) for path in paths)
    return {shape.name for one in data if one is not None for shape in _shapes(one, "", ProblemLog())}


def _shapes(data: dict[str, Any], where: str, log: ProblemLog) -> Iterator[_Shape]:
    for number, shape in enumerate(data["shapes"], 1):
        place = f"{where}:shape {number}"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"].strip():
            log.add(place, "shape without a label")
            continue
        kind = shape.get("shape_type") or "polygon"
        points = [_point(point) for point in shape.get("points") or ()]
        if kind in _FLAT or len(points) < 2 or None in points:
            log.add(f"{place} ({kind})", "shape without a box")
            continue
        xs, ys = [p[0] for p in points if p], [p[1] for p in points if p]
        edges = (min(xs), min(ys), max(xs), max(ys))
        if kind == "circle":
            # The centre, and a point on the rim.
            radius = math.hypot(xs[1] - xs[0], ys[1] - ys[0])
            edges = (xs[0] - radius, ys[0] - radius, xs[0] + radius, ys[0] + radius)
        yield _Shape(place, shape["label"].strip(), edges, shape.get("difficult") is True)


def _point(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    x, y = to_number(value[0]), to_number(value[1])
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


FORMAT = Format(title="labelme", signs=((Sign.PER_PICTURE, find),))

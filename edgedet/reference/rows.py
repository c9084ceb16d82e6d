"""A file of boxes as another program wrote it: every value checked, before pictures and classes are looked for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import ReferenceBoxesError

Key = int | str
"""What a file calls a picture or a class by."""

ROW_KEYS = ("annotations", "results", "predictions")
ROUNDED = 0.001
"""Scores are written with three to five decimals."""
EXPECTED = (
    'expected {"images": [{"id", "file_name"}], "categories": [{"id", "name"}], "annotations": [{"image_id", '
    '"category_id", "bbox": [x, y, width, height], "score"}]}, a COCO results list, or lines of edgedet detect'
)


@dataclass(frozen=True)
class Listed:
    """A picture the other program looked at. ``size``: (width, height) where the file says."""

    key: Key
    file_name: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class BoxesFile:
    """What stands in a file.

    ``pictures``, ``categories`` (names by number): None where the file leaves them to a dataset. ``of``,
    ``classes``: each box's picture and class, as ``Listed.key`` and keys of ``categories``. ``file_names``: of each
    box's picture, where its row says. ``boxes``: float64 [N, 4] x1, y1, x2, y2, pixels. ``scores``: float64 [N].
    ``written``: how boxes stand in the file. ``threshold``: the lowest score the other program would have shown,
    where it says. ``unreadable``: pictures it could not read.
    """

    path: Path
    pictures: tuple[Listed, ...] | None
    categories: dict[Key, str] | None
    of: tuple[Key, ...]
    classes: tuple[Key, ...]
    file_names: tuple[str | None, ...]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    written: str
    threshold: float | None = None
    unreadable: int = 0


def read_boxes_file(path: Path) -> BoxesFile:
    """Read COCO results with or without their images and categories, or what ``edgedet detect`` prints.

    Raises:
        ReferenceBoxesError: not there, of another kind, or with a value that cannot be meant.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReferenceBoxesError(f"{path} is not UTF-8 text (byte {error.start}); {EXPECTED}") from error
    except OSError as error:
        raise ReferenceBoxesError(f"cannot read {path}: {error.strerror or error}") from error
    if not text.strip():
        raise ReferenceBoxesError(f"{path} is empty; {EXPECTED}")
    data = _parsed(text, path)
    if isinstance(data, dict) and "detections" in data:
        data = [data]
    if isinstance(data, list) and data and all(isinstance(line, dict) and "source" in line for line in data):
        return _from_lines(data, path)
    if isinstance(data, list):
        return _file(data, path, where="row")
    if not isinstance(data, dict):
        raise ReferenceBoxesError(f"{path} holds a {type(data).__name__}; {EXPECTED}")
    found = [key for key in ROW_KEYS if data.get(key) is not None]
    if len(found) != 1:
        what = f"both {' and '.join(found)}; keep the one to compare with" if found else "no list of boxes"
        raise ReferenceBoxesError(f"{path} has {what}; {EXPECTED}")
    rows = data[found[0]]
    if not isinstance(rows, list):
        raise ReferenceBoxesError(f"{path}: {found[0]} is a {type(rows).__name__}, expected a list; {EXPECTED}")
    return _file(
        rows,
        path,
        where=found[0],
        pictures=None if data.get("images") is None else read_pictures(data["images"], path),
        categories=None if data.get("categories") is None else read_categories(data["categories"], path),
        threshold=_threshold(data, path),
    )


def read_pictures(entries: Any, path: Path) -> tuple[Listed, ...]:
    """A COCO file's ``images``.

    Raises:
        ReferenceBoxesError: one without id or file name, an id used twice, or a size that is none.
    """
    if not isinstance(entries, list):
        raise ReferenceBoxesError(f"{path}: images is a {type(entries).__name__}, expected a list")
    listed: dict[Key, Listed] = {}
    for index, entry in enumerate(entries):
        where = f"{path}: images[{index}]"
        if (
            not isinstance(entry, dict)
            or not is_key(entry.get("id"))
            or not isinstance(entry.get("file_name"), str)
        ):
            raise ReferenceBoxesError(f"{where} is {entry!r:.60}, expected an object with id and file_name")
        if entry["id"] in listed:
            raise ReferenceBoxesError(f"{where}: the id {entry['id']!r} is used twice")
        size = _size(entry.get("width"), entry.get("height"), where)
        listed[entry["id"]] = Listed(entry["id"], entry["file_name"], size)
    return tuple(listed.values())


def read_categories(entries: Any, path: Path) -> dict[Key, str]:
    """Names by number, of a COCO file's ``categories``.

    Raises:
        ReferenceBoxesError: a number or a name that is missing or used twice.
    """
    if not isinstance(entries, list):
        raise ReferenceBoxesError(f"{path}: categories is a {type(entries).__name__}, expected a list")
    names: dict[Key, str] = {}
    for index, entry in enumerate(entries):
        number = entry.get("id") if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if not is_key(number) or not isinstance(name, str) or not name.strip():
            raise ReferenceBoxesError(
                f"{path}: categories[{index}] is {entry!r:.60}, expected an object with id and name; without names "
                "nobody knows which class a number means"
            )
        assert isinstance(number, int | str)
        if number in names or name in names.values():
            what = f"the id {number!r}" if number in names else f"the name {name!r}"
            raise ReferenceBoxesError(f"{path}: categories has {what} twice; every class needs its own")
        names[number] = name
    return names


def is_key(value: Any) -> bool:
    """Whether ``value`` can name a picture or a class."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ReferenceBoxesError(f"{path} is nested too deeply; {EXPECTED}") from error
    except ValueError as error:
        whole = error
    lines: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            # Of one broken object, the message about the whole says more than the one about its first line.
            what = f"line {number}: {error}" if lines else f"{whole}"
            raise ReferenceBoxesError(f"{path} is not valid JSON ({what}); {EXPECTED}") from error
        lines.append(value)
    if not all(isinstance(line, dict) and "source" in line for line in lines):
        raise ReferenceBoxesError(f"{path} holds several JSON values that edgedet detect did not print; {EXPECTED}")
    return lines


def _size(width: Any, height: Any, where: str) -> tuple[int, int] | None:
    if width is None and height is None:
        return None
    if not all(isinstance(side, int | float) and math.isfinite(side) and side > 0 for side in (width, height)):
        raise ReferenceBoxesError(f"{where}: width and height are {width!r} and {height!r}, expected pixels")
    return int(width), int(height)


def _threshold(data: dict[str, Any], path: Path) -> float | None:
    value = data.get("score_threshold")
    if value is None:
        return None
    if not _is_number(value) or not 0 <= value <= 1:
        raise ReferenceBoxesError(f"{path}: score_threshold is {value!r:.40}, expected a number from 0 to 1")
    return float(value)


def _file(
    rows: Sequence[Any],
    path: Path,
    *,
    where: str,
    pictures: tuple[Listed, ...] | None = None,
    categories: dict[Key, str] | None = None,
    threshold: float | None = None,
) -> BoxesFile:
    boxes, scores, of, classes, file_names = [], [], [], [], []
    for index, row in enumerate(rows):
        place = f"{path}: {where}[{index}]"
        if not isinstance(row, dict):
            raise ReferenceBoxesError(f"{place} is a {type(row).__name__}, expected an object; {EXPECTED}")
        for key in ("image_id", "category_id"):
            if not is_key(row.get(key)):
                raise ReferenceBoxesError(f"{place}: {key} is {row.get(key)!r:.40}, expected a number or a name")
        boxes.append(_box(row.get("bbox"), place, "bbox", "[x, y, width, height]"))
        scores.append(_score(row, place))
        of.append(row["image_id"])
        classes.append(row["category_id"])
        name = row.get("file_name")
        file_names.append(name if isinstance(name, str) else None)
    array = np.array(boxes, np.float64).reshape(-1, 4)
    negative = np.flatnonzero((array[:, 2:] < 0).any(axis=1))
    if len(negative):
        raise ReferenceBoxesError(
            f"{path}: {where}[{negative[0]}]: bbox {boxes[negative[0]]} has a negative side; expected [x, y, "
            "width, height] in pixels"
        )
    corners = np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)
    return _checked(
        BoxesFile(
            path,
            pictures,
            categories,
            tuple(of),
            tuple(classes),
            tuple(file_names),
            corners,
            np.array(scores, np.float64),
            "x, y, width, height",
            threshold,
        )
    )


def _from_lines(lines: Sequence[dict[str, Any]], path: Path) -> BoxesFile:
    """What ``edgedet detect`` prints: one object a picture, corners in place of widths, classes by name."""
    pictures: list[Listed] = []
    boxes, scores, of, classes = [], [], [], []
    unreadable = 0
    for number, line in enumerate(lines):
        place = f"{path}: line {number + 1}"
        if line.get("error") is not None:
            unreadable += 1
            continue
        if not isinstance(line["source"], str) or not isinstance(line.get("detections"), list):
            raise ReferenceBoxesError(f"{place} has no source and list of detections; {EXPECTED}")
        size = line.get("frame_size")
        if size is not None and (not isinstance(size, list) or len(size) != 2):
            raise ReferenceBoxesError(f"{place}: frame_size is {size!r:.40}, expected [height, width]")
        stated = None if size is None else _size(size[1], size[0], place)
        pictures.append(Listed(number, line["source"], stated))
        for index, found in enumerate(line["detections"]):
            where = f"{place}, detections[{index}]"
            if not isinstance(found, dict) or not isinstance(found.get("name"), str):
                raise ReferenceBoxesError(f"{where} is {found!r:.60}, expected an object with box, score and name")
            box = _box(found.get("box"), where, "box", "[x1, y1, x2, y2]")
            if box[2] < box[0] or box[3] < box[1]:
                raise ReferenceBoxesError(f"{where}: box {box} ends before it begins; expected [x1, y1, x2, y2]")
            boxes.append(box)
            scores.append(_score(found, where))
            of.append(number)
            classes.append(found["name"])
    return _checked(
        BoxesFile(
            path,
            tuple(pictures),
            {name: name for name in dict.fromkeys(classes)},
            tuple(of),
            tuple(classes),
            (None,) * len(of),
            np.array(boxes, np.float64).reshape(-1, 4),
            np.array(scores, np.float64),
            "x1, y1, x2, y2",
            unreadable=unreadable,
        )
    )


def _checked(file: BoxesFile) -> BoxesFile:
    if not len(file.scores):
        raise ReferenceBoxesError(
            f"{file.path} holds not one box, so nothing would be compared; expected boxes the trained network "
            "found, on pictures with something in them"
        )
    for problem in _contradictions(file):
        raise ReferenceBoxesError(f"{file.path}: {problem}")
    return file


def _contradictions(file: BoxesFile) -> Iterator[str]:
    if file.pictures is not None:
        known = {picture.key for picture in file.pictures}
        lost = next((key for key in file.of if key not in known), None)
        if lost is not None:
            yield f"a box is of the image {lost!r}, which is not among its {len(known)} images"
    if file.categories is not None:
        unnamed = next((key for key in file.classes if key not in file.categories), None)
        if unnamed is not None:
            yield (
                f"a box is of the category {unnamed!r}, which has no name; its categories are "
                f"{', '.join(map(repr, list(file.categories)[:5]))}"
            )
    least = float(file.scores.min())
    if file.threshold is not None and least < file.threshold - ROUNDED:
        yield f"score_threshold is {file.threshold:g}, but a box scores {least:g}; state the one it was made with"
    if len(file.scores) > 1 and np.all(file.scores == 1):
        yield (
            "every score is 1, as in annotations made by people; expected the scores of the trained network's own "
            "boxes"
        )


def _box(value: Any, where: str, name: str, layout: str) -> list[float]:
    if not isinstance(value, list) or len(value) != 4 or not all(_is_number(number) for number in value):
        raise ReferenceBoxesError(f"{where}: {name} is {value!r:.60}, expected four numbers {layout}")
    if not all(math.isfinite(number) for number in value):
        raise ReferenceBoxesError(f"{where}: {name} is {value!r:.60}, which is not finite")
    return [float(number) for number in value]


def _score(row: dict[str, Any], where: str) -> float:
    value = row.get("score")
    if value is None:
        raise ReferenceBoxesError(
            f"{where} has no score: annotations made by people cannot tell whether a network computes the same; "
            "expected the trained network's own boxes with their scores"
        )
    if not _is_number(value) or not math.isfinite(value):
        raise ReferenceBoxesError(f"{where}: score is {value!r:.40}, expected a number from 0 to 1")
    if not 0 <= value <= 1:
        raise ReferenceBoxesError(f"{where}: score is {value:g}, expected 0 to 1 (no percentages, no logits)")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

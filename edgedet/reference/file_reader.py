"""Read a file of boxes that another program wrote: COCO results, or what ``edgedet detect`` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.errors import ReferenceBoxesError
from edgedet.reference.boxes_file import (
    EXPECTED,
    BoxesFile,
    Key,
    Listed,
    checked,
    is_key,
    is_number,
    read_box,
    read_score,
    read_size,
)

ROW_KEYS = ("annotations", "results", "predictions")


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
        size = read_size(entry.get("width"), entry.get("height"), where)
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
        if number is None or not is_key(number) or not isinstance(name, str) or not name.strip():
            raise ReferenceBoxesError(
                f"{path}: categories[{index}] is {entry!r:.60}, expected an object with id and name; without names "
                "the classes of the numbers are unknown"
            )
        assert isinstance(number, int | str)
        if number in names or name in names.values():
            what = f"the id {number!r}" if number in names else f"the name {name!r}"
            raise ReferenceBoxesError(f"{path}: categories has {what} twice; every class needs its own")
        names[number] = name
    return names


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


def _threshold(data: dict[str, Any], path: Path) -> float | None:
    value = data.get("score_threshold")
    if value is None:
        return None
    if not is_number(value) or not 0 <= value <= 1:
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
        boxes.append(read_box(row.get("bbox"), place, "bbox", "[x, y, width, height]"))
        scores.append(read_score(row, place))
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
    return checked(
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
        stated = None if size is None else read_size(size[1], size[0], place)
        pictures.append(Listed(number, line["source"], stated))
        for index, found in enumerate(line["detections"]):
            where = f"{place}, detections[{index}]"
            if not isinstance(found, dict) or not isinstance(found.get("name"), str):
                raise ReferenceBoxesError(f"{where} is {found!r:.60}, expected an object with box, score and name")
            box = read_box(found.get("box"), where, "box", "[x1, y1, x2, y2]")
            if box[2] < box[0] or box[3] < box[1]:
                raise ReferenceBoxesError(f"{where}: box {box} ends before it begins; expected [x1, y1, x2, y2]")
            boxes.append(box)
            scores.append(read_score(found, where))
            of.append(number)
            classes.append(found["name"])
    return checked(
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

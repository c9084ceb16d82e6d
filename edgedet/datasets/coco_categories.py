"""COCO's categories: which are classes, and in what order over all files of a dataset."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgedet.datasets.text import read_text
from edgedet.errors import DatasetError

_START = re.compile(rb'"categories"\s*:\s*\[')


class Categories(NamedTuple):
    """``names``: category id to class name, ascending."""

    names: dict[int, str]
    notes: tuple[str, ...] = ()


def categories_of(data: dict[str, Any], path: Path) -> Categories:
    """The classes of a parsed file.

    Roboflow writes the project's name as category 0, which no annotation has and all others give as their
    supercategory. It is no class: Roboflow's own YOLO exports leave it out.

    Raises:
        DatasetError: an entry without id or name, or an id or name used twice.
    """
    categories = data["categories"]
    good = [c for c in categories if isinstance(c, dict) and isinstance(c.get("id"), int) and "name" in c]
    if len(good) != len(categories) or not good:
        raise DatasetError(f"{path}: 'categories' must be a list of objects with a whole-number id and a name")
    if len({category["id"] for category in good}) != len(good):
        raise DatasetError(f"{path}: a category id is used twice; every class needs an id of its own")
    heading = _heading(good)
    notes: tuple[str, ...] = ()
    if heading is not None and heading["id"] not in _used(data):
        good = [category for category in good if category is not heading]
        notes = (f"category 0 ({str(heading['name'])!r}) left out: it heads the others and no box has it",)
    names = {category["id"]: str(category["name"]) for category in sorted(good, key=lambda c: c["id"])}
    every = list(names.values())
    twice = next((name for name in every if every.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{path}: two categories are named {twice!r}; every class needs a name of its own")
    return Categories(names, notes)


def read_categories(path: Path) -> Categories:
    """The classes of a file nobody asked to read, none where it does not say; only what it takes is parsed."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = next(
                (list_ for start in _START.finditer(content) if (list_ := _list(content, start.end() - 1))), []
            )
        heading = _heading([entry for entry in found if isinstance(entry, dict)])
        data = {"categories": found} if heading is None else json.loads(read_text(path))
        return categories_of(data, path)
    except (OSError, ValueError, RecursionError, DatasetError, KeyError, TypeError):
        return Categories({})


def number_categories(files: Sequence[Categories]) -> tuple[str, ...]:
    """One list of class names: by ascending id where the files agree on the ids, else by first appearance."""
    pairs = dict.fromkeys(pair for categories in files for pair in categories.names.items())
    names = tuple(dict.fromkeys(name for _, name in pairs))
    if len({number for number, _ in pairs}) == len(pairs) == len(names):
        return tuple(name for _, name in sorted(pairs))
    return names


def _heading(categories: list[dict[str, Any]]) -> dict[str, Any] | None:
    first = next((category for category in categories if category.get("id") == 0), None)
    if first is None:
        return None
    headed = any(c is not first and c.get("supercategory") == first.get("name") for c in categories)
    return first if headed else None


def _used(data: dict[str, Any]) -> set[Any]:
    entries = data.get("annotations")
    found = [entry.get("category_id") for entry in entries if isinstance(entry, dict)] if entries else []
    return {number for number in found if isinstance(number, int)}


def _list(content: mmap.mmap, start: int) -> list[Any]:
    size = 1 << 16
    while True:
        text = content[start : start + size].decode("utf-8", "ignore")
        try:
            return list(json.JSONDecoder().raw_decode(text)[0])
        except ValueError:
            if start + size >= len(content):
                return []
            size *= 4

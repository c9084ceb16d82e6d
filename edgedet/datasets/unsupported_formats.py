"""Annotations beside pictures of formats that are not read: told apart and named, never passed over."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from edgedet.datasets import labelme
from edgedet.datasets.dataset import PLACES_SHOWN
from edgedet.datasets.folder import find_files, find_pictures
from edgedet.datasets.text import NAMES_FILES, read_text
from edgedet.errors import DatasetError

_LARGEST = 64 << 20
"""Maximum size in bytes of a JSON file that is parsed for its format's name."""
_LOOKED_AT = 20
"""Number of files per suffix that are looked into."""
_CONTAINERS = {
    ".tfrecord": "TFRecord",
    ".tfrecords": "TFRecord",
    ".record": "TFRecord",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".mat": "MATLAB",
    ".ndjson": "newline-delimited JSON",
    ".jsonl": "JSON lines",
    ".xml": "XML",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "TSV",
}


class Unread(NamedTuple):
    """``formats``: names of formats, with a file of each. ``others``: files that may hold labels of some kind."""

    formats: tuple[str, ...]
    others: tuple[Path, ...]

    @property
    def note(self) -> str | None:
        """What lies there unread; None where nothing does."""
        if self.formats:
            return f"not read: {', '.join(self.formats)}"
        if self.others:
            more = f" and {len(self.others) - PLACES_SHOWN:,} more" if len(self.others) > PLACES_SHOWN else ""
            first = ", ".join(path.name for path in self.others[:PLACES_SHOWN])
            return f"{len(self.others):,} files that may hold labels not read, of no known format: {first}{more}"
        return None


def find_unread(folder: Path) -> Unread:
    """What lies in a folder beside its pictures."""
    files = find_files(folder, {*_CONTAINERS, ".txt"})
    stems = {path.stem for path in find_pictures(folder)} if files else set()
    formats: dict[str, Path] = {}
    others = []
    seen: dict[str, int] = {}
    for path in files:
        suffix = path.suffix.lower()
        seen[suffix] = seen.get(suffix, 0) + 1
        if path.name.casefold() in NAMES_FILES:
            continue
        name = format_of(path, stems) if seen[suffix] <= _LOOKED_AT else None
        if name is not None:
            formats.setdefault(name, path)
        elif suffix in _CONTAINERS or (suffix == ".txt" and path.stem in stems):
            others.append(path)
    return Unread(tuple(f"{name} ({path.name})" for name, path in formats.items()), tuple(others))


def format_of(path: Path, stems: Collection[str] = ()) -> str | None:
    """The name of a file's format, where it is a known one of annotations. ``stems``: of the pictures around."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            return _json_format(path)
        if suffix == ".xml":
            return _xml_format(path)
        if suffix == ".csv":
            return _csv_format(path)
        if suffix == ".txt":
            return _text_format(path, stems)
    except (OSError, DatasetError, ValueError, RecursionError, csv.Error):
        return None
    return _CONTAINERS.get(suffix)


def _json_format(path: Path) -> str | None:
    if path.stat().st_size > _LARGEST:
        return None
    data = json.loads(read_text(path))
    if labelme.load(path) is not None:
        return "labelme JSON"
    if isinstance(data, list):
        first = data[0] if data else None
        if not isinstance(first, dict):
            return None
        if "image" in first and _has(first.get("annotations"), "coordinates"):
            return "CreateML JSON"
        if {"data", "annotations"} <= set(first) or {"annotation_id", "annotator"} <= set(first):
            return "Label Studio JSON"
        if {"image_id", "category_id", "bbox"} <= set(first):
            return "COCO results JSON"
        return None
    if not isinstance(data, dict):
        return None
    if "_via_img_metadata" in data or any(
        isinstance(entry, dict) and {"filename", "regions"} <= set(entry) for entry in list(data.values())[:1]
    ):
        return "VGG Image Annotator JSON"
    for keys, name in (
        ({"asset", "regions"}, "VoTT JSON"),
        ({"assets", "tags"}, "VoTT JSON"),
        ({"objects", "size"}, "Supervisely JSON"),
        ({"classes", "labels"}, "FiftyOne JSON"),
        ({"images", "annotations"}, "COCO JSON without categories"),
        ({"images", "categories"}, "COCO JSON without annotations"),
        ({"items", "categories"}, "Datumaro JSON"),
    ):
        if keys <= set(data):
            return name
    return None


def _has(entries: Any, key: str) -> bool:
    return isinstance(entries, list) and any(isinstance(entry, dict) and key in entry for entry in entries)


def _xml_format(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(4096).replace(b"\0", b"")
    if re.search(rb"<annotation[\s>]", start):
        return "Pascal VOC XML"
    if re.search(rb"<annotations[\s>]", start):
        return "CVAT for images XML"
    if re.search(rb"<dataset[\s>]", start) and b"<image" in start:
        return "dlib XML"
    return None


def _csv_format(path: Path) -> str | None:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        titles = [title.strip() for title in next(csv.reader([file.readline(4096)]), [])]
    if "region_shape_attributes" in titles:
        return "VGG Image Annotator CSV"
    words = {title.casefold() for title in titles}
    if len(titles) >= 4 and any(re.search(r"min|max|box|left|width|label|class|x1", word) for word in words):
        return f"CSV with the columns {', '.join(titles[:8])}"
    return None


def _text_format(path: Path, stems: Collection[str]) -> str | None:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        words = next((words for line in file if (words := line.split())), [])
    if len(words) > 1 and re.fullmatch(r"\d+(,\d+){4}", words[1]):
        return "Keras YOLO text"
    if (stems and path.stem not in stems) or not words:
        return None
    numbers = [re.fullmatch(r"-?(\d+\.?\d*|\.\d+)([eE]-?\d+)?", word) is not None for word in words]
    if len(words) in (15, 16) and not numbers[0] and all(numbers[1:]):
        return "KITTI text"
    if len(words) in (9, 10) and all(numbers[:8]) and not numbers[8]:
        return "DOTA text"
    if len(words) < 5 or not all(numbers):
        return None
    return "YOLO text without class names" if stems else "YOLO text without its pictures"

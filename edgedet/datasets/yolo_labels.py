"""YOLO's label files: where they lie, and what their lines say.

One text file per picture, lines of ``class cx cy w h`` in shares of the picture. Lines of polygons (class and at
least three points) count as their bounding boxes, and are the outlines of their objects where those are asked for.
As in Ultralytics, a line that repeats another counts once, and a file that mixes boxes with polygons, or has a
sixth number (a score: these are predictions), costs its picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgedet.datasets.dataset import PLACES_SHOWN
from edgedet.datasets.outlines import ring_area
from edgedet.datasets.relocated_paths import Listings
from edgedet.datasets.rows import ProblemLog, Row, to_number, usable_keypoints
from edgedet.datasets.text import NAMES_FILES, read_text
from edgedet.errors import DatasetError
from edgedet.files import is_folder

Line = tuple[str, list[str]]
"""A line of a label file: its place, and its words."""


def label_path(picture: Path) -> Path:
    """The label file of a picture: the last ``images`` of its path becomes ``labels``, the suffix ``.txt``.

    >>> label_path(Path("set/images/val/a.jpg")).as_posix(), label_path(Path("set/a.jpg")).as_posix()
    ('set/labels/val/a.txt', 'set/a.txt')
    """
    parts = list(picture.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].casefold() == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def has_label_shape(path: Path) -> bool:
    """Whether a text file's first line is one of boxes or polygons. An empty file has no shape."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            words = next((words for line in file if (words := line.split())), [])
    except (OSError, UnicodeDecodeError):
        return False
    return len(words) >= 5 and words[0].isdigit() and all(math.isfinite(to_number(word)) for word in words)


class LabelFiles:
    """Finds the label file of every picture, and remembers what it passed by.

    Labels lie where :func:`label_path` says. Only where a folder's pictures have not one label there, those right
    beside them are taken, which Ultralytics leaves unread.
    """

    def __init__(self, pictures: Sequence[Path]) -> None:
        self._listings = Listings()
        self._pictures = tuple(dict.fromkeys(pictures))
        self._places: dict[Path, Path | None] = {}
        folders: dict[Path, list[Path]] = {}
        for picture in self._pictures:
            folders.setdefault(picture.parent, []).append(picture)
        self._notes: list[str] = []
        self._folders: dict[Path, Path | None] = {}
        for folder, members in folders.items():
            self._place(folder, members)

    def find(self, picture: Path) -> Path | None:
        """The file, or None where the picture has none."""
        return self._places.get(picture)

    @property
    def found(self) -> int:
        """How many pictures have one."""
        return sum(place is not None for place in self._places.values())

    def notes(self, folders: Sequence[Path] = (), *, complete: bool) -> tuple[str, ...]:
        """What was read elsewhere than usual, or not at all. ``complete``: the pictures are all that there are in
        ``folders``, so that other labels there have none."""
        notes = list(self._notes)
        if self._pictures and not self.found:
            first = self._pictures[0]
            notes.append(f"not one label file was found: {first.name} should have {label_path(first)}")
        if complete:
            taken = {path for path in self._places.values() if path is not None}
            places = dict.fromkeys(
                [label_path(f / "picture.jpg").parent for f in folders] + [p.parent for p in taken]
            )
            left = [path for place in places for path in sorted(place.glob("*.txt")) if path not in taken]
            left = [path for path in left if path.name.casefold() not in NAMES_FILES and has_label_shape(path)]
            if left:
                notes.append(f"{len(left):,} label files without a picture: {_some(left)}")
        return tuple(notes)

    def _place(self, folder: Path, members: list[Path]) -> None:
        place = self._folder(label_path(folder / "picture.jpg").parent)
        usual = {picture: self._there(place, picture) for picture in members}
        beside: dict[Path, Path] = {}
        for picture in members:
            path = None if usual[picture] is not None else self._there(folder, picture)
            if path is not None and has_label_shape(path):
                beside[picture] = path
        if not beside or any(path is not None for path in usual.values()):
            self._places.update(usual)
            if beside:
                self._notes.append(
                    f"{len(beside):,} label files beside their pictures in {folder} not read, since others lie in "
                    f"{label_path(members[0]).parent}: {_some(list(beside.values()))}"
                )
            return
        self._places.update({picture: self._there(folder, picture) for picture in members})
        self._notes.append(
            f"{len(beside):,} label files read beside their pictures in {folder}; Ultralytics looks for them in "
            f"{label_path(members[0]).parent} only"
        )

    def _there(self, folder: Path | None, picture: Path) -> Path | None:
        # A folder is listed once: two system calls for every picture add up.
        found = None if folder is None else self._listings.find(folder, f"{picture.stem}.txt")
        return found if found is not None and found.is_file() else None

    def _folder(self, path: Path) -> Path | None:
        """The folder of this path in any letter case."""
        if path not in self._folders:
            found: Path | None = path if is_folder(path) else None
            if found is None and path.parent != path:
                parent = self._folder(path.parent)
                found = None if parent is None else self._listings.find(parent, path.name)
            self._folders[path] = found
        return self._folders[path]


def label_lines(path: Path | None, values: int | None, log: ProblemLog) -> list[Line] | None:
    """The lines of a label file, each once: none without a file, None (and a problem) where it cannot be used.

    ``values``: words that count in every line; None: all.
    """
    if path is None:
        return []
    try:
        text = read_text(path)
    except DatasetError:
        log.add(path.name, "label file is not UTF-8 text", "image dropped")
        return None
    numbered = [(f"{path.name}:{number}", line.split()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(where, words[:values]) for where, words in numbered if words]
    widths = {len(words) for _, words in lines}
    if 6 in widths:
        log.add(path.name, "label lines of six numbers (a score at the end?)", "image dropped")
        return None
    if 5 in widths and max(widths) > 6:
        log.add(path.name, "label file mixes boxes and polygons", "image dropped")
        return None
    return list(_distinct(lines, log))


def _distinct(lines: list[Line], log: ProblemLog) -> Iterator[Line]:
    seen: set[tuple[float, ...]] = set()
    for where, words in lines:
        # Ultralytics compares 32-bit numbers: 0.5 and 0.50000000001 are one.
        key = tuple(float(np.float32(to_number(word))) for word in words)
        if key in seen:
            log.add(where, "line repeats another")
            continue
        seen.add(key)
        yield where, words


def label_rows(
    lines: list[Line],
    size: tuple[int, int],
    class_count: int,
    log: ProblemLog,
    *,
    keypoints: tuple[int, int] | None = None,
    outlines: bool = False,
) -> Iterator[Row]:
    """The boxes that lines say, in pixels of a picture of this (width, height), with ``outlines`` or without.
    ``keypoints``: how many follow each box, and the numbers of each."""
    width, height = size
    for where, words in lines:
        numbers = [to_number(word) for word in words[1:]]
        points = None
        if keypoints is not None:
            points = _points(numbers[4:], keypoints, size)
            numbers = numbers[:4]
            if points is None:
                log.add(where, "keypoints of another number than kpt_shape says, or not x, y and 0, 1 or 2")
                continue
        if len(numbers) < 4 or (len(numbers) > 4 and len(numbers) % 2):
            log.add(where, "not a line of 'class cx cy w h'", "line dropped")
            continue
        outline = None
        label = to_number(words[0])
        if not (label == math.floor(label) if math.isfinite(label) else False) or not 0 <= label < class_count:
            log.add(f"{where} (class {words[0]})", "unknown class")
            continue
        if len(numbers) == 4:
            cx, cy, w, h = numbers
            edges = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        elif all(math.isfinite(value) for value in numbers):
            xs, ys = numbers[::2], numbers[1::2]
            edges = (min(xs), min(ys), max(xs), max(ys))
            outline = [[value * side for value, side in zip(numbers, (width, height) * len(xs), strict=True)]]
        else:
            edges = (math.nan,) * 4
        corners = (edges[0] * width, edges[1] * height, edges[2] * width, edges[3] * height)
        row = Row(where, int(label), *corners, keypoints=points)
        if outlines and outline is not None:
            row = row._replace(outline=outline, area=ring_area(outline[0]))
        yield row


def _points(numbers: list[float], shape: tuple[int, int], size: tuple[int, int]) -> tuple[float, ...] | None:
    """x, y and visibility of each, in pixels; None where the numbers cannot be that.

    Of two numbers each, a point is labelled unless one is negative, as in Ultralytics.
    """
    count, each = shape
    if len(numbers) != count * each:
        return None
    values: list[float] = []
    for start in range(0, len(numbers), each):
        x, y = numbers[start], numbers[start + 1]
        seen = numbers[start + 2] if each == 3 else 0.0 if min(x, y) < 0 else 2.0
        values += (x * size[0], y * size[1], seen) if seen else (0.0, 0.0, 0.0)
    return usable_keypoints(values, count)


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - PLACES_SHOWN:,} more" if len(paths) > PLACES_SHOWN else ""
    return ", ".join(path.name for path in paths[:PLACES_SHOWN]) + more

"""YOLO: ``data.yaml`` and one text file of ``class cx cy w h`` lines (shares of the picture) per picture.

A picture without a label file is one without objects. Lines of polygons (class and at least three points) count as
their bounding boxes; keypoints (``kpt_shape`` in the YAML) are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.folder import find_pictures
from edgedet.datasets.image_size import IMAGE_SUFFIXES
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_text
from edgedet.errors import DatasetError, MissingDependencyError
from edgedet.files import atomic_path

SPLITS = ("train", "val", "test")
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def load_yaml(path: Path) -> Any:
    """The content of a YAML file, plain values only.

    Raises:
        MissingDependencyError: PyYAML is not installed.
        DatasetError: not YAML.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path.name} needs PyYAML, which is not installed: pip install 'edgedet[report]' (or pyyaml)"
        ) from error
    try:
        return yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def yolo_splits(path: Path) -> tuple[str, ...]:
    """The splits a data.yaml names."""
    return tuple(split for split in SPLITS if _settings(path).get(split))


def read_yolo(
    path: Path, splits: tuple[str, ...], log: ProblemLog, images: Path | None = None
) -> tuple[tuple[str, ...], tuple[ImageRecord, ...]]:
    """Class names and records of the named splits of a data.yaml.

    Raises:
        DatasetError: not such a file, or the pictures of a split are nowhere.
    """
    settings = _settings(path)
    names = _class_names(settings, path)
    values = 5 if "kpt_shape" in settings else None
    records = []
    for split in splits:
        for picture, where in _pictures(path, settings, split, images):
            size = picture_size(picture, where, log)
            lines = None if size is None else _label_lines(picture, log)
            if size is not None and lines is not None:
                rows = _rows(lines, size, len(names), values, log)
                records.append(build_record(picture, size, rows, log, split))
    return names, tuple(records)


def _settings(path: Path) -> dict[str, Any]:
    settings = load_yaml(path)
    if not isinstance(settings, dict) or "names" not in settings:
        raise DatasetError(f"{path} is not a YOLO dataset: expected the keys train, val and names")
    return settings


def _class_names(settings: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = settings["names"]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DatasetError(f"{path}: the keys of 'names' must be 0 to {len(names) - 1}, each once")
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: 'names' must be a list of class names, or a table from 0, 1, 2 … to names")
    names = tuple(str(name) for name in names)
    if len(set(names)) != len(names):
        raise DatasetError(f"{path}: 'names' holds a name twice; every class needs a name of its own")
    if isinstance(settings.get("nc"), int) and settings["nc"] != len(names):
        raise DatasetError(f"{path}: nc is {settings['nc']}, but {len(names)} names are given")
    return names


def _pictures(path: Path, settings: dict[str, Any], split: str, images: Path | None) -> Iterator[tuple[Path, str]]:
    """Every picture of a split and where it is listed."""
    entries = settings.get(split)
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, str) or not entry:
            raise DatasetError(f"{path}: {split} must be a folder, a .txt list, or a list of these")
        place = images if images is not None else _resolve(path, settings, entry)
        if place.is_dir():
            yield from ((picture, place.name) for picture in find_pictures(place))
        elif place.suffix == ".txt" and place.is_file():
            for number, line in enumerate(read_text(place).splitlines(), 1):
                if line.strip():
                    # Relative to the list, as the tools that write "./images/a.jpg" mean it.
                    yield place.parent / line.strip(), f"{place.name}:{number}"
        elif place.suffix.lower() in IMAGE_SUFFIXES and place.is_file():
            yield place, f"{path.name}:{split}"
        else:
            raise DatasetError(f"{path}: {split} names {entry}, but {place} is neither a folder nor a .txt list")


def _resolve(path: Path, settings: dict[str, Any], entry: str) -> Path:
    base = Path(str(settings.get("path") or "."))
    root = base if base.is_absolute() else path.parent / base
    # Files moved to another machine keep a stale `path`; what lies beside the YAML is then what is meant. Roboflow
    # writes "../train/images" for "train/images".
    candidates = (root / entry, path.parent / entry, path.parent / entry.removeprefix("../"))
    return next((place for place in candidates if place.exists()), candidates[0])


def label_path(picture: Path) -> Path:
    """Where a picture's labels lie: the last ``images`` of its path becomes ``labels``, the suffix ``.txt``.

    >>> label_path(Path("set/images/val/a.jpg")).as_posix(), label_path(Path("set/a.jpg")).as_posix()
    ('set/labels/val/a.txt', 'set/a.txt')
    """
    parts = list(picture.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _label_lines(picture: Path, log: ProblemLog) -> list[tuple[str, str]] | None:
    """Where each line is, and the line; None (and a problem) where the file cannot be read."""
    path = label_path(picture)
    if not path.is_file():
        return []
    try:
        text = read_text(path)
    except DatasetError:
        log.add(path.name, "label file is not UTF-8 text", "image dropped")
        return None
    return [(f"{path.name}:{number}", line) for number, line in enumerate(text.splitlines(), 1)]


def _rows(
    lines: list[tuple[str, str]], size: tuple[int, int], class_count: int, values: int | None, log: ProblemLog
) -> Iterator[Row]:
    width, height = size
    for where, line in lines:
        words = line.split()
        if not words:
            continue
        numbers = [to_number(word) for word in words[1:values]]
        if len(numbers) < 4 or (len(numbers) > 4 and len(numbers) % 2):
            log.add(where, "not a line of 'class cx cy w h'", "line dropped")
            continue
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
        else:
            edges = (math.nan,) * 4
        yield Row(where, int(label), edges[0] * width, edges[1] * height, edges[2] * width, edges[3] * height)


def write_yolo(dataset: Dataset, root: Path, placed: dict[int, str]) -> None:
    """Label files and data.yaml. ``placed``: index of an image to its path below ``root`` (``images/…``).

    Boxes are clipped to the picture (trainers reject shares above 1). The format knows neither crowds nor
    difficult objects.
    """
    for index, name in placed.items():
        record = dataset.images[index]
        lines = []
        for box, label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
            x1, x2 = (min(max(value / record.width, 0.0), 1.0) for value in (box[0], box[2]))
            y1, y2 = (min(max(value / record.height, 0.0), 1.0) for value in (box[1], box[3]))
            # Eight decimals: a ten-thousandth of a pixel in a picture of 10,000.
            lines.append(f"{label} {(x1 + x2) / 2:.8f} {(y1 + y2) / 2:.8f} {x2 - x1:.8f} {y2 - y1:.8f}\n")
        with atomic_path(label_path(root / name)) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    import json

    folders = {split: f"images/{split}" for split in dataset.splits} or {"train": "images"}
    # JSON strings are YAML strings, whatever stands in them.
    lines = [f"{split}: {json.dumps(folder, ensure_ascii=False)}\n" for split, folder in folders.items()]
    lines += [
        "names:\n",
        *(f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(dataset.names)),
    ]
    with atomic_path(root / "data.yaml") as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")

"""COCO JSON (cocodataset.org/#format-data), instances only.

Pictures lie in a folder named like the file's suffix (``instances_val2017.json``: ``val2017/``), beside the
file (Roboflow's ``_annotations.coco.json``), or where ``--images`` says. Labels follow ascending category ids.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_text
from edgedet.errors import DatasetError
from edgedet.files import atomic_path

ROBOFLOW_NAME = "_annotations.coco.json"
PREFIX = "instances_"


def find_coco(folder: Path) -> dict[str, Path]:
    """Split name to annotation file; empty where the folder holds no COCO dataset."""
    found: dict[str, Path] = {}
    for place in (folder, folder / "annotations"):
        for path in sorted(place.glob(f"{PREFIX}*.json")):
            found.setdefault(path.stem.removeprefix(PREFIX), path)
    for path in sorted(folder.glob(f"*/{ROBOFLOW_NAME}")):
        found.setdefault(path.parent.name, path)
    if (folder / ROBOFLOW_NAME).is_file():
        found.setdefault(folder.name, folder / ROBOFLOW_NAME)
    return found


def split_of(path: Path) -> str:
    """The split an annotation file stands for.

    >>> split_of(Path("annotations/instances_val2017.json")), split_of(Path("valid/_annotations.coco.json"))
    ('val2017', 'valid')
    """
    if path.name == ROBOFLOW_NAME:
        return path.parent.name
    return path.stem.removeprefix(PREFIX)


def read_coco(
    path: Path, log: ProblemLog, images: Path | None = None, split: str = ""
) -> tuple[tuple[str, ...], tuple[ImageRecord, ...]]:
    """Class names and records of one COCO file.

    Raises:
        DatasetError: not JSON, not COCO, or no folder holds its pictures.
    """
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in ("images", "categories")):
        raise DatasetError(
            f"{path} is not a COCO file: expected an object with 'images', 'annotations', 'categories'"
        )
    if not isinstance(data.get("annotations"), list):
        raise DatasetError(f"{path} has no 'annotations'; image lists without boxes can be read as a plain folder")
    labels, names = _categories(data["categories"], path)
    entries = {}
    for index, entry in enumerate(data["images"]):
        where = f"{path.name}:images[{index}]"
        if (
            not isinstance(entry, dict)
            or not _is_id(entry.get("id"))
            or not isinstance(entry.get("file_name"), str)
        ):
            log.add(where, "image entry without id or file_name", "image dropped")
        elif entry["id"] in entries:
            log.add(where, "image id used twice", "image dropped")
        else:
            entries[entry["id"]] = (where, entry)
    rows: dict[Any, list[Row]] = {image_id: [] for image_id in entries}
    for index, annotation in enumerate(data["annotations"]):
        where = f"{path.name}:annotations[{index}]"
        row = _row(annotation, where, labels, log)
        if row is None:
            continue
        image_id = annotation.get("image_id")
        if _is_id(image_id) and image_id in rows:
            rows[image_id].append(row)
        else:
            log.add(where, "box of an image that is not listed")
    locate = _locator(path, [entry["file_name"] for _, entry in entries.values()], images)
    return names, tuple(_records(entries, rows, locate, log, split))


def _records(
    entries: dict[Any, tuple[str, dict[str, Any]]],
    rows: dict[Any, list[Row]],
    locate: Callable[[str], Path],
    log: ProblemLog,
    split: str,
) -> Iterator[ImageRecord]:
    for image_id, (where, entry) in entries.items():
        picture = locate(entry["file_name"])
        sides = [to_number(entry.get(key)) for key in ("width", "height")]
        stated = (int(sides[0]), int(sides[1])) if all(math.isfinite(side) for side in sides) else None
        size = picture_size(picture, where, log, stated)
        if size is not None:
            yield build_record(picture, size, rows[image_id], log, split)


def _categories(categories: list[Any], path: Path) -> tuple[dict[Any, int], tuple[str, ...]]:
    good = [c for c in categories if isinstance(c, dict) and isinstance(c.get("id"), int) and "name" in c]
    if len(good) != len(categories) or not good:
        raise DatasetError(f"{path}: 'categories' must be a list of objects with a whole-number id and a name")
    used = {category["id"] for category in good}
    if len(used) != len(good):
        raise DatasetError(f"{path}: a category id is used twice; every class needs an id of its own")
    good.sort(key=lambda category: category["id"])
    names = tuple(str(category["name"]) for category in good)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{path}: two categories are named {twice!r}; every class needs a name of its own")
    return {category["id"]: label for label, category in enumerate(good)}, names


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _row(annotation: Any, where: str, labels: dict[Any, int], log: ProblemLog) -> Row | None:
    box = annotation.get("bbox") if isinstance(annotation, dict) else None
    if not isinstance(box, list) or len(box) != 4:
        log.add(where, "annotation without a bbox of four numbers")
        return None
    category = annotation.get("category_id")
    label = labels.get(category) if isinstance(category, int) else None
    if label is None:
        log.add(f"{where} (category_id {category!r})", "unknown class")
        return None
    x, y, width, height = (to_number(value) for value in box)
    area = to_number(annotation.get("area"))
    return Row(
        where,
        label,
        x,
        y,
        x + width,
        y + height,
        crowd=bool(annotation.get("iscrowd", 0)),
        area=area if math.isfinite(area) else None,
    )


def usual_folders(path: Path) -> list[Path]:
    """Where the pictures of an annotation file lie, the likeliest first."""
    split = split_of(path)
    home = path.parent
    suffix = split.rpartition("_")[2]
    parent = home.parent
    usual = [home, home / split, home / suffix, parent / split, parent / suffix, home / "images"]
    return [*usual, parent / "images" / split, parent / "images", parent]


def _locator(path: Path, file_names: list[str], images: Path | None) -> Callable[[str], Path]:
    """Where pictures lie: the first candidate folder that has any of the first ones."""
    folders = usual_folders(path) if images is None else [images]
    for folder in folders:
        if any((folder / name).is_file() for name in file_names[:50]):
            return lambda name: folder / name
        if any((folder / Path(name).name).is_file() for name in file_names[:50]):
            return lambda name: folder / Path(name).name
    if not file_names:
        return lambda name: path.parent / name
    tried = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise DatasetError(f"{path}: no folder holds its pictures (tried {tried}); name it with --images DIR")


def write_coco(dataset: Dataset, path: Path, placed: dict[int, str]) -> None:
    """One COCO file. ``placed``: index of an image to its ``file_name``. Ids count from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, name in placed.items():
        record = dataset.images[index]
        image_id = len(images) + 1
        images.append({"id": image_id, "file_name": name, "width": record.width, "height": record.height})
        for box, label, crowd, area in zip(
            record.boxes.tolist(), record.labels.tolist(), record.crowd.tolist(), record.area.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [round(value, 4) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
                    "area": round(area, 4),
                    "iscrowd": int(crowd),
                }
            )
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(dataset.names)]
    with atomic_path(path) as temporary:
        text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
        temporary.write_text(text, encoding="utf-8")

"""COCO JSON (cocodataset.org/#format-data), instances only.

Pictures lie in a folder named like the file's suffix (``instances_val2017.json``: ``val2017/``), beside the
file (Roboflow's ``_annotations.coco.json``), in ``images`` or ``data``, or where ``--images`` says; file names are
read as any system writes them. Labels follow ascending category ids over all files of the dataset.

Boxes that repeat another are kept, as pycocotools keeps them, and counted in a note.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edgedet.datasets.box_form import BoxForm
from edgedet.datasets.coco_categories import Categories, categories_of, number_categories, read_categories
from edgedet.datasets.coco_clips import Video, clip_fields, clip_frame, instance_of, read_videos, video_entries
from edgedet.datasets.coco_files import PREFIX, coco_files, file_split, files_beside, is_coco, other_splits
from edgedet.datasets.coco_keypoints import skeleton_of, written_keypoints, written_skeleton
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.format import Format, Sign, Writer
from edgedet.datasets.layout import Content, Layout, Request, elsewhere_note, joined, numbering_note
from edgedet.datasets.relocated_paths import Located, locate_pictures
from edgedet.datasets.rows import (
    ProblemLog,
    Row,
    build_record,
    picture_size,
    to_number,
    usable_keypoints,
)
from edgedet.datasets.text import read_text
from edgedet.datasets.unsupported_formats import format_of
from edgedet.errors import DatasetError
from edgedet.files import atomic_path


def find(path: Path) -> Layout | None:
    """The COCO files of a folder, or the one that is named; None where there is none."""
    if not path.is_dir() and path.suffix.lower() != ".json":
        return None
    if path.is_file() and not is_coco(path) and not (format_of(path) or "COCO").startswith("COCO"):
        return None
    files = coco_files(path)
    return Layout(tuple(files), partial(_read, files)) if files else None


def _read(files: dict[str, Path], splits: tuple[str, ...], request: Request) -> Content:
    parts: list[Content] = []
    numbered: dict[Path, Categories] = {}
    for split in splits:
        content, numbered[files[split].absolute()] = read_coco(
            files[split],
            request.log,
            request.images,
            split,
            outlines=request.outlines,
            keypoints=request.keypoints,
        )
        parts.append(content)
    read = [files[split] for split in splits]
    for path in (other.absolute() for one in read for other in other_splits(one)):
        if path not in numbered:
            numbered[path] = read_categories(path)
    content = joined(parts, number_categories([numbered[path] for path in sorted(numbered)]))
    here = {name for part in parts for name in part.names}
    notes = elsewhere_note(content.names, here, (file_split(path) for path in sorted(numbered)))
    strangers = {other for one in read for other in files_beside(one) if other.absolute() not in numbered}
    lists = {path: number_categories([read_categories(path)]) for path in sorted(strangers)}
    return content._replace(notes=(*content.notes, *notes, *numbering_note(content.names, lists)))


def read_coco(
    path: Path,
    log: ProblemLog,
    images: Path | None = None,
    split: str = "",
    *,
    outlines: bool = False,
    keypoints: bool = False,
) -> tuple[Content, Categories]:
    """What one COCO file holds, with ``outlines`` and ``keypoints`` or without, and its categories.

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
    categories = categories_of(data, path)
    labels = {number: label for label, number in enumerate(categories.names)}
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
    skeleton, why = skeleton_of(data["categories"]) if keypoints else (None, "")
    points = 0 if skeleton is None else len(skeleton.names)
    rows: dict[Any, list[Row]] = {image_id: [] for image_id in entries}
    for index, annotation in enumerate(data["annotations"]):
        where = f"{path.name}:annotations[{index}]"
        row = _row(annotation, where, labels, log)
        if row is None:
            continue
        if outlines:
            row = row._replace(outline=outline_of(annotation))
            if row.outline is None and annotation.get("segmentation"):
                log.add(where, "outline that is neither polygons nor run lengths", "outline dropped")
        row = row._replace(instance=instance_of(annotation))
        if points and (given := annotation.get("keypoints")) is not None:
            row = row._replace(keypoints=usable_keypoints(given if isinstance(given, list) else (), points))
            if row.keypoints is None:
                log.add(where, f"keypoints that are not x, y and 0, 1 or 2 for each of {points}")
                continue
        image_id = annotation.get("image_id")
        if _is_id(image_id) and image_id in rows:
            rows[image_id].append(row)
        else:
            log.add(where, "box of an image that is not listed")
    located = _locate(path, [entry["file_name"] for _, entry in entries.values()], images)
    videos = read_videos(data)
    records = tuple(
        _records(entries, rows, located, videos, home=path.parent, log=log, split=split, keypoints=points)
    )
    notes = (*categories.notes, *((why,) if why else ()))
    return Content(tuple(categories.names.values()), records, notes, skeleton), categories


def _records(
    entries: dict[Any, tuple[str, dict[str, Any]]],
    rows: dict[Any, list[Row]],
    located: Located,
    videos: dict[Any, Video],
    *,
    home: Path,
    log: ProblemLog,
    split: str,
    keypoints: int,
) -> Iterator[ImageRecord]:
    for image_id, (where, entry) in entries.items():
        name = entry["file_name"]
        if name in located.unclear:
            log.add(f"{where} ({name})", "picture of several images", "image dropped")
            continue
        sides = [to_number(entry.get(key)) for key in ("width", "height")]
        stated = (int(sides[0]), int(sides[1])) if all(math.isfinite(side) for side in sides) else None
        picture = located.paths.get(name, home / name)
        size = picture_size(picture, where, log, stated)
        if size is not None:
            record = build_record(picture, size, rows[image_id], log, split, keypoints=keypoints)
            clip = clip_frame(entry, videos, split)
            yield record if clip is None else replace(record, clip=clip)


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


def outline_of(annotation: Mapping[str, Any]) -> Any:
    """An annotation's ``segmentation``, polygons or run lengths as pycocotools takes them, or None."""
    outline = annotation.get("segmentation")
    if isinstance(outline, list):
        fine = all(isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0 for part in outline)
        numbers = fine and all(math.isfinite(to_number(value)) for part in outline for value in part)
        return outline if outline and numbers else None
    if isinstance(outline, dict):
        size, counts = outline.get("size"), outline.get("counts")
        sides = isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)
        return outline if sides and isinstance(counts, str | list) else None
    return None


def usual_folders(path: Path) -> list[Path]:
    """Possible folders of an annotation file's pictures, the likeliest first."""
    split = file_split(path)
    home, parent = path.parent, path.parent.parent
    suffix = split.rpartition("_")[2]
    usual = [home, home / split, home / suffix, parent / split, parent / suffix, home / "images", home / "data"]
    usual += [parent / "images" / split, parent / "images" / suffix, parent / "images", parent / "data", parent]
    return usual


def _locate(path: Path, file_names: list[str], images: Path | None) -> Located:
    folders = usual_folders(path) if images is None else [images]
    located = locate_pictures(file_names, folders)
    if located is not None or not file_names:
        return located or Located({}, frozenset())
    tried = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise DatasetError(f"{path}: no folder holds its pictures (tried {tried}); name it with --images DIR")


def _write(dataset: Dataset, root: Path, placed: dict[int, str]) -> None:
    """One COCO file per split."""
    for split in dataset.splits:
        chosen = {index: Path(name).name for index, name in placed.items() if dataset.images[index].split == split}
        _write_split(dataset, root / f"{PREFIX}{split}.json", chosen)


def _write_split(dataset: Dataset, path: Path, placed: dict[int, str]) -> None:
    """One COCO file. ``placed``: index of an image to its ``file_name``. Ids count from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    videos = video_entries(dataset.images[index] for index in placed)
    for index, name in placed.items():
        record = dataset.images[index]
        image_id = len(images) + 1
        size = {"width": record.width, "height": record.height}
        images.append({"id": image_id, "file_name": name, **size, **clip_fields(record, videos)})
        columns = (record.boxes, record.labels, record.crowd, record.area)
        marks = record.instances or (None,) * len(record)
        points = [[]] * len(record) if record.keypoints is None else record.keypoints.tolist()
        outlines = record.outlines or (None,) * len(record)
        for box, label, crowd, area, mark, keypoints, outline in zip(
            *(each.tolist() for each in columns), marks, points, outlines, strict=True
        ):
            shape = {} if outline is None else {"segmentation": outline}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [round(value, 4) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
                    "area": round(area, 4),
                    "iscrowd": int(crowd),
                    **shape,
                    **written_keypoints(keypoints),
                }
                | ({} if mark is None else {"instance_id": mark})
            )
    skeleton = written_skeleton(dataset.skeleton)
    categories = [{"id": label + 1, "name": name, **skeleton} for label, name in enumerate(dataset.names)]
    with atomic_path(path) as temporary:
        content = {"images": images, "annotations": annotations, "categories": categories}
        if videos:
            content["videos"] = list(videos.values())
        temporary.write_text(json.dumps(content), encoding="utf-8")


FORMAT = Format(
    title="COCO",
    signs=((Sign.TABLE, find),),
    form=BoxForm("x, y, width, height", "pixels"),
    writer=Writer(
        _write, folder=str, carries=frozenset({"crowd", "area", "empty", "clip", "keypoints", "outlines"})
    ),
)

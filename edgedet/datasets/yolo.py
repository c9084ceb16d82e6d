"""YOLO: ``data.yaml`` and a text file of labels per picture (:mod:`edgedet.datasets.yolo_labels`).

Without a ``data.yaml``, as labelImg, Label Studio, CVAT and Darknet leave it: pictures with such files, and a file
of class names (``classes.txt``, ``obj.names``, ``notes.json``) at the top or beside them.

A picture without a label file is one without objects. Keypoints (``kpt_shape`` in the YAML) are read where they are
asked for, and passed over elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgedet.artifacts.keypoint_skeleton import named_skeleton
from edgedet.datasets.box_form import BoxForm
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.folder import find_pictures
from edgedet.datasets.format import Format, Sign, Writer
from edgedet.datasets.layout import (
    Content,
    Layout,
    Request,
    grouped,
    is_split,
    joined,
    split_folders,
    whole_of,
)
from edgedet.datasets.outlines import one_ring
from edgedet.datasets.rows import ProblemLog, build_record, picture_size
from edgedet.datasets.text import find_names, read_numbered_names, read_text, require_distinct
from edgedet.datasets.yolo_labels import LabelFiles, has_label_shape, label_lines, label_path, label_rows
from edgedet.datasets.yolo_yaml import find_yaml, read_settings
from edgedet.errors import DatasetError
from edgedet.files import atomic_path

_HOLDERS = ("images", "labels", "obj_train_data")
"""Folders of pictures and labels inside a dataset's own folder."""


def find_with_yaml(path: Path) -> Layout | None:
    """A data.yaml, or a folder that has one; None where there is none."""
    yaml = find_yaml(path) if path.is_dir() else path
    if yaml is None or yaml.suffix.lower() not in (".yaml", ".yml"):
        return None
    settings = read_settings(yaml)

    def read(splits: tuple[str, ...], request: Request) -> Content:
        parts = []
        keypoints = settings.keypoints if request.keypoints else None
        for split in splits:
            listed = settings.pictures(split, request.images)
            content = _read(
                listed.pictures,
                settings.names,
                split,
                request.log,
                folders=listed.folders,
                complete=listed.complete,
                words_per_line=settings.words_per_line if keypoints is None else None,
                keypoints=keypoints,
                outlines=request.outlines,
            )
            parts.append(content._replace(notes=(*listed.notes, *content.notes)))
        content = joined(parts, settings.names)
        skeleton = None if keypoints is None else named_skeleton(keypoints[0], settings.keypoint_names)
        return content._replace(notes=(*settings.notes, *content.notes), skeleton=skeleton)

    return Layout(settings.splits, read)


def find_without_yaml(path: Path) -> Layout | None:
    """Pictures with label files and a file of class names; None where there are none.

    Raises:
        DatasetError: label files without class names.
    """
    if not path.is_dir():
        return None
    pictures = tuple(find_pictures(path))
    if not _labelled(pictures):
        return None
    root, only = whole_of(path)
    groups = {only: list(pictures)} if only else grouped(pictures, path)
    splits = tuple(split for split in groups if split or len(groups) > 1)

    def read(splits: tuple[str, ...], request: Request) -> Content:
        names = _names_around(path, root)
        chosen = {split: groups[split] for split in splits or ("",)}
        if request.images is not None:
            elsewhere = list(find_pictures(request.images))
            by_split = grouped(elsewhere, request.images)
            chosen = {split: by_split.get(split, []) if len(groups) > 1 else elsewhere for split in chosen}
        parts = [
            _read(
                [(p, p.parent.name) for p in members],
                names,
                split,
                request.log,
                complete=True,
                outlines=request.outlines,
            )
            for split, members in chosen.items()
        ]
        return joined(parts, names)

    return Layout(splits, read)


def _labelled(pictures: Sequence[Path]) -> bool:
    """Whether the first label file that says something is one of boxes."""
    by_folder: dict[Path, list[Path]] = {}
    for picture in pictures:
        by_folder.setdefault(picture.parent, []).append(picture)
    for members in by_folder.values():
        places = LabelFiles(members)
        if any((path := places.find(picture)) is not None and has_label_shape(path) for picture in members):
            return True
    return False


def _names_around(folder: Path, root: Path) -> tuple[str, ...]:
    """The class names from the files in the folder and around it, which must agree."""
    holders = sorted(entry for entry in folder.iterdir() if entry.name.casefold() in _HOLDERS)
    places = [folder, *holders, *split_folders(folder), *split_folders(root)]
    # set/images/val: val belongs to images, and images to set.
    above = folder.absolute()
    while above.name.casefold() in _HOLDERS or is_split(above.name):
        above = above.parent
        places.append(above)
    found = {place: names for place in places if (names := _names_in(place)) is not None}
    if not found:
        raise DatasetError(
            f"{folder} has YOLO label files, but no class names: write them into classes.txt there, one per line, "
            "in the order of their numbers, or into a data.yaml"
        )
    first = next(iter(found))
    other = next((place for place, names in found.items() if names != found[first]), None)
    if other is not None:
        raise DatasetError(f"the class names in {first} and {other} differ; labels are numbered by one list")
    return found[first]


def _names_in(folder: Path) -> tuple[str, ...] | None:
    path = find_names(folder)
    if path is not None:
        return read_numbered_names(path)
    notes = folder / "notes.json"
    if notes.is_file():
        return _label_studio_names(notes)
    yaml = find_yaml(folder) if folder.is_dir() else None
    return None if yaml is None else read_settings(yaml).names


def _label_studio_names(path: Path) -> tuple[str, ...] | None:
    try:
        categories = json.loads(read_text(path))["categories"]
        numbered = {int(entry["id"]): str(entry["name"]) for entry in categories}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not numbered or sorted(numbered) != list(range(len(numbered))):
        return None
    names = [numbered[label] for label in range(len(numbered))]
    require_distinct(names, str(path))
    return tuple(names)


def _read(
    listed: Sequence[tuple[Path, str]],
    names: tuple[str, ...],
    split: str,
    log: ProblemLog,
    *,
    folders: Sequence[Path] = (),
    complete: bool,
    words_per_line: int | None = None,
    keypoints: tuple[int, int] | None = None,
    outlines: bool = False,
) -> Content:
    """``listed``: pictures and where each is named. ``complete``: they are all that there are in ``folders``."""
    labels = LabelFiles([picture for picture, _ in listed])
    records: list[ImageRecord] = []
    for picture, where in listed:
        size = picture_size(picture, where, log)
        lines = None if size is None else label_lines(labels.find(picture), words_per_line, log)
        if size is not None and lines is not None:
            rows = label_rows(lines, size, len(names), log, keypoints=keypoints, outlines=outlines)
            records.append(
                build_record(picture, size, rows, log, split, keypoints=keypoints[0] if keypoints else 0)
            )
    return Content(names, tuple(records), labels.notes(folders, complete=complete))


def written_split(split: str) -> str:
    """The name a split has in a data.yaml, which knows three; COCO's val2017 and Open Images' validation mean one.

    >>> [written_split(name) for name in ("val2017", "validation", "testdev", "extra")]
    ['val', 'val', 'test', 'train']
    """
    return next((name for name in ("train", "val", "test") if name in split.casefold()), "train")


def _write(dataset: Dataset, root: Path, placed: dict[int, str]) -> Sequence[str]:
    """Label files and data.yaml.

    Boxes are clipped to the picture (trainers reject shares above 1). Where all objects of a picture have outlines,
    their lines are polygons. The format knows neither crowds nor difficult objects.
    """
    for index, name in placed.items():
        record = dataset.images[index]
        drawn = outlined(record) and dataset.skeleton is None
        lines = list(_polygons(record)) if drawn else []
        points = [[]] * len(record) if record.keypoints is None else record.keypoints.tolist()
        boxes = [] if drawn else list(zip(record.boxes.tolist(), record.labels.tolist(), points, strict=True))
        for box, label, keypoints in boxes:
            x1, x2 = (min(max(value / record.width, 0.0), 1.0) for value in (box[0], box[2]))
            y1, y2 = (min(max(value / record.height, 0.0), 1.0) for value in (box[1], box[3]))
            # Eight decimals: a ten-thousandth of a pixel in a picture of 10,000.
            line = f"{label} {(x1 + x2) / 2:.8f} {(y1 + y2) / 2:.8f} {x2 - x1:.8f} {y2 - y1:.8f}"
            places = (f" {x / record.width:.8f} {y / record.height:.8f} {int(seen)}" for x, y, seen in keypoints)
            lines.append(f"{line}{''.join(places)}\n")
        with atomic_path(label_path(root / name)) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    folders = {split: f"images/{split}" for split in dataset.splits} or {"train": "images"}
    # JSON strings are YAML strings, whatever stands in them.
    lines = [f"{split}: {json.dumps(folder, ensure_ascii=False)}\n" for split, folder in folders.items()]
    lines += [
        "names:\n",
        *(f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(dataset.names)),
    ]
    if dataset.skeleton is not None:
        points = list(dataset.skeleton.names)
        lines.append(f"kpt_shape: [{len(points)}, 3]\n")
        lines.append("kpt_names:\n")
        lines += [f"  {label}: {json.dumps(points, ensure_ascii=False)}\n" for label in range(len(dataset.names))]
    with atomic_path(root / "data.yaml") as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    posed = dataset.skeleton is not None
    mixed = [record.outlines for record in dataset.images if posed or not outlined(record)]
    count = sum(len(each) - each.count(None) for each in mixed if each is not None)
    why = "beside keypoints" if posed else "of pictures where some objects have none"
    return (f"{count:,} outlines {why}",) if count else ()


def outlined(record: ImageRecord) -> bool:
    """Whether every object has an outline: readers leave out a picture that mixes boxes and polygons."""
    return record.outlines is not None and None not in record.outlines


def _polygons(record: ImageRecord) -> Iterator[str]:
    """Lines of polygons, one for each object."""
    for outline, label in zip(record.outlines or (), record.labels.tolist(), strict=True):
        ring = one_ring(outline, (record.height, record.width)) / (record.width, record.height)
        corners = " ".join(f"{value:.8f}" for value in ring.clip(0, 1).ravel().tolist())
        yield f"{label} {corners}\n"


FORMAT = Format(
    title="YOLO",
    signs=((Sign.INDEX, find_with_yaml), (Sign.BARE, find_without_yaml)),
    form=BoxForm("cx, cy, width, height", "shares"),
    writer=Writer(
        _write,
        folder=lambda split: f"images/{split}",
        carries=frozenset({"empty", "keypoints", "outlines"}),
        split=written_split,
    ),
)

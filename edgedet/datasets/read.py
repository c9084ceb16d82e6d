"""``read_dataset``: one argument, recognised by what is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal

from edgedet.datasets import annotation, box_csv, coco, labelme, open_images, voc, yolo
from edgedet.datasets.box_form import complaint, hints
from edgedet.datasets.dataset import Dataset, Format
from edgedet.datasets.folder import read_folder
from edgedet.datasets.layout import Content, Layout, Request
from edgedet.datasets.open_images import Mark
from edgedet.datasets.rows import ProblemLog, Strictness
from edgedet.datasets.unread import find_unread, format_of
from edgedet.errors import DatasetError

Needs = Literal["labels", "pictures"]

_BESIDE: dict[Callable[[Path], Layout | None], str] = {
    voc.find_beside: "Pascal VOC",
    labelme.find: "labelme",
    yolo.find_without_yaml: "YOLO",
}
"""Layouts with a file of labels per picture, of which a folder may hold several."""
_FINDERS = (
    yolo.find_with_yaml,
    voc.find_root,
    coco.find,
    open_images.find,
    annotation.find,
    box_csv.find,
    *_BESIDE,
)

ALL = "all"
EXPECTED = (
    "COCO JSON, a YOLO data.yaml or label files with classes.txt, Pascal VOC XML, labelme JSON, an Open Images or "
    "TensorFlow box CSV, annotation.txt, or a folder of pictures"
)


def read_dataset(
    source: str | Path,
    *,
    images: str | Path | None = None,
    classes: Sequence[str] | None = None,
    exclude: Collection[Mark] = (),
    problems: Strictness = "drop",
    needs: Needs = "labels",
) -> Dataset:
    """Read a dataset, whatever its format.

    ``source``: ``PATH`` or ``PATH:SPLIT``. Where a dataset has several splits one must be named, or ``all`` for
    everything: calibrating on the pictures that judge must not happen by accident. ``images``: folder of the
    pictures where they do not lie at a usual place. ``classes``: only these, labelled in this order.
    ``exclude``: Open Images boxes with any of these marks are left out. ``problems``: drop bad annotations and
    name them in ``Dataset.problems``, or stop at the first. ``needs``: ``pictures`` takes a folder whose labels
    nobody can read for what it is to the asker, pictures; they are named in ``Dataset.notes``.

    >>> read_dataset("nothing/here")
    Traceback (most recent call last):
    edgedet.errors.DatasetError: nothing/here: no such file or folder

    Raises:
        DatasetError: nothing there, not a dataset, labels of a format that is not read, no or an unknown split,
            nothing usable in it, boxes that are written otherwise than the format says or are mostly unusable, or
            a bad annotation with ``problems="stop"``.
        MissingDependencyError: a YOLO dataset without PyYAML.
    """
    path, split = split_argument(str(source))
    folder = None if images is None else Path(images)
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected the folder with the dataset's pictures")
    log = ProblemLog(problems)
    format_name, content = _read(path, split, needs, Request(log, folder, classes, exclude))
    notes = content.notes
    if log.repeats:
        notes += (f"{log.repeats:,} boxes repeat another exactly; kept, as pycocotools keeps them",)
    if format_name != "folder" and content.records and not any(map(len, content.records)):
        notes += ("nothing in it is labelled",)
    dataset = Dataset(content.names, content.records, format_name, str(source), tuple(log.found), notes)
    if classes is not None and format_name != "openimages":
        if format_name == "folder":
            raise DatasetError(f"{source} is a plain folder of pictures: there are no classes to choose from")
        dataset = dataset.select_classes(classes)
    if not dataset.images:
        raise DatasetError(f"nothing usable in it; {dataset.describe()}. Expected {EXPECTED}")
    return dataset


def split_argument(source: str) -> tuple[Path, str | None]:
    """Take ``PATH[:SPLIT]`` apart; a colon that belongs to an existing path stays in it.

    Raises:
        DatasetError: no such path.
    """
    if source and Path(source).exists():
        return Path(source), None
    head, colon, split = source.rpartition(":")
    if colon and head and split and Path(head).exists():
        return Path(head), split
    raise DatasetError(f"{source}: no such file or folder")


def _read(path: Path, split: str | None, needs: Needs, request: Request) -> tuple[Format, Content]:
    """Recognise what is there and read it."""
    notes: tuple[str, ...] = ()
    for find in _FINDERS:
        layout = find(path)
        if layout is None:
            continue
        splits = _choose(path, split, layout.splits)
        try:
            content = _trusted(layout.read(splits, request), layout, path, needs, request.log)
        except DatasetError as error:
            # Pictures are pictures, however their labels are kept.
            if needs == "labels" or find not in _BESIDE:
                raise
            notes = (f"labels not read: {error}",)
            continue
        missing = [name for name in splits if not any(record.split == name for record in content.records)]
        empty = (f"no picture in {', '.join(name or 'no split' for name in missing)}",) if missing else ()
        also = [other for other in _BESIDE if other is not find and find in _BESIDE and other(path) is not None]
        more = tuple(f"{_BESIDE[other]} labels lie there too and are not read" for other in also)
        return layout.format, content._replace(notes=(*content.notes, *empty, *more))
    if path.is_file():
        raise DatasetError(_not_a_dataset(path))
    unread = find_unread(path)
    if unread.formats and needs == "labels":
        raise DatasetError(
            f"{path} holds labels that are not read: {', '.join(unread.formats)}; expected {EXPECTED}"
        )
    if split is not None:
        raise DatasetError(f"{path} is a plain folder of pictures and has no split {split!r}; drop ':{split}'")
    notes = notes or ((unread.note,) if unread.note else ())
    return "folder", Content((), read_folder(path, request.log), notes)


def _trusted(content: Content, layout: Layout, path: Path, needs: Needs, log: ProblemLog) -> Content:
    """The content, and what is to be said of its boxes as a whole.

    Raises:
        DatasetError: they cannot be what they are read as, or most of them are dropped, and labels are needed.
    """
    reason = complaint(log.seen, layout.form)
    if reason is None:
        reason = log.complaint(sum(map(len, content.records)))
    if reason is not None and needs == "labels":
        raise DatasetError(f"{path}: {reason}")
    notes = (f"labels not to be trusted: {reason}",) if reason is not None else tuple(hints(log.seen, layout.form))
    return content._replace(notes=(*content.notes, *notes))


def _not_a_dataset(path: Path) -> str:
    name = format_of(path)
    if name in ("labelme JSON", "Pascal VOC XML"):
        return f"{path} holds the labels of one picture ({name}); name the folder it is in"
    seen = f" but {name}" if name else ""
    return f"{path} is not a dataset{seen}; expected {EXPECTED}"


def _choose(path: Path, wanted: str | None, there: tuple[str, ...]) -> tuple[str, ...]:
    """The splits to read.

    Raises:
        DatasetError: not there, or none named although there are several.
    """
    if wanted == ALL:
        # trainval repeats train and val.
        return tuple(name for name in there if not (name == "trainval" and {"train", "val"} <= set(there)))
    if wanted is None and len(there) <= 1:
        return there
    if wanted in there:
        return (wanted,)
    named = [name for name in there if name] or ["none"]
    if wanted is None:
        raise DatasetError(
            f"{path} has the splits {', '.join(named)}; name one, such as {path}:{named[0]}, or :{ALL}"
        )
    raise DatasetError(f"{path} has no split {wanted!r}; it has {', '.join(named)}")

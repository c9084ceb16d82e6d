"""``read_dataset``: one argument, recognised by what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from edgedet import dataset_formats
from edgedet.datasets.box_form import BoxForm, complaint, hints
from edgedet.datasets.dataset import PLACES_SHOWN, Dataset
from edgedet.datasets.folder import read_folder
from edgedet.datasets.format import Find, Format, Sign
from edgedet.datasets.layout import Content, Request
from edgedet.datasets.rows import ProblemLog, Strictness
from edgedet.datasets.unsupported_formats import find_unread, format_of
from edgedet.errors import DatasetError
from edgedet.files import is_there

Needs = Literal["labels", "pictures"]

ALL = "all"
FOLDER = Format(title="plain folder", signs=())


class _Way(NamedTuple):
    """One sign of one format."""

    sign: Sign
    name: str
    format: Format
    find: Find


def read_dataset(
    source: str | Path,
    *,
    images: str | Path | None = None,
    classes: Sequence[str] | None = None,
    problems: Strictness = "drop",
    needs: Needs = "labels",
    outlines: bool = False,
    keypoints: bool = False,
    **options: Any,
) -> Dataset:
    """Read a dataset of any format; the format is recognised.

    Args:
        source: ``PATH`` or ``PATH:SPLIT``. One of several splits must be named, or ``all`` for everything:
            calibrating on the pictures that judge must not happen by accident.
        images: folder of the pictures; None looks at the format's usual places.
        classes: class names to keep, in the order of their labels; None keeps all.
        problems: ``drop`` leaves bad annotations out and names them in ``Dataset.problems``; ``stop`` raises at the
            first.
        needs: ``pictures`` accepts pictures whose labels cannot be read; ``Dataset.notes`` names those labels.
        outlines: whether the outlines of objects are kept, where the format has them (COCO, polygons of YOLO,
            Pascal VOC's ``SegmentationObject``): they take more memory than the boxes. The area of an object that
            has one is its own then, not its box's.
        keypoints: whether the keypoints of objects are kept, where the dataset has some (COCO, YOLO).
        options: of one format alone. Open Images has ``exclude``: marks
            (:data:`edgedet.datasets.open_images.MARKS`) whose boxes are left out.

    Returns:
        The dataset; a plain folder of pictures has no classes and no boxes.

    Raises:
        DatasetError: nothing there, not a dataset, labels of a format that is not read, no or an unknown split, an
            option of another format, nothing usable in it, boxes that are written otherwise than the format says or
            are mostly unusable, or a bad annotation with ``problems="stop"``.
        MissingDependencyError: a YOLO dataset without PyYAML.

    >>> dataset = read_dataset("photos/labels.json", classes=["red", "green"])
    >>> dataset.format, len(dataset), dataset.box_count
    ('coco', 12, 8)
    >>> read_dataset("nothing/here")
    Traceback (most recent call last):
    edgedet.errors.DatasetError: nothing/here: no such file or folder
    """
    path, split = split_argument(str(source))
    folder = None if images is None else Path(images)
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected the folder with the dataset's pictures")
    log = ProblemLog(problems)
    name, chosen, content = _read(path, split, needs, Request(log, folder, classes, options, outlines, keypoints))
    notes = content.notes
    if log.repeats:
        notes += (f"{log.repeats:,} boxes repeat another exactly; kept, as pycocotools keeps them",)
    if chosen is not FOLDER and content.records and not any(map(len, content.records)):
        notes += ("nothing in it is labelled",)
    dataset = Dataset(content.names, content.records, name, str(source), tuple(log.found), notes, content.skeleton)
    if classes is not None and not chosen.chooses_classes:
        if chosen is FOLDER:
            raise DatasetError(f"{source} is a plain folder of pictures: there are no classes to choose from")
        dataset = dataset.select_classes(classes)
    if not dataset.images:
        raise DatasetError(f"nothing usable in it; {dataset.describe()}. Expected {dataset_formats.expected()}")
    return dataset


def split_argument(source: str) -> tuple[Path, str | None]:
    """Take ``PATH[:SPLIT]`` apart; a colon that belongs to an existing path stays in it.

    Raises:
        DatasetError: no such path.
    """
    if source and is_there(source):
        return Path(source), None
    head, colon, split = source.rpartition(":")
    if colon and head and split and is_there(head):
        return Path(head), split
    raise DatasetError(f"{source}: no such file or folder")


def _ways() -> list[_Way]:
    """Every sign of every format, the surest first."""
    loaded = [(listed.name, listed.load()) for listed in dataset_formats.FORMATS]
    ways = [_Way(sign, name, one, find) for name, one in loaded for sign, find in one.signs]
    return sorted(ways, key=lambda way: way.sign)


def _read(path: Path, split: str | None, needs: Needs, request: Request) -> tuple[str, Format, Content]:
    """Recognise what is there and read it."""
    notes: tuple[str, ...] = ()
    ways = _ways()
    for way in ways:
        layout = way.find(path)
        if layout is None:
            continue
        _require_own_options(path, way.name, way.format, ways, request.options)
        splits = _choose(path, split, layout.splits)
        try:
            content = _trusted(layout.read(splits, request), way.format.form, path, needs, request.log)
        except DatasetError as error:
            # Pictures are pictures, however their labels are kept.
            if needs == "labels" or not way.sign.of_one_picture:
                raise
            notes = (f"labels not read: {error}",)
            request.log.seen.clear()
            continue
        missing = [name for name in splits if not any(record.split == name for record in content.records)]
        empty = (f"no picture in {', '.join(name or 'no split' for name in missing)}",) if missing else ()
        more = tuple(f"{title} labels lie there too and are not read" for title in _others(path, way, ways))
        return way.name, way.format, content._replace(notes=(*content.notes, *empty, *more))
    _require_own_options(path, "folder", FOLDER, ways, request.options)
    if path.is_file():
        raise DatasetError(_not_a_dataset(path))
    unread = find_unread(path)
    if unread.formats and needs == "labels":
        raise DatasetError(
            f"{path} holds labels that are not read: {', '.join(unread.formats)}; "
            f"expected {dataset_formats.expected()}"
        )
    if split is not None:
        raise DatasetError(f"{path} is a plain folder of pictures and has no split {split!r}; drop ':{split}'")
    notes = notes or ((unread.note,) if unread.note else ())
    return "folder", FOLDER, Content((), read_folder(path, request.log), notes)


def _others(path: Path, taken: _Way, ways: Sequence[_Way]) -> Iterator[str]:
    """Formats whose files lie beside the same pictures."""
    for way in ways:
        if (
            way is not taken
            and way.sign.of_one_picture
            and taken.sign.of_one_picture
            and way.find(path) is not None
        ):
            yield way.format.title


def _require_own_options(
    path: Path, name: str, chosen: Format, ways: Sequence[_Way], options: Mapping[str, Any]
) -> None:
    """Check that nothing was asked for that would be passed over.

    Raises:
        DatasetError: an option of another format.
        TypeError: an option of none.
    """
    for option in options.keys() - chosen.options:
        owners = dict.fromkeys(way.format.title for way in ways if option in way.format.options)
        if not owners:
            raise TypeError(f"read_dataset() got an unexpected keyword argument {option!r}")
        raise DatasetError(
            f"{path} is read as {name}, and {option!r} is for {', '.join(owners)} only; leave it out"
        )


def _trusted(content: Content, form: BoxForm, path: Path, needs: Needs, log: ProblemLog) -> Content:
    """The content, and what is to be said of its boxes as a whole.

    Raises:
        DatasetError: they cannot be what they are read as, or most of them are dropped, and labels are needed.
    """
    reason = complaint(log.seen, form)
    places = [p.where for p in log.found if p.done in ("box dropped", "box clipped")][:PLACES_SHOWN]
    if reason is not None and places:
        reason += f" (first {', '.join(places)})"
    if reason is None:
        reason = log.complaint(sum(map(len, content.records)))
    if reason is not None and needs == "labels":
        raise DatasetError(f"{path}: {reason}")
    notes = (f"labels not to be trusted: {reason}",) if reason is not None else tuple(hints(log.seen, form))
    return content._replace(notes=(*content.notes, *notes))


def _not_a_dataset(path: Path) -> str:
    name = format_of(path)
    if name in ("labelme JSON", "Pascal VOC XML"):
        return f"{path} holds the labels of one picture ({name}); name the folder it is in"
    seen = f" but {name}" if name else ""
    return f"{path} is not a dataset{seen}; expected {dataset_formats.expected()}"


def _choose(path: Path, wanted: str | None, there: tuple[str, ...]) -> tuple[str, ...]:
    """The splits to read.

    Raises:
        DatasetError: not there, or none named although there are several.
    """
    if wanted == ALL:
        # trainval repeats train and val, and VOC's lists of outlined pictures parts of them.
        whole = [name for name in there if not name.startswith("segmentation_")] or there
        return tuple(name for name in whole if not (name == "trainval" and {"train", "val"} <= set(there)))
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

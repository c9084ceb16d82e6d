"""Pascal VOC: ``Annotations/*.xml``, ``JPEGImages``, ``ImageSets/Main/*.txt``, or XML beside the pictures.

Roboflow and labelImg write every XML beside its picture, CVAT sorts both into folders, others use ``annotations``
and ``images``: an annotation belongs to the picture of its name, where there are several to that in the folder most
like its own.

Two conventions live under one format. The files of the PASCAL VOC challenge itself count pixels from 1 and include
both ends (xmin 1 is the first column, xmax W the last): box edges are xmin - 1 and xmax. Everybody else's tools
(labelImg, CVAT, Roboflow, torchvision's users) write the edges as they are. The challenge's files name their source
("The VOC2007 Database"); those are read by its rule, all others as written.

Written files give edges as they are, as whole numbers where they are whole and with decimals where not: rounding to
whole pixels, which the first readers of the format expect, would cost a small object much of its IoU.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from edgedet.artifacts.file_signs import IMAGE_SUFFIXES
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.folder import find_files
from edgedet.datasets.format import Format, Sign, Writer
from edgedet.datasets.layout import (
    Content,
    Layout,
    Request,
    elsewhere_note,
    grouped,
    left_out_note,
    split_folders,
    split_of_folder,
    whole_of,
)
from edgedet.datasets.relocated_paths import Listings, PictureIndex, path_parts
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size
from edgedet.datasets.text import read_names_beside, read_text
from edgedet.datasets.voc_annotation import Annotation, Listed, class_names, has_annotations, parse
from edgedet.datasets.voc_outlines import FOLDER, with_outlines, write_outlines
from edgedet.errors import DatasetError
from edgedet.files import atomic_path, is_file

LISTS = Path("ImageSets") / "Main"
OUTLINED_LISTS, OUTLINED = Path("ImageSets") / "Segmentation", "segmentation_"
"""Lists of the pictures with outlines, and what their splits' names begin with."""


def find_root(path: Path) -> Layout | None:
    """A folder with ``Annotations`` in it; None where it is none."""
    home = Listings().find(path, "Annotations") if path.is_dir() else None
    if home is None or not home.is_dir() or not _xml_files(home):
        return None
    splits = (*voc_splits(path), *outlined_splits(path))
    return Layout(splits, partial(_read_lists, path, home)) if splits else _tree(path)


def find_beside(path: Path) -> Layout | None:
    """A folder with such XML somewhere in it; None where there is none."""
    return _tree(path) if path.is_dir() and has_annotations(_xml_files(path)) else None


def _tree(path: Path) -> Layout:
    root, only = whole_of(path)
    groups = {only: _xml_files(path)} if only else grouped(_xml_files(path), path)
    splits = tuple(split for split in groups if split or len(groups) > 1)
    return Layout(splits, partial(_read_tree, path, groups, root))


def voc_splits(root: Path) -> tuple[str, ...]:
    """Names of the lists in ``ImageSets/Main``; the lists of single classes (``cat_train``) left out."""
    names = sorted(path.stem for path in (root / LISTS).glob("*.txt"))
    return tuple(name for name in names if not any(name.endswith(f"_{other}") for other in names if other != name))


def outlined_splits(root: Path) -> tuple[str, ...]:
    """Names of the lists in ``ImageSets/Segmentation``, with a word in front: parts of the others."""
    if Listings().find(root, FOLDER) is None:
        return ()
    return tuple(sorted(f"{OUTLINED}{path.stem}" for path in (root / OUTLINED_LISTS).glob("*.txt")))


def _read_lists(root: Path, home: Path, splits: tuple[str, ...], request: Request) -> Content:
    """The annotations that the lists of the splits name.

    Raises:
        DatasetError: a list that is missing or empty.
    """
    folder = Listings().find(root, "JPEGImages") or Listings().find(root, "images")
    index = PictureIndex(request.images or (root if folder is None or not folder.is_dir() else folder))
    every = _xml_files(home)
    listed = [one for split in splits for one in _list(root, home, every, split)]
    names = read_names_beside(root)
    outlines = Listings().find(root, FOLDER) if request.outlines else None
    return _content(
        listed, index, every, names=names, splits=voc_splits(root), root=root, log=request.log, outlines=outlines
    )


def _read_tree(
    folder: Path, groups: dict[str, list[Path]], root: Path, splits: tuple[str, ...], request: Request
) -> Content:
    """Every annotation in the splits' folders."""
    # Beside the pictures of the challenge lie those of its labels, by the same names.
    listings = Listings()
    pictures = listings.find(folder, "JPEGImages")
    index = PictureIndex(request.images or (folder if pictures is None or not pictures.is_dir() else pictures))
    outlines = listings.find(folder, FOLDER) if request.outlines else None
    # A folder of one split belongs to a dataset with others beside it.
    others = split_folders(root) if root != folder.absolute() else []
    every = [xml for place in [folder, *(o for o in others if o != folder.absolute())] for xml in _xml_files(place)]
    listed = [
        Listed(xml, split, xml.relative_to(folder).as_posix()) for split in splits or ("",) for xml in groups[split]
    ]
    names = read_names_beside(folder) or read_names_beside(root)
    named = [other.name for other in others] or list(groups)
    asked = index.pictures
    if request.images is None and len(groups) > 1:
        asked = tuple(path for path in asked if split_of_folder(path, folder) in splits)
    return _content(
        listed,
        index,
        every,
        names=names,
        splits=named,
        root=folder,
        log=request.log,
        asked=asked,
        outlines=outlines,
    )


def _content(
    listed: Sequence[Listed],
    index: PictureIndex,
    every: Sequence[Path],
    *,
    names: tuple[str, ...] | None,
    splits: Iterable[str],
    root: Path,
    log: ProblemLog,
    asked: Sequence[Path] = (),
    outlines: Path | None = None,
) -> Content:
    """``asked``: the pictures of which one should have an annotation. ``outlines``: the folder of PNGs of outlines
    that are asked for."""
    annotations = []
    claimed: dict[Path, Path] = {}
    for one in listed:
        annotation = parse(one, index, root, log)
        if annotation is None:
            continue
        if claimed.setdefault(annotation.picture, one.path) != one.path:
            log.add(
                f"{annotation.where} ({annotation.picture.name})",
                "another annotation of the same picture",
                "image dropped",
            )
            continue
        annotations.append(annotation)
    notes = left_out_note([path for path in asked if path not in claimed], "without an annotation left out")
    if names is None:
        here = {thing.name for annotation in annotations for thing in annotation.objects}
        read = {one.path for one in listed}
        elsewhere = {name for path in every if path not in read for name in class_names(path)}
        names = tuple(sorted(here | elsewhere))
        notes += elsewhere_note(names, here, splits)
    return Content(names, tuple(_records(annotations, names, log, outlines)), notes)


def _records(
    annotations: list[Annotation], names: tuple[str, ...], log: ProblemLog, outlines: Path | None
) -> Iterator[ImageRecord]:
    labels = {name: label for label, name in enumerate(names)}
    for annotation in annotations:
        size = picture_size(annotation.picture, annotation.where, log, annotation.stated)
        if size is None:
            continue
        rows, numbers = [], []
        for number, thing in enumerate(annotation.objects, 1):
            if thing.name in labels:
                numbers.append(number)
                rows.append(
                    Row(
                        thing.where,
                        labels[thing.name],
                        *thing.corners,
                        crowd=thing.crowd,
                        difficult=thing.difficult,
                    )
                )
            else:
                log.add(f"{thing.where} ({thing.name!r})", "unknown class")
        drawn = None if outlines is None else outlines / f"{Path(annotation.where).stem}.png"
        if drawn is not None and is_file(drawn):
            rows = with_outlines(rows, numbers, drawn, size, log)
        yield build_record(annotation.picture, size, rows, log, annotation.split)


def _list(root: Path, home: Path, every: Sequence[Path], split: str) -> Iterator[Listed]:
    outlined = split.startswith(OUTLINED)
    path = root / (OUTLINED_LISTS if outlined else LISTS) / f"{split.removeprefix(OUTLINED)}.txt"
    lines = [line.strip() for line in read_text(path).splitlines()]
    if not any(lines):
        raise DatasetError(f"{path} lists no picture; expected one name per line, without suffix")
    by_stem: dict[str, list[Path]] = {}
    for xml in every:
        by_stem.setdefault(xml.stem, []).append(xml)
    for number, line in enumerate(lines, 1):
        if line:
            # Lists of single classes carry a second column: 1, 0 or -1.
            names = (line, re.sub(r"\s+-?[01]$", "", line))
            found = _annotation_of(names[0], home, by_stem) or _annotation_of(names[1], home, by_stem)
            yield Listed(found or home / f"{names[1]}.xml", split, f"{path.name}:{number}")


def _annotation_of(name: str, home: Path, by_stem: dict[str, list[Path]]) -> Path | None:
    """The annotation a list means: ``cam1/a``, ``cam1\\a.png``, or ``a`` where only one folder has it."""
    parts = path_parts(name)
    if not parts:
        return None
    *folders, last = parts
    stems = [last, Path(last).stem] if Path(last).suffix.lower() in IMAGE_SUFFIXES else [last]
    for stem in stems:
        for start in range(len(folders) + 1):
            path = home.joinpath(*folders[start:], f"{stem}.xml")
            if is_file(path):
                return path
        if len(by_stem.get(stem, ())) == 1:
            return by_stem[stem][0]
    return None


def _xml_files(folder: Path) -> list[Path]:
    return find_files(folder, (".xml",))


def _write(dataset: Dataset, root: Path, placed: dict[int, str]) -> Sequence[str]:
    """Annotations and lists; a pixel of outlines is one object's."""
    behind = 0
    for index, place in placed.items():
        name, record = Path(place).name, dataset.images[index]
        tree = ET.Element("annotation")
        _text(tree, "folder", "JPEGImages")
        _text(tree, "filename", name)
        size = ET.SubElement(tree, "size")
        for key, value in (("width", record.width), ("height", record.height), ("depth", 3)):
            _text(size, key, str(value))
        _text(tree, "segmented", "0" if record.outlines is None else "1")
        if record.outlines is not None:
            behind += write_outlines(record, root / FOLDER / f"{Path(name).stem}.png")
        for box, label, difficult, crowd in zip(
            record.boxes.tolist(),
            record.labels.tolist(),
            record.difficult.tolist(),
            record.crowd.tolist(),
            strict=True,
        ):
            node = ET.SubElement(tree, "object")
            _text(node, "name", dataset.names[label])
            _text(node, "truncated", "0")
            _text(node, "difficult", str(int(difficult)))
            if crowd:  # not in the format; readers pass over elements they do not know
                _text(node, "crowd", "1")
            corners = ET.SubElement(node, "bndbox")
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                _text(corners, key, f"{round(value, 4):.10g}")
        ET.indent(tree)
        with atomic_path(root / "Annotations" / f"{Path(name).stem}.xml") as temporary:
            temporary.write_bytes(ET.tostring(tree, encoding="utf-8"))
    for split in dataset.splits:
        stems = [Path(name).stem for index, name in placed.items() if dataset.images[index].split == split]
        with atomic_path(root / LISTS / f"{split}.txt") as temporary:
            temporary.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    with atomic_path(root / "classes.txt") as temporary:
        temporary.write_text("".join(f"{name}\n" for name in dataset.names), encoding="utf-8")
    return (f"{behind:,} outlines where others are in front of them",) if behind else ()


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text


FORMAT = Format(
    title="Pascal VOC",
    signs=((Sign.FOLDERS, find_root), (Sign.PER_PICTURE, find_beside)),
    writer=Writer(
        _write, folder=lambda split: "JPEGImages", carries=frozenset({"crowd", "difficult", "empty", "outlines"})
    ),
)

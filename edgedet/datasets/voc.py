"""Pascal VOC: ``Annotations/*.xml``, ``JPEGImages``, ``ImageSets/Main/*.txt``.

Two conventions live under one format. The files of the PASCAL VOC challenge itself count pixels from 1 and include
both ends (xmin 1 is the first column, xmax W the last): box edges are xmin - 1 and xmax. Everybody else's tools
(labelImg, CVAT, Roboflow, torchvision's users) write the edges as they are. The challenge's files name their source
("The VOC2007 Database"); those are read by its rule, all others as written.

Written files give edges as they are, as whole numbers where they are whole and with decimals where not: rounding to
whole pixels, which the first readers of the format expect, would cost a small object much of its IoU.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.datasets.folder import find_pictures
from edgedet.datasets.rows import ProblemLog, Row, build_record, picture_size, to_number
from edgedet.datasets.text import read_names_beside, read_text
from edgedet.errors import DatasetError
from edgedet.files import atomic_path

LISTS = Path("ImageSets") / "Main"
_CHALLENGE = re.compile(r"\s*The VOC\d{4} Database\s*")


class _NoDoctype(ET.TreeBuilder):
    """Annotations need no document type, and only one can declare entities (billion laughs, file inclusion)."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ET.ParseError("document type declarations are not accepted")


@dataclass(frozen=True)
class _Object:
    where: str
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    crowd: bool


@dataclass(frozen=True)
class _Annotation:
    where: str
    picture: Path
    stated: tuple[int, int] | None
    objects: tuple[_Object, ...]
    split: str


def is_voc(root: Path) -> bool:
    """Whether a folder is the root of a Pascal VOC dataset."""
    return (root / "Annotations").is_dir() and any((root / "Annotations").glob("*.xml"))


def voc_splits(root: Path) -> tuple[str, ...]:
    """Names of the lists in ``ImageSets/Main``; the lists of single classes (``cat_train``) left out."""
    names = sorted(path.stem for path in (root / LISTS).glob("*.txt"))
    return tuple(name for name in names if not any(name.endswith(f"_{other}") for other in names if other != name))


def read_voc(
    root: Path,
    log: ProblemLog,
    *,
    images: Path | None = None,
    splits: Iterable[str] = (),
    names: tuple[str, ...] | None = None,
) -> tuple[tuple[str, ...], tuple[ImageRecord, ...]]:
    """Class names and records of the named splits, or of every annotation where none is named.

    ``names``: the classes there should be. Without them ``classes.txt`` in the root says, else every class that
    occurs counts, in alphabetical order.

    Raises:
        DatasetError: a list that is missing or empty.
    """
    pictures = _Pictures(images or root / "JPEGImages", root)
    annotations = []
    for stem, split, where in _stems(root, splits):
        annotation = _parse(root / "Annotations" / f"{stem}.xml", pictures, log, split, where)
        if annotation is not None:
            annotations.append(annotation)
    names = names or read_names_beside(root)
    if names is None:
        names = tuple(sorted({thing.name for annotation in annotations for thing in annotation.objects}))
    return names, tuple(_records(annotations, names, log))


def _records(annotations: list[_Annotation], names: tuple[str, ...], log: ProblemLog) -> Iterator[ImageRecord]:
    labels = {name: label for label, name in enumerate(names)}
    for annotation in annotations:
        size = picture_size(annotation.picture, annotation.where, log, annotation.stated)
        if size is None:
            continue
        rows = []
        for thing in annotation.objects:
            if thing.name in labels:
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
        yield build_record(annotation.picture, size, rows, log, annotation.split)


def _stems(root: Path, splits: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """(stem, split, where it is listed) of every wanted annotation."""
    splits = tuple(splits)
    if not splits:
        for path in sorted((root / "Annotations").glob("*.xml")):
            yield path.stem, "", f"Annotations/{path.name}"
    for split in splits:
        path = root / LISTS / f"{split}.txt"
        lines = [(number, line.split()) for number, line in enumerate(read_text(path).splitlines(), 1)]
        if not any(words for _, words in lines):
            raise DatasetError(f"{path} lists no picture; expected one name per line, without suffix")
        for number, words in lines:
            # Lists of single classes carry a second column: 1, 0 or -1.
            if words:
                yield words[0], split, f"{split}.txt:{number}"


class _Pictures:
    """Finds a picture by the name in the annotation, else by the annotation's own name."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder if folder.is_dir() else root
        self._stems: dict[str, Path] | None = None

    def find(self, stem: str, file_name: str) -> Path:
        # Only the last part: an annotation does not decide which folders are read.
        name = Path(file_name.replace("\\", "/")).name
        for candidate in (self._folder / name if name else None, self._folder / f"{stem}.jpg"):
            if candidate is not None and candidate.stem == stem and candidate.is_file():
                return candidate
        if self._stems is None:
            self._stems = {path.stem: path for path in find_pictures(self._folder)}
        return self._stems.get(stem) or self._folder / (name or f"{stem}.jpg")


def _parse(path: Path, pictures: _Pictures, log: ProblemLog, split: str, listed: str) -> _Annotation | None:
    where = f"Annotations/{path.name}"
    try:
        root = ET.fromstring(path.read_bytes(), ET.XMLParser(target=_NoDoctype()))
    except ET.ParseError as error:
        line = f":{error.position[0]}" if hasattr(error, "position") else ""
        log.add(f"{where}{line}", f"broken XML ({str(error).partition(':')[0]})", "image dropped")
        return None
    except (ValueError, LookupError) as error:  # an encoding nobody knows
        log.add(where, f"broken XML ({error})", "image dropped")
        return None
    except OSError:
        log.add(f"{listed} ({path.name})", "missing annotation", "image dropped")
        return None
    sides = [to_number(root.findtext(f"size/{key}")) for key in ("width", "height")]
    stated = (int(sides[0]), int(sides[1])) if all(math.isfinite(side) for side in sides) else None
    shift = 1.0 if _CHALLENGE.fullmatch(root.findtext("source/database") or "") else 0.0
    objects = []
    for number, node in enumerate(root.iter("object"), 1):
        corners = [to_number(node.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        objects.append(
            _Object(
                f"{where}:object {number}",
                (node.findtext("name") or "").strip(),
                (corners[0] - shift, corners[1] - shift, corners[2], corners[3]),
                (node.findtext("difficult") or "0").strip() == "1",
                (node.findtext("crowd") or "0").strip() == "1",
            )
        )
    picture = pictures.find(path.stem, (root.findtext("filename") or "").strip())
    return _Annotation(where, picture, stated, tuple(objects), split)


def write_voc(dataset: Dataset, root: Path, placed: dict[int, str]) -> None:
    """Annotations and lists. ``placed``: index of an image to its file name in ``JPEGImages``."""
    for index, name in placed.items():
        record = dataset.images[index]
        tree = ET.Element("annotation")
        _text(tree, "folder", "JPEGImages")
        _text(tree, "filename", name)
        size = ET.SubElement(tree, "size")
        for key, value in (("width", record.width), ("height", record.height), ("depth", 3)):
            _text(size, key, str(value))
        _text(tree, "segmented", "0")
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


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text

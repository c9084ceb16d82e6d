"""One Pascal VOC annotation: the XML of one picture."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedet.datasets.relocated_paths import PictureIndex, path_parts
from edgedet.datasets.rows import ProblemLog, to_number

_CHALLENGE = re.compile(r"\s*The VOC\d{4} Database\s*")
_ANNOTATION = re.compile(rb"<annotation[\s>]")
_LOOKED_AT = 20
"""Number of XML files that are looked into to recognise a folder of this format."""


class _NoDoctype(ET.TreeBuilder):
    """Annotations need no document type, and only one can declare entities (billion laughs, file inclusion)."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ET.ParseError("document type declarations are not accepted")


@dataclass(frozen=True)
class Thing:
    """An object: where it stands, its class, and xmin, ymin, xmax, ymax as box edges in pixels."""

    where: str
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    crowd: bool


@dataclass(frozen=True)
class Annotation:
    """What is in a picture. ``stated``: its (width, height) as the annotation says."""

    where: str
    picture: Path
    stated: tuple[int, int] | None
    objects: tuple[Thing, ...]
    split: str


@dataclass(frozen=True)
class Listed:
    """An annotation file, its split, and where that is said."""

    path: Path
    split: str
    where: str


def has_annotations(paths: Sequence[Path]) -> bool:
    """Whether XML files are of this format, by the first ones."""
    for path in paths[:_LOOKED_AT]:
        try:
            with path.open("rb") as file:
                # Whatever its encoding: UTF-16 puts a zero beside every letter.
                if _ANNOTATION.search(file.read(4096).replace(b"\0", b"")):
                    return True
        except OSError:
            continue
    return False


def _load(path: Path) -> ET.Element:
    return ET.fromstring(path.read_bytes(), ET.XMLParser(target=_NoDoctype()))


def class_names(path: Path) -> set[str]:
    """The classes in an annotation nobody asked to read; none where it is broken."""
    try:
        return {(node.findtext("name") or "").strip() for node in _load(path).iter("object")}
    except (ET.ParseError, ValueError, LookupError, OSError):
        return set()


def parse(listed: Listed, index: PictureIndex, home: Path, log: ProblemLog) -> Annotation | None:
    """The annotation and its picture, or None (and a problem) where it cannot be used."""
    path = listed.path
    where = path.relative_to(home).as_posix()
    try:
        root = _load(path)
    except ET.ParseError as error:
        line = f":{error.position[0]}" if hasattr(error, "position") else ""
        log.add(f"{where}{line}", f"broken XML ({str(error).partition(':')[0]})", "image dropped")
        return None
    except (ValueError, LookupError) as error:  # an encoding nobody knows
        log.add(where, f"broken XML ({error})", "image dropped")
        return None
    except OSError:
        log.add(f"{listed.where} ({path.name})", "missing annotation", "image dropped")
        return None
    sides = [to_number(root.findtext(f"size/{key}")) for key in ("width", "height")]
    stated = (int(sides[0]), int(sides[1])) if all(math.isfinite(side) for side in sides) else None
    shift = 1.0 if _CHALLENGE.fullmatch(root.findtext("source/database") or "") else 0.0
    objects = []
    for number, node in enumerate(root.iter("object"), 1):
        corners = [to_number(node.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        objects.append(
            Thing(
                f"{where}:object {number}",
                (node.findtext("name") or "").strip(),
                (corners[0] - shift, corners[1] - shift, corners[2], corners[3]),
                (node.findtext("difficult") or "0").strip() == "1",
                (node.findtext("crowd") or "0").strip() == "1",
            )
        )
    # By its own name first: the name inside is often one the picture had once.
    stated_name = (root.findtext("filename") or "").strip()
    pictures = index.beside(path) or index.named(stated_name)
    if len(pictures) > 1:
        log.add(f"{where} ({pictures[0].name})", "several pictures of that name", "image dropped")
        return None
    parts = path_parts(stated_name)
    picture = pictures[0] if pictures else path.with_name(parts[-1] if parts else f"{path.stem}.jpg")
    return Annotation(where, picture, stated, tuple(objects), listed.split)

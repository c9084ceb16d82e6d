"""Boxes made elsewhere and the pictures they are of: each picture found, each box on it, each class by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedet.datasets.box_form import CORNERS, BoxForm, better_form
from edgedet.datasets.coco import usual_folders
from edgedet.detections import Detections
from edgedet.errors import ReferenceBoxesError
from edgedet.files import file_sha256, is_file
from edgedet.pictures.image_size import read_image_size
from edgedet.reference.boxes_file import BoxesFile, Listed
from edgedet.reference.file_reader import read_boxes_file
from edgedet.reference.picture_set import PictureSet, open_picture_set

OVERRUN = 0.05
"""Share of a side, and 2 pixels, by which boxes may leave their picture: not every framework clips them."""


@dataclass(frozen=True, eq=False)
class ReferencePicture:
    """One picture and what the other program found on it.

    ``size``: (width, height) as OpenCV decodes it. ``boxes``: float64 [N, 4] x1, y1, x2, y2 in its pixels.
    ``scores``: float64 [N]. ``classes``: int [N], indices into :attr:`Reference.classes`.
    """

    name: str
    path: Path
    size: tuple[int, int]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Reference:
    """Boxes made elsewhere.

    ``classes``: names of the classes they are of, and of those that were listed without one. ``threshold``: the
    lowest score the other program would have shown, where it says. ``notes``: what is not compared.
    """

    path: Path
    classes: tuple[str, ...]
    pictures: tuple[ReferencePicture, ...]
    threshold: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def box_count(self) -> int:
        """Number of boxes."""
        return sum(len(picture.scores) for picture in self.pictures)

    @property
    def least_score(self) -> float:
        """From which score on it shows boxes: what it says, else the lowest there is."""
        if self.threshold is not None:
            return self.threshold
        return min(float(picture.scores.min()) for picture in self.pictures if len(picture.scores))

    @property
    def usual_size(self) -> tuple[int, int]:
        """The commonest (width, height) of the pictures."""
        sizes = [picture.size for picture in self.pictures]
        return max(dict.fromkeys(sizes), key=sizes.count)

    def first(self, count: int) -> Reference:
        """Only the first pictures.

        Raises:
            ReferenceBoxesError: none of them has a box.
        """
        chosen = self.pictures[:count]
        if not any(len(picture.scores) for picture in chosen):
            raise ReferenceBoxesError(
                f"{self.path}: its first {len(chosen)} pictures hold not one box, so nothing would be compared"
            )
        # From which score on boxes were shown, all of them say.
        return replace(self, pictures=chosen, threshold=self.least_score)

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return file_sha256(self.path)

    def detections(self, names: Sequence[str]) -> list[Detections]:
        """The boxes of every picture, with labels that index ``names``, a detector's class names.

        Equal names belong together; what is left may differ by letter case, spaces and underscores.

        Raises:
            ReferenceBoxesError: a box of a class that is none of ``names``, or could be several.
        """
        labels = self._labels(names)
        return [
            Detections(
                picture.boxes.astype(np.float32),
                picture.scores.astype(np.float32),
                labels[picture.classes].astype(np.int32),
                tuple(names),
                (picture.size[1], picture.size[0]),
            )
            for picture in self.pictures
        ]

    def _labels(self, names: Sequence[str]) -> NDArray[np.intp]:
        labels = np.full(len(self.classes), -1, np.intp)
        used = {int(index) for picture in self.pictures for index in picture.classes}
        for index, name in enumerate(self.classes):
            if name in names:
                labels[index] = names.index(name)
        free = [name for name in names if name not in self.classes]
        for index in sorted(used):
            if labels[index] >= 0:
                continue
            wanted = _spelling(self.classes[index])
            alike = [name for name in free if _spelling(name) == wanted]
            rivals = [i for i in used if labels[i] < 0 and _spelling(self.classes[i]) == wanted]
            if len(alike) != 1 or len(rivals) != 1:
                count = sum(int((picture.classes == index).sum()) for picture in self.pictures)
                numbered = all(name.strip().isdigit() for name in self.classes)
                hint = (
                    "numbers do not say which class is meant: write the names that training used into the "
                    "reference's categories"
                    if numbered
                    else "name the detector's as training did: edgedet export --classes, or mend the reference's "
                    "categories"
                )
                raise ReferenceBoxesError(
                    f"{self.path} has {count} boxes of {self.classes[index]!r}, which is none of the detector's "
                    f"classes ({_some(names)}); {hint}"
                )
            labels[index] = names.index(alike[0])
        return labels


def read_reference(path: str | Path, names: Sequence[str], images: str | Path | None = None) -> list[Detections]:
    """The boxes of :func:`open_reference` with labels that index ``names``; see :meth:`Reference.detections`."""
    return open_reference(path, images).detections(names)


def open_reference(path: str | Path, images: str | Path | None = None) -> Reference:
    """Read a file of boxes and find its pictures.

    ``images``: folder of the pictures, or the dataset (``PATH[:SPLIT]``) that a bare COCO results list is of; None
    looks where a COCO file's pictures usually lie.

    Raises:
        ReferenceBoxesError: not boxes with scores, pictures that are not there or of another size, no class names,
            or boxes that cannot be x, y, width, height in pixels.
        DatasetError: ``images`` is a dataset that cannot be read.
    """
    file = read_boxes_file(Path(path))
    described = None if images is None else open_picture_set(images, bare=_is_bare(file))
    notes = []
    if file.pictures is None or file.categories is None:
        if described is None:
            what = "which pictures" if file.pictures is None else "which classes"
            raise ReferenceBoxesError(
                f"{path} does not say {what} its numbers mean; give the COCO file they came from (--frames "
                'instances.json with edgedet parity, --reference-images with edgedet export), or write "images" '
                'and "categories" into it'
            )
        file, more = described.complete(file)
        notes += more
    assert file.pictures is not None and file.categories is not None
    if file.unreadable:
        notes.append(f"{file.unreadable} pictures the other program could not read are not compared")
    places = _locate(file, described)
    sizes = [_size(path, picture, file) for picture, path in zip(file.pictures, places, strict=True)]
    by_key = {picture.key: index for index, picture in enumerate(file.pictures)}
    of = np.array([by_key[key] for key in file.of], np.intp)
    _require_pixels(file, np.array(sizes, np.float64)[of])
    numbers = {key: index for index, key in enumerate(file.categories)}
    classes = np.array([numbers[key] for key in file.classes], np.intp)
    pictures = []
    for index, (picture, place, size) in enumerate(zip(file.pictures, places, sizes, strict=True)):
        mine = of == index
        pictures.append(
            ReferencePicture(picture.file_name, place, size, file.boxes[mine], file.scores[mine], classes[mine])
        )
    return Reference(file.path, tuple(file.categories.values()), tuple(pictures), file.threshold, tuple(notes))


def _is_bare(file: BoxesFile) -> bool:
    return file.pictures is None or file.categories is None


def _locate(file: BoxesFile, described: PictureSet | None) -> list[Path]:
    assert file.pictures is not None
    folders = described.folders if described is not None else usual_folders(file.path)
    places: list[Path | None] = []
    for picture in file.pictures:
        name = picture.file_name
        tried = [folder / part for folder in folders for part in dict.fromkeys((name, Path(name).name))]
        if described is None:
            tried.append(Path(name))  # as it was called: edgedet detect says what it was given
        there = next((place for place in tried if is_file(place)), None)
        places.append(there if there is not None or described is None else described.named(picture))
    lost = [picture for picture, place in zip(file.pictures, places, strict=True) if place is None]
    if lost:
        where = ", ".join(str(folder) for folder in list(dict.fromkeys(folders))[:4])
        raise ReferenceBoxesError(
            f"{file.path}: {len(lost)} of its {len(places)} pictures are not there, first {lost[0].file_name!r} "
            f"(looked in {where}); say where they lie: --frames DIR with edgedet parity, --reference-images DIR "
            "with edgedet export"
        )
    found = [place for place in places if place is not None]
    if len(set(found)) < len(found):
        twice = next(place for place in found if found.count(place) > 1)
        raise ReferenceBoxesError(
            f"{file.path}: two of its pictures are the one file {twice}; keep their folders apart, or list it once"
        )
    return found


def _size(path: Path, picture: Listed, file: BoxesFile) -> tuple[int, int]:
    size = read_image_size(path)
    if size is None:
        raise ReferenceBoxesError(
            f"{path}, a picture of {file.path}, is no picture that can be read; copy it again"
        )
    if picture.size is None and size.turned:
        raise ReferenceBoxesError(
            f"{path} is turned by its EXIF orientation, and {file.path} does not say the width and height its "
            'boxes are of; state "width" and "height" of the array the network saw'
        )
    if picture.size is not None and picture.size != (size.width, size.height):
        turned = size.turned and picture.size == (size.height, size.width)
        why = (
            "its EXIF orientation was not applied there, and is here: PIL.ImageOps.exif_transpose does"
            if turned
            else "its boxes are of another version of it: make them on these very files"
        )
        raise ReferenceBoxesError(
            f"{path} is {size.width}x{size.height}, but {file.path} says {picture.size[0]}x{picture.size[1]}; {why}"
        )
    return size.width, size.height


def _require_pixels(file: BoxesFile, sizes: NDArray[np.float64]) -> None:
    """``sizes``: (width, height) of each box's picture.

    Raises:
        ReferenceBoxesError: boxes that are shares, in another order, or of pictures of another size.
    """
    form = BoxForm(file.written, "pixels")
    written = form.written(file.boxes, sizes)
    example = "[" + ", ".join(f"{value:g}" for value in written[0]) + "]"
    other = better_form(written, sizes, form)
    if other is not None and other.unit == "shares":
        raise ReferenceBoxesError(
            f"{file.path}: its boxes, such as {example}, are shares of the picture; expected pixels: multiply by "
            "its width and height"
        )
    if other is not None:
        named = f"corners {CORNERS}" if other.order == CORNERS else other.order
        raise ReferenceBoxesError(
            f"{file.path}: its boxes, such as {example}, are {named}; expected {file.written}"
        )
    room = sizes * (1 + OVERRUN) + 2
    if np.mean((file.boxes[:, 2:] > room).any(axis=1)) > 0.5:
        raise ReferenceBoxesError(
            f"{file.path}: most of its boxes, such as {example}, reach beyond their pictures; expected "
            f"{file.written} in pixels of the picture itself, not of the network's input"
        )


def _spelling(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

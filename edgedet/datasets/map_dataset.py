"""Pictures with a class for every pixel: Pascal VOC's segmentation, or a folder of pictures and PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts.class_lists import class_list
from edgedet.artifacts.file_signs import IMAGE_SUFFIXES
from edgedet.datasets.text import read_numbered_names, read_text
from edgedet.errors import DatasetError

VOC_PICTURES, VOC_LABELS, VOC_SPLITS = "JPEGImages", "SegmentationClass", Path("ImageSets") / "Segmentation"
USUAL_SPLIT = "val"
PICTURES = ("images", "imgs", "JPEGImages")
LABELS = ("labels", "masks", "annotations", "SegmentationClass", "gt")
NAME_FILES = ("classes.txt", "labels.txt", "names.txt")


@dataclass(frozen=True)
class MapRecord:
    """One picture and the labels of its pixels.

    Attributes:
        picture: file of the picture.
        labels: PNG of class numbers, of the picture's size.

    >>> record = read_map_dataset("maps").records[0]
    >>> record.picture.name, record.labels.name
    ('00.png', '00.png')
    """

    picture: Path
    labels: Path


@dataclass(frozen=True)
class MapDataset:
    """Pictures with labels of every pixel. ``len()`` counts them.

    Attributes:
        records: in the order of their names, or of the split's file.
        names: of the class numbers; empty where nothing says them.
        source: what was read, as it was named.
        notes: what was left out.

    >>> dataset = read_map_dataset("maps")
    >>> len(dataset), dataset.names
    (3, ('background', 'blue', 'green', 'red'))
    """

    records: tuple[MapRecord, ...]
    names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)


def is_map_dataset(source: str) -> bool:
    """Whether there are labels of pixels at ``source``, ``PATH[:SPLIT]``."""
    root, split = _parts(source)
    return root.is_dir() and ((root / VOC_LABELS).is_dir() or _folders(root, split) is not None)


def read_map_dataset(source: str) -> MapDataset:
    """Read ``PATH[:SPLIT]``: a VOC root (``JPEGImages``, ``SegmentationClass``, ``ImageSets/Segmentation``); or a
    folder with the pictures in ``images`` and PNGs of the same names in ``labels``, ``masks`` or ``annotations``
    (with a folder of the split's name in each), or PNGs beside pictures of another kind.

    Names are VOC's, or the lines of ``classes.txt``.

    Args:
        source: where it is.

    Returns:
        Files and names; pictures stay on disk.

    Raises:
        DatasetError: nothing of the kind is there, or no picture has labels.

    >>> read_map_dataset("maps").source
    'maps'
    """
    root, split = _parts(source)
    if not root.is_dir():
        raise DatasetError(f"no such folder: {root}")
    if (root / VOC_PICTURES).is_dir() and (root / VOC_LABELS).is_dir():
        return _voc(root, split, source)
    folders = _folders(root, split)
    if folders is None:
        where = f" with {split} in each" if split else ""
        raise DatasetError(
            f"{source} holds no labels of pixels; expected Pascal VOC's {VOC_PICTURES} and {VOC_LABELS}, or images "
            f"and labels (masks, annotations){where}, or PNGs beside the pictures"
        )
    return _dataset(folders, _stems(folders), _names(root), source)


def _voc(root: Path, split: str, source: str) -> MapDataset:
    folders = (root / VOC_PICTURES, root / VOC_LABELS)
    names = ("background", *class_list("voc"))
    lists = root / VOC_SPLITS
    if not split and (lists / f"{USUAL_SPLIT}.txt").is_file():
        split = USUAL_SPLIT
    if not split:
        return _dataset(folders, _stems(folders), names, source)
    if not (lists / f"{split}.txt").is_file():
        known = ", ".join(sorted(path.stem for path in lists.glob("*.txt"))) or "none"
        raise DatasetError(f"{root} has no split {split!r} in {VOC_SPLITS}; it has {known}")
    text = read_text(lists / f"{split}.txt")
    return _dataset(folders, text.split(), _names(root) or names, source)


def _parts(source: str) -> tuple[Path, str]:
    if Path(source).exists():
        return Path(source), ""
    path, _, split = source.rpartition(":")
    return (Path(path), split) if path else (Path(source), "")


def _folders(root: Path, split: str) -> tuple[Path, Path] | None:
    """Folders of the pictures and of their labels, which may be one; None where there are none."""
    pictures = next((root / name / split for name in PICTURES if (root / name / split).is_dir()), None)
    labels = next((root / name / split for name in LABELS if (root / name / split).is_dir()), None)
    if pictures is not None and labels is not None:
        return pictures, labels
    beside = root / split
    if beside.is_dir():
        stems = {path.stem for path in beside.iterdir() if _is_picture(path) and path.suffix.lower() != ".png"}
        if any(path.stem in stems for path in beside.glob("*.png")):
            return beside, beside
    return None


def _stems(folders: tuple[Path, Path]) -> list[str]:
    return sorted(path.stem for path in folders[1].glob("*.png"))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _names(root: Path) -> tuple[str, ...]:
    for name in NAME_FILES:
        if (root / name).is_file():
            # A line too many or a name twice would give pixels to another class.
            return read_numbered_names(root / name)
    return ()


def _dataset(folders: tuple[Path, Path], stems: Sequence[str], names: tuple[str, ...], source: str) -> MapDataset:
    pictures, labels = folders
    found: dict[str, Path] = {}
    for path in sorted(pictures.iterdir()):
        # Beside their pictures, PNGs are the labels.
        if _is_picture(path) and (pictures != labels or path.suffix.lower() != ".png"):
            found.setdefault(path.stem, path)
    records = []
    lacking = []
    for stem in stems:
        png = labels / f"{stem}.png"
        if stem in found and png.is_file():
            records.append(MapRecord(found[stem], png))
        else:
            lacking.append(stem)
    if not records:
        raise DatasetError(f"{source}: no picture in {pictures} has labels in {labels} (a PNG of its name)")
    notes = (f"{len(lacking)} left out, without a picture or labels: {', '.join(lacking[:3])}",) if lacking else ()
    return MapDataset(tuple(records), names, source, notes)

"""From one format into another, and train/validation splits by seed.

Boxes keep their place to a thousandth of a pixel in every format. What a format has no word for is lost, and said:
YOLO and annotation.txt know neither crowds nor difficult objects, only COCO knows an object's own area, only COCO
and YOLO know keypoints, and Open Images knows no pictures without objects.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgedet.dataset_formats import load_format, writable
from edgedet.datasets.dataset import Dataset
from edgedet.datasets.format import Writer
from edgedet.errors import DatasetError, OutputError
from edgedet.files import require_new_folder

Pictures = Literal["copy", "link"]
DEFAULT_SPLIT = "train"


@dataclass(frozen=True)
class Conversion:
    """What was written: splits with their numbers of images, boxes, and what the format could not carry."""

    folder: Path
    format: str
    images: dict[str, int]
    boxes: int
    classes: int
    lost: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        splits = ", ".join(f"{split} {count:,}" for split, count in self.images.items())
        line = f"{self.folder} ({self.format}): images {splits}; {self.boxes:,} boxes, {self.classes} classes"
        return "; ".join([line, *(f"not in this format: {what}" for what in self.lost)])


def split_dataset(dataset: Dataset, fraction: float, *, seed: int = 0) -> Dataset:
    """The same pictures as ``train`` (this fraction, rounded) and ``val``, drawn without replacement.

    The draw depends on the seed and on the pictures' names, not on the order they were read in.

    Raises:
        DatasetError: a part would be empty.
    """
    count = round(len(dataset) * fraction)
    if not 0 < count < len(dataset):
        raise DatasetError(
            f"a split of {fraction:g} leaves nothing for one side of {len(dataset)} images; choose between 0 and 1"
        )
    by_name = sorted(range(len(dataset)), key=lambda index: dataset.images[index].path.as_posix())
    chosen = set(np.random.default_rng(seed).permutation(len(dataset))[:count].tolist())
    train = {index for rank, index in enumerate(by_name) if rank in chosen}
    images = tuple(
        replace(record, split="train" if index in train else "val") for index, record in enumerate(dataset.images)
    )
    return replace(dataset, images=images)


def convert(dataset: Dataset, folder: Path, *, to: str, pictures: Pictures = "copy") -> Conversion:
    """Write a dataset in another format, pictures included, into a new folder; whole or not at all.

    ``to``: the name of a format that can be written. ``pictures``: copies, or symbolic links to where they are.
    Pictures of one name are told apart by the folder they come from.

    Raises:
        DatasetError: nothing to convert: a plain folder of pictures; or no such format to write.
        OutputError: the folder exists and holds something, or cannot be written.
    """
    writer = load_format(to).writer if to in writable() else None
    if writer is None:
        raise DatasetError(f"{to!r} is no format that is written; expected one of {', '.join(writable())}")
    if not dataset.labelled:
        why = "; ".join([f"{dataset.source} is a plain folder of pictures", *dataset.notes])
        raise DatasetError(f"{why}: there are no boxes to convert")
    require_new_folder(folder)
    dataset = replace(
        dataset,
        images=tuple(replace(r, split=writer.split(r.split or DEFAULT_SPLIT)) for r in dataset.images),
    )
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        unwritten = _write(dataset, work, writer, pictures)
        work.chmod(0o777 & ~_umask())
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    splits = {split: sum(r.split == split for r in dataset.images) for split in dataset.splits}
    lost = (*_lost(dataset, writer), *unwritten)
    return Conversion(folder, to, splits, dataset.box_count, len(dataset.names), lost)


def _write(dataset: Dataset, root: Path, writer: Writer, pictures: Pictures) -> Sequence[str]:
    """Pictures and labels; what of the latter could not be written."""
    names = _unique_names(dataset)
    placed = {i: f"{writer.folder(record.split)}/{names[i]}" for i, record in enumerate(dataset.images)}
    for index, name in placed.items():
        _place(dataset.images[index].path, root / name, pictures)
    return writer.write(dataset, root, placed) or ()


def _unique_names(dataset: Dataset) -> dict[int, str]:
    """A file name for every picture, no two with one stem: labels are files of that stem."""
    taken: set[str] = set()
    names = {}
    for index, record in enumerate(dataset.images):
        path = record.path
        candidates = [path.stem, f"{path.parent.name}_{path.stem}", f"{record.split}_{path.stem}"]
        candidates += (
            [f"{path.stem}_{number}" for number in range(2, len(dataset) + 2)] if path.stem in taken else []
        )
        stem = next(candidate for candidate in candidates if candidate.casefold() not in taken)
        taken.add(stem.casefold())
        names[index] = stem + path.suffix
    return names


def _place(source: Path, target: Path, pictures: Pictures) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if pictures == "link":
        target.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)


def _lost(dataset: Dataset, writer: Writer) -> tuple[str, ...]:
    records = dataset.images
    own_area = 0
    for record in records:
        sides = record.boxes[:, 2:] - record.boxes[:, :2]
        other = abs(record.area - sides[:, 0] * sides[:, 1]) > 1
        if record.outlines is not None and "outlines" in writer.carries:
            # An outline has its area.
            other &= np.array([outline is None for outline in record.outlines])
        own_area += int(other.sum())
    counts = {
        "crowd": (sum(int(r.crowd.sum()) for r in records), "crowd marks"),
        "difficult": (sum(int(r.difficult.sum()) for r in records), "difficult marks"),
        "area": (own_area, "areas that differ from the box's"),
        "clip": (sum(r.clip is not None for r in records), "places in a video"),
        "empty": (sum(not len(r) for r in records), "pictures without objects"),
        "outlines": (sum(len(r) - r.outlines.count(None) for r in records if r.outlines is not None), "outlines"),
        "keypoints": (
            sum(int((r.keypoints[..., 2] > 0).any(axis=1).sum()) for r in records if r.keypoints is not None),
            "objects' keypoints",
        ),
    }
    return tuple(
        f"{count:,} {what}" for key, (count, what) in counts.items() if count and key not in writer.carries
    )


def _umask() -> int:
    # The only way to ask is to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

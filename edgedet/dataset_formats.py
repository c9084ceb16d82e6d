"""The dataset formats: one row each, and where the module is that brings the rest.

A new format is a module with a ``FORMAT`` (:class:`edgedet.datasets.format.Format`) and a row here. The rows are
plain text, so that help can list them without loading a reader.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edgedet.datasets.format import Format


class Listed(NamedTuple):
    """A format's row.

    ``name``: in :attr:`Dataset.format` and after ``edgedet convert --to``. ``looks``: what a user sees of it, for
    sentences that say what is read. ``writes``: whether it can be written.
    """

    name: str
    module: str
    looks: str
    writes: bool = False

    def load(self) -> Format:
        """The module's record."""
        found: Format = import_module(self.module).FORMAT
        return found


FORMATS = (
    Listed("coco", "edgedet.datasets.coco", "COCO JSON", writes=True),
    Listed("yolo", "edgedet.datasets.yolo", "a YOLO data.yaml or label files with classes.txt", writes=True),
    Listed("voc", "edgedet.datasets.voc", "Pascal VOC XML", writes=True),
    Listed("labelme", "edgedet.datasets.labelme", "labelme JSON"),
    Listed("openimages", "edgedet.datasets.open_images", "an Open Images box CSV", writes=True),
    Listed("annotation", "edgedet.datasets.annotation_txt", "annotation.txt", writes=True),
    Listed("csv", "edgedet.datasets.box_csv", "a TensorFlow box CSV"),
)
"""All formats; of several with the same sign, the first is taken."""


def looks() -> str:
    """What a dataset may be, as a list in words."""
    return ", ".join(listed.looks for listed in FORMATS)


def expected() -> str:
    """What ``read_dataset`` takes, a plain folder included."""
    return f"{looks()}, or a folder of pictures"


def writable() -> tuple[str, ...]:
    """The names of the formats that can be written."""
    return tuple(listed.name for listed in FORMATS if listed.writes)


def load_format(name: str) -> Format:
    """The record of a format by its name.

    Raises:
        KeyError: there is none of that name.
    """
    return {listed.name: listed for listed in FORMATS}[name].load()

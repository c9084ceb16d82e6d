"""What a segmenter says of one frame: a class for every pixel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.errors import UsageError
from edgedet.masks.base import Region
from edgedet.masks.run_lengths import coco_rle


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The class of every pixel of a frame. ``len()`` counts the classes that are in it.

    Attributes:
        labels: uint8 [H, W], indices into ``names``, in pixels of the frame; uint16 of more than 256 classes.
        names: class names, by label; with the background, where the network has a class for it.
        scores: float32 [H, W], the share in [0, 1] that softmax gives the label of each pixel; None where the
            segmenter was not asked for them.

    Raises:
        ValueError: labels that are no map of these names, or scores of another size.

    >>> found = ClassMap(np.uint8([[0, 0, 1], [0, 1, 1]]), ("background", "road"))
    >>> len(found), found.areas(), found.mask("road").astype(int).tolist()
    (2, {'background': 3, 'road': 3}, [[0, 0, 1], [0, 1, 1]])
    """

    labels: NDArray[np.uint8] | NDArray[np.uint16]
    names: tuple[str, ...]
    scores: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"labels are {labels.dtype} {list(labels.shape)}, expected uint8 or uint16 [H, W]")
        if labels.size and int(labels.max()) >= len(self.names):
            raise ValueError(f"a label is {labels.max()}, but there are {len(self.names)} names")
        if self.scores is not None and self.scores.shape != labels.shape:
            raise ValueError(f"scores are {list(self.scores.shape)}, expected {list(labels.shape)}")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "names", tuple(self.names))

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.labels.shape
        return height, width

    def __len__(self) -> int:
        return len(self.areas())

    def counts(self) -> NDArray[np.int64]:
        """Pixels of every class.

        Returns:
            int64 [C], by label.
        """
        return np.bincount(self.labels.reshape(-1), minlength=len(self.names))

    @property
    def present(self) -> NDArray[np.intp]:
        """Labels of the classes that are in the frame, in order."""
        return np.flatnonzero(self.counts())

    def areas(self) -> dict[str, int]:
        """Pixels of the classes that are in the frame.

        Returns:
            By name, in the order of labels.
        """
        return {self.names[label]: count for label, count in enumerate(self.counts().tolist()) if count}

    def mask(self, name: str | int) -> NDArray[np.bool_]:
        """Pixels of a class.

        Args:
            name: of the class, or its label.

        Returns:
            bool [H, W].

        Raises:
            UsageError: no such class.
        """
        return np.asarray(self.labels == self.label(name))

    def parts(self, labels: Sequence[int]) -> list[Region]:
        """The connected parts of what belongs to any of some classes.

        Args:
            labels: of the classes.

        Returns:
            Of each part where it lies in the frame, and its pixels.
        """
        mask = np.isin(self.labels, list(labels)).astype(np.uint8)
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        found = []
        for number in range(1, count):
            left, top, width, height = (int(value) for value in stats[number, :4])
            inside = numbers[top : top + height, left : left + width] == number
            found.append(Region(left, top, inside))
        return found

    def label(self, name: str | int) -> int:
        """The label of a class.

        Args:
            name: of the class, or its label.

        Returns:
            Index into ``names``.

        Raises:
            UsageError: no such class.
        """
        if isinstance(name, str):
            if name not in self.names:
                raise UsageError(f"there is no class {name!r}; expected one of {', '.join(self.names)}")
            return self.names.index(name)
        if not 0 <= name < len(self.names):
            raise UsageError(f"there is no class number {name}; expected 0 to {len(self.names) - 1}")
        return int(name)

    def plot(self, frame: NDArray[np.uint8], *, hidden: Sequence[str | int] | None = None) -> NDArray[np.uint8]:
        """Colour a copy of the frame by class.

        Args:
            frame: uint8 [H, W, 3] BGR, or grey [H, W], of this map's size.
            hidden: classes that are left as they are; None leaves the background.

        Returns:
            uint8 [H, W, 3] BGR.

        Raises:
            UsageError: a frame of another size, or no such class.
        """
        from edgedet.artifacts.class_lists import BACKGROUND
        from edgedet.pictures.drawing import colour_by_class

        if frame.shape[:2] != self.labels.shape:
            raise UsageError(
                f"the frame is {frame.shape[1]}x{frame.shape[0]}, the map {self.labels.shape[1]}x"
                f"{self.labels.shape[0]}; expected the frame that was segmented"
            )
        if hidden is None:
            hidden = [name for name in self.names if name.lower() in BACKGROUND]
        return colour_by_class(frame, self.labels, {self.label(name) for name in hidden})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON.

        Returns:
            ``frame_size`` [height, width], and ``segments``, a list of dicts with ``label``, ``name``, ``area``
            (pixels), ``share`` (of the frame, five decimals) and ``segmentation`` (COCO's compressed run lengths)
            of every class in the frame.
        """
        counts = self.counts()
        return {
            "frame_size": list(self.frame_size),
            "segments": [
                {
                    "label": label,
                    "name": self.names[label],
                    "area": int(counts[label]),
                    "share": round(int(counts[label]) / self.labels.size, 5),
                    "segmentation": coco_rle(self.labels == label, 0, 0, self.frame_size),
                }
                for label in np.flatnonzero(counts).tolist()
            ],
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON.

        Returns:
            One line of text.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def __repr__(self) -> str:
        size = max(self.labels.size, 1)
        shares = ", ".join(f"{count / size:.1%} {name}" for name, count in self.areas().items())
        return f"ClassMap({shares or 'nothing'}; frame {self.labels.shape[1]}x{self.labels.shape[0]})"

"""Proposals in a file: lines of JSON by frame, as ``edgedet detect`` writes them or plainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import ProposalsError
from edgedet.pictures.frames import Frame

EXPECTED = 'expected lines such as {"source": "a.jpg", "boxes": [[x1, y1, x2, y2]]}, or those of edgedet detect'


class ProposalsFile:
    """Boxes of frames, by the name of their source and their number in it.

    Args:
        path: a file with one JSON object on each line: ``source``, ``index`` (of the frame among all, as
            ``edgedet detect`` counts; where it is left out, the source alone says which is meant), and ``boxes`` or
            ``detections`` with a ``box`` each, x1, y1, x2, y2 in pixels of the frame.

    Raises:
        ProposalsError: the file cannot be read, or is no such file; two lines are of one frame.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ProposalsError(f"cannot read proposals from {path}: {error}; {EXPECTED}") from error
        self._boxes: dict[tuple[str, int | None], NDArray[np.float64]] = {}
        self._without_number: dict[str, int] = {}  # sources, and the frame of each
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            key, boxes = _read(line, f"{path}, line {number}")
            if key in self._boxes:
                raise ProposalsError(f"{path}, line {number}: {_called(*key)} was there before")
            self._boxes[key] = boxes
        if not self._boxes:
            raise ProposalsError(f"{path} holds no line of proposals; {EXPECTED}")

    def of(self, frame: Frame) -> NDArray[np.float64]:
        """Boxes [N, 4] of a frame.

        Raises:
            ProposalsError: the file has no line for it, or one that does not say of which frame of several it is.
        """
        found = self._boxes.get((frame.name, frame.index))
        if found is None and (frame.name, None) in self._boxes:
            if self._without_number.setdefault(frame.name, frame.index) != frame.index:
                raise ProposalsError(
                    f"{self._path} has a line for {frame.name} without an index, but it has several frames: "
                    "expected a line for each, with its index"
                )
            found = self._boxes[frame.name, None]
        if found is None:
            known = next(iter(self._boxes))
            raise ProposalsError(
                f"{self._path} has no line for {_called(frame.name, frame.index)} (it begins with "
                f'{_called(*known)}); a frame without proposals has "boxes": []'
            )
        return found


def _called(source: str, index: int | None) -> str:
    return source if index is None else f"frame {index} of {source}"


def _read(line: str, where: str) -> tuple[tuple[str, int | None], NDArray[np.float64]]:
    """The frame of a line, and its boxes."""
    try:
        row: Any = json.loads(line)
        if "boxes" not in row and "detections" not in row:
            raise ValueError("it has neither boxes nor detections")
        boxes = row["boxes"] if "boxes" in row else [found["box"] for found in row["detections"]]
        source, index = row["source"], row.get("index")
        if not isinstance(source, str) or not isinstance(index, int | None):
            raise ValueError(f"source is {source!r}, index {index!r}")
        return (source, index), np.array(boxes, np.float64).reshape(len(boxes), 4)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ProposalsError(f"{where} is no proposals ({error!r:.80}); {EXPECTED}") from error

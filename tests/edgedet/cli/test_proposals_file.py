"""Proposals of frames in a file: by source and number, or by the source alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgedet.cli.proposals_file import ProposalsFile
from edgedet.errors import ProposalsError
from edgedet.pictures.frames import Frame

IMAGE = np.zeros((4, 4, 3), np.uint8)


def frame(name: str, index: int) -> Frame:
    return Frame(IMAGE, name, index, None)


def written(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_without_a_number_the_source_says_which_frame_is_meant(tmp_path: Path) -> None:
    rows = [{"source": name, "boxes": [[0, 0, number + 1, 2]]} for number, name in enumerate(("a.jpg", "b.jpg"))]
    told = ProposalsFile(written(tmp_path / "told.jsonl", *rows, {"source": "b.jpg", "index": 7, "boxes": []}))
    assert told.of(frame("a.jpg", 0)).tolist() == [[0, 0, 1, 2]]
    assert told.of(frame("b.jpg", 1)).tolist() == [[0, 0, 2, 2]], "pictures of a folder are counted"
    assert told.of(frame("b.jpg", 7)).tolist() == [], "a number that is said goes first"
    with pytest.raises(ProposalsError, match=r"no line for frame 2 of c.jpg \(it begins with a.jpg\)"):
        told.of(frame("c.jpg", 2))
    assert told.of(frame("b.jpg", 1)).tolist() == [[0, 0, 2, 2]], "as often as it is asked"
    with pytest.raises(ProposalsError, match=r"line for b.jpg without an index, but it has several frames"):
        told.of(frame("b.jpg", 2))


def test_one_frame_has_one_line(tmp_path: Path) -> None:
    row = {"source": "a.jpg", "boxes": []}
    with pytest.raises(ProposalsError, match=r"line 2: a\.jpg was there before"):
        ProposalsFile(written(tmp_path / "told.jsonl", row, row))
    with pytest.raises(ProposalsError, match=r"line 2: frame 3 of a\.jpg was there before"):
        ProposalsFile(written(tmp_path / "told.jsonl", *[row | {"index": 3}] * 2))
    with pytest.raises(ProposalsError, match="line 1 is no proposals"):
        ProposalsFile(written(tmp_path / "told.jsonl", row | {"index": "0"}))

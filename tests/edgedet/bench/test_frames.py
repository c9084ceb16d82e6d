"""Frames to measure with: from a picture, a folder, or the pictures of a labels file."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.bench.frames import load_frames
from edgedet.errors import SourceError


def test_frames_may_come_from_one_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.full((30, 40, 3), 7, np.uint8))
    frames = load_frames(tmp_path / "one.png")
    assert (frames.kind, len(frames.frames), frames.frames[0].shape) == ("source", 1, (30, 40, 3))


def test_frames_are_spread_over_a_folder_and_their_decoding_is_timed(tmp_path: Path) -> None:
    for index in range(10):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((6, 8, 3), 20 * index, np.uint8))
    frames = load_frames(tmp_path, count=4)
    assert [int(frame[0, 0, 0]) for frame in frames.frames] == [0, 60, 120, 180]
    assert len(frames.capture_ms) == 4
    assert frames.describe()["sizes"] == [[8, 6]]


def test_frames_come_from_the_pictures_of_a_labels_file(tmp_path: Path) -> None:
    """As ``edgedet sweep --eval val.json`` asks for, where no ``--frames`` says otherwise."""
    cv2.imwrite(str(tmp_path / "one.png"), np.full((30, 40, 3), 7, np.uint8))
    images = [{"id": 1, "file_name": "one.png", "width": 40, "height": 30}]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 10], "area": 100, "iscrowd": 0}
    content = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    frames = load_frames(tmp_path / "labels.json")
    assert (frames.kind, len(frames.frames), frames.frames[0].shape) == ("dataset", 1, (30, 40, 3))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SourceError, match="cannot take frames from"):
        load_frames(tmp_path / "broken.json")

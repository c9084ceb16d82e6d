"""What is saved of sources that leave frames out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.pictures.frames import Frame
from edgedet.pictures.sinks import LONGEST_STILL, Folder


def saved(path: Path) -> list[int]:
    """Brightness of every frame of a video, in steps of 20."""
    capture, found = cv2.VideoCapture(str(path)), []
    while True:
        good, image = capture.read()
        if not good:
            return found
        found.append(round(float(image.mean()) / 20))


def picture(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level * 20, np.uint8)


def test_pictures_of_a_camera_are_shown_for_as_long_as_it_took(tmp_path: Path) -> None:
    with Folder(tmp_path, 10.0, by_clock=True) as folder:
        # The third comes too early to be shown, the last after half a second.
        for level, moment in ((1, 5.0), (2, 5.1), (3, 5.12), (4, 5.3), (5, 5.8)):
            folder.add(Frame(picture(level), "camera 0 #1", 1, captured=moment, source="camera 0"), picture(level))
    assert saved(tmp_path / "camera-0.mp4") == [1, 2, 3, 4, 4, 4, 4, 4, 5]


def test_an_outage_does_not_fill_the_disk(tmp_path: Path) -> None:
    with Folder(tmp_path, 10.0, by_clock=True) as folder:
        for level, moment in ((1, 5.0), (2, 5.0 + 3600), (3, 5.1 + 3600)):
            folder.add(Frame(picture(level), "camera 0 #1", 1, captured=moment, source="camera 0"), picture(level))
    found = saved(tmp_path / "camera-0.mp4")
    assert len(found) == pytest.approx(LONGEST_STILL * 10, abs=3) and found[-2:] == [2, 3]


def test_each_camera_has_a_video(tmp_path: Path) -> None:
    with Folder(tmp_path, None, interrupted="finishes", by_clock=True) as folder:
        for index in range(6):
            name = f"camera {index % 2}"
            frame = Frame(picture(1), f"{name} #{index}", index, captured=index / 25, source=name)
            folder.add(frame, picture(1 + index % 2))
    assert [path.name for path in folder.written] == ["camera-0.mp4", "camera-1.mp4"]
    assert set(saved(tmp_path / "camera-0.mp4")) == {1} and set(saved(tmp_path / "camera-1.mp4")) == {2}

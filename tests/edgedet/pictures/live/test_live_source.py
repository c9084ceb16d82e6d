"""Several live sources at once."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.errors import SourceError
from edgedet.pictures.live.live_source import open_live

ADDRESSES = [f"http://h/{user}?password={user}&channel=1" for user in ("x", "x", "y")]
NAMES = [
    "http://h/x?password=***&channel=1",
    "http://h/x?password=***&channel=1 (2)",
    "http://h/y?password=***&channel=1",
]


class Stream:
    """OpenCV's capture of a stream: three pictures a tenth of a second."""

    opens = True

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def isOpened(self) -> bool:
        return self.opens

    def getBackendName(self) -> str:
        return "FFMPEG"

    def get(self, what: int) -> float:
        return -1.0

    def grab(self) -> bool:
        time.sleep(0.03)
        return True

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass


def test_frames_of_cameras_with_equal_addresses_tell_which_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Stream)
    with open_live(ADDRESSES) as source:
        found = {frame.source for _, frame in zip(range(9), source, strict=False)}
    assert found == set(NAMES) and source.description == ", ".join(NAMES)


def test_a_refusal_names_the_camera_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Stream)
    monkeypatch.setattr(Stream, "opens", False)
    with pytest.raises(SourceError) as refused:
        open_live(["http://h/x?password=SEC&channel=1"])
    assert "http://h/x?password=***&channel=1" in str(refused.value) and "SEC" not in str(refused.value)

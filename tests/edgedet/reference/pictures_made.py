"""Pictures with one bright rectangle each, for :mod:`tests.rectangle_detector`, and their boxes in COCO's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2

from tests.rectangle_detector import NAMES, SCORE, frame_with_rectangle

BOXES = ((8, 10, 30, 40), (20, 4, 60, 50), (5, 33, 44, 60), (30, 30, 50, 44), (1, 2, 40, 20), (14, 22, 33, 61))
CHANNELS = (0, 1, 2, 0, 1, 2)
"""Blue, green, red: the label too."""


def save_pictures(folder: Path, *, suffix: str = ".png") -> list[str]:
    """64x64 pictures ``p0.png`` ...; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"p{index}{suffix}" for index in range(len(BOXES))]
    for name, box, channel in zip(names, BOXES, CHANNELS, strict=True):
        cv2.imwrite(str(folder / name), frame_with_rectangle(64, 64, box, channel=channel))
    return names


def coco(names: list[str], **changes: Any) -> dict[str, Any]:
    """The truth about :func:`save_pictures`; category 7 is the first class."""
    return {
        "images": [{"id": 100 + i, "file_name": name, "width": 64, "height": 64} for i, name in enumerate(names)],
        "categories": [{"id": 7 + label, "name": name} for label, name in enumerate(NAMES)],
        "results": [
            {"image_id": 100 + i, "category_id": 7 + channel, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": SCORE}
            for i, ((x1, y1, x2, y2), channel) in enumerate(zip(BOXES, CHANNELS, strict=True))
        ],
    } | changes


def save(path: Path, content: Any) -> Path:
    """As JSON; returns ``path``."""
    path.write_text(json.dumps(content))
    return path

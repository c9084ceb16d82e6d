"""Videos in COCO files: which frame of which video a picture is, and which object a box is of.

COCO itself knows none. What its descendants agree on: every image has ``video_id`` and a number there, ``frame_id``
in CocoVID (MMTracking, https://github.com/open-mmlab/mmtracking, docs/tutorials/customize_dataset.md; ByteTrack and
others count from 1 instead of 0) or ``frame_index`` in TAO (https://github.com/TAO-Dataset/tao,
tao/toolkit/tao/tao.py); ``videos`` has their ``name`` and, in CocoVID, may have their ``fps``; boxes of one object
share ``instance_id`` (CocoVID) or ``track_id`` (TAO).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from edgedet.datasets.dataset import ClipFrame, ImageRecord
from edgedet.datasets.rows import to_number

NUMBERS = ("frame_id", "frame_index")
INSTANCES = ("instance_id", "track_id")


class Video(NamedTuple):
    """``name`` for people; ``rate``: frames per second, None where it is not said."""

    name: str
    rate: float | None


def read_videos(data: Mapping[str, Any]) -> dict[Any, Video]:
    """The file's ``videos`` by their ids; names are told apart by ids where two are equal."""
    listed = data.get("videos")
    entries = {
        entry["id"]: entry
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, dict) and _is_id(entry.get("id"))
    }
    names = {number: _name(number, entry) for number, entry in entries.items()}
    counts = Counter(names.values())
    return {
        number: Video(f"{name} ({number})" if counts[name] > 1 else name, _rate(entries[number]))
        for number, name in names.items()
    }


def clip_frame(entry: Mapping[str, Any], videos: Mapping[Any, Video], split: str) -> ClipFrame | None:
    """The place of an image entry in its video; None where it has none."""
    video = entry.get("video_id")
    number = next((entry[key] for key in NUMBERS if _is_whole(entry.get(key))), None)
    if not _is_id(video) or number is None:
        return None
    name, rate = videos.get(video, Video(f"video {video}", None))
    # Files number their videos for themselves.
    return ClipFrame(f"{split}/{name}" if split else name, int(number), rate)


def instance_of(annotation: Mapping[str, Any]) -> int | str | None:
    """What an annotation shares with those of the same object in other frames."""
    return next((annotation[key] for key in INSTANCES if _is_id(annotation.get(key))), None)


def video_entries(records: Iterable[ImageRecord]) -> dict[str, dict[str, Any]]:
    """``videos`` of a file with these pictures, by their names."""
    entries: dict[str, dict[str, Any]] = {}
    for record in records:
        if record.clip is not None and record.clip.name not in entries:
            rate = {} if record.clip.rate is None else {"fps": record.clip.rate}
            entries[record.clip.name] = {"id": len(entries) + 1, "name": record.clip.name, **rate}
    return entries


def clip_fields(record: ImageRecord, videos: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What an image entry says of the picture's place in its video; nothing where it has none."""
    if record.clip is None:
        return {}
    return {"video_id": videos[record.clip.name]["id"], "frame_id": record.clip.number}


def _name(number: Any, entry: Mapping[str, Any]) -> str:
    # ByteTrack's files call it file_name.
    said = next((entry[key] for key in ("name", "file_name") if isinstance(entry.get(key), str)), "")
    return said or f"video {number}"


def _rate(entry: Mapping[str, Any]) -> float | None:
    rate = to_number(entry.get("fps"))
    return rate if math.isfinite(rate) and rate > 0 else None


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

"""What ``edgedet detect`` makes of one frame: a line of JSON, a picture with boxes or colours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedet.cli.blurring import Blurring
    from edgedet.detections import Detections
    from edgedet.masks.class_map import ClassMap
    from edgedet.pictures.frames import Frame, Unreadable
    from edgedet.pictures.live.fault import Fault
    from edgedet.pictures.sinks import Picture


def json_line(frame: Frame, detections: Detections | ClassMap, encoding: str) -> str:
    """One frame's detections as a JSON object on one line; escaped where ``encoding`` cannot spell every name."""
    head = {"source": frame.name, "index": frame.index}
    if frame.time is not None:
        head["time"] = round(frame.time, 4)
    return _json(head | detections.to_dict(), encoding)


def error_line(frame: Unreadable, encoding: str) -> str:
    """The same for a frame that could not be read: why, and no ``detections``, which would say it is empty."""
    return _json({"source": frame.name, "index": frame.index, "error": frame.reason}, encoding)


def live_line(frame: Frame, detections: Detections | ClassMap, encoding: str) -> str:
    """:func:`json_line` of a frame of a camera or stream: its age now, in milliseconds, and what was dropped."""
    head: dict[str, Any] = {"source": frame.name, "index": frame.index}
    if frame.time is not None:
        head["time"] = round(frame.time, 4)
    head |= {"age": round(frame.age * 1e3, 1), "dropped": frame.dropped}
    return _json(head | detections.to_dict(), encoding)


def fault_line(fault: Fault, encoding: str) -> str:
    """What went wrong with a camera or stream, and no ``detections``."""
    head = {"source": fault.source, "index": fault.index, "fault": fault.kind, "error": fault.reason}
    return _json(head, encoding)


def _json(values: dict[str, Any], encoding: str) -> str:
    escaped = (encoding or "utf-8").lower().replace("-", "") != "utf8"
    return json.dumps(values, ensure_ascii=escaped)


def annotated(frame: Frame, detections: Detections | ClassMap, blur: Blurring) -> Picture:
    """The frame with boxes drawn or classes coloured, and what is to be blurred made unrecognisable."""
    return detections.plot(blur(frame.image, detections))

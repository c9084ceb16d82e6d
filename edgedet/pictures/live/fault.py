"""What went wrong with a live source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["unreachable", "stalled", "disconnected", "damaged", "resized", "ended"]


@dataclass(frozen=True)
class Fault:
    """A live source that failed, and what is done about it.

    Attributes:
        source: name of the source.
        kind: ``unreachable`` (it cannot be opened again), ``stalled`` (no frame for too long), ``disconnected``,
            ``damaged`` (a frame that cannot be decoded), ``resized`` (frames of another size), or ``ended`` (it was
            given up).
        reason: one sentence.
        index: number of the frame that was due.
        time: when, in seconds of ``time.monotonic()``.
        retry_seconds: until it is opened again; None where it goes on, or has ended.

    >>> Fault("camera 0", "stalled", "camera 0 gave no frame for 5 s", 12, 100.0, 0.1).kind
    'stalled'
    """

    source: str
    kind: FaultKind
    reason: str
    index: int
    time: float
    retry_seconds: float | None = None

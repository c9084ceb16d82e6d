"""How cameras and streams are read and watched over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from edgedet.errors import UsageError

Keep = Literal["newest", "every"]
Through = Literal["auto", "opencv", "pyav", "gstreamer"]


@dataclass(frozen=True)
class LiveSettings:
    """How a camera or stream is read, and what happens when it breaks.

    Attributes:
        keep: ``newest`` drops a frame that nobody took before the next one came; ``every`` makes the source wait
            instead, and whatever is behind it: a slow detector then falls behind a camera.
        open_seconds: limit for opening the source.
        stall_seconds: without a frame for so long, it counts as stalled and is opened again.
        longest_wait: seconds between two attempts to open it again, at most; the first wait is 0.1 s, and each
            further one is twice as long.
        give_up_seconds: without a frame for so long, it counts as ended; None tries for ever, 0 never tries.
        through: library that opens it; ``auto`` takes OpenCV where it can, else what is installed.

    Raises:
        UsageError: a value out of range.

    >>> LiveSettings(stall_seconds=2).longest_wait
    1.5
    """

    keep: Keep = "newest"
    open_seconds: float = 10.0
    stall_seconds: float = 5.0
    longest_wait: float = 1.5
    give_up_seconds: float | None = None
    through: Through = "auto"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("keep", self.keep, get_args(Keep)),
            ("through", self.through, get_args(Through)),
        ):
            if value not in choices:
                raise UsageError(f"{name} is {value!r}, expected {' or '.join(choices)}")
        for name in ("open_seconds", "stall_seconds", "longest_wait"):
            _require_seconds(name, getattr(self, name))
        if self.give_up_seconds != 0 and self.give_up_seconds is not None:
            _require_seconds("give_up_seconds", self.give_up_seconds)


def _require_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise UsageError(f"{name} is {value!r}, expected a number of seconds above 0")

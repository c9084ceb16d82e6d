"""The contract between a live source and the library that reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray


class Shot(NamedTuple):
    """A picture as a capture gives it.

    ``image``: uint8 [H, W, 3] BGR, an array of its own. ``captured``: seconds of ``time.monotonic()``. ``stamp``:
    seconds by the source's own time stamps, from any beginning; None without.
    """

    image: NDArray[Any]
    captured: float
    stamp: float | None = None


class Damaged(Exception):
    """A picture that cannot be decoded; the next one may be."""


class Gone(Exception):
    """The source gives nothing more. The message goes on from the source's name: "stopped after 3 frames; …" reads
    ``verb`` "stopped" and ``hint`` "…"."""

    def __init__(self, verb: str, hint: str) -> None:
        super().__init__(f"{verb}; {hint}")
        self.verb = verb
        self.hint = hint


class Finished(Exception):
    """The source has come to its own end: a recording, sent as a stream."""


class Capture(Protocol):
    """An opened source. One thread reads and closes it.

    ``rate``: frames per second, None where unknown. ``count``: frames of a recording, None of what has no end.
    """

    rate: float | None
    count: int | None

    def read(self) -> Shot:
        """Wait for the next picture.

        Raises:
            Damaged: this one cannot be decoded.
            Gone: the source broke.
            Finished: it ended as it should.
        """

    def close(self) -> None:
        """Release it."""


Opener = Callable[[], Capture]
"""Opens a source, or raises :class:`edgedet.errors.SourceError`."""

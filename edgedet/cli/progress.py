"""A progress line on a terminal, and silence everywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Literal, TextIO

BAR_WIDTH = 24
REFRESH_SECONDS = 0.1
LONG_MINUTES = 10
"""From here on, seconds are not worth saying."""


class Progress:
    """One line on stderr that is rewritten as work goes on and wiped when it ends.

    Nothing is written when the stream is not a terminal, or ``shown`` is ``never``. Callable, so it can be handed
    to anything that takes ``progress(stage, done, total)``; ``total`` None or 0: the end is not known.

    >>> with Progress() as progress:
    ...     progress("reading", 1, 10)
    """

    def __init__(
        self, stream: TextIO | None = None, *, shown: Literal["on a terminal", "never"] = "on a terminal"
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = shown != "never" and self._stream.isatty()
        self._stage = ""
        self._begun = self._drawn = 0.0
        self._end: float | None = None

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """``done`` of ``total`` steps of ``stage`` are finished."""
        if not self._shown:
            return
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._begun, self._drawn = stage, now, 0.0
        if now - self._drawn < REFRESH_SECONDS and done != total:
            return
        self._drawn = now
        left = None if self._end is None else max(self._end - now, 0.0)
        self._stream.write("\r\x1b[2K" + progress_line(stage, done, total, now - self._begun, left))
        self._stream.flush()

    def line(self, text: str) -> None:
        """Show a line of the caller's own in place of stage and steps."""
        now = time.monotonic()
        if self._shown and now - self._drawn >= REFRESH_SECONDS:
            self._stage, self._drawn = text, now
            self._stream.write("\r\x1b[2K" + text)
            self._stream.flush()

    def expect(self, seconds: float) -> None:
        """All of it will take about so many seconds more; shown from now on in place of what the stage takes."""
        self._end = time.monotonic() + seconds

    def say(self, text: str) -> None:
        """Write a line that stays, above the progress; on a terminal or not."""
        self.close()
        # In one piece: Ctrl-C between a text and its line end would join the next line to it.
        self._stream.write(" ".join(text.split()) + "\n")

    def close(self) -> None:
        """Wipe the line."""
        if self._shown and self._stage:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._stage = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def progress_line(stage: str, done: int, total: int | None, seconds: float, left: float | None = None) -> str:
    """The text of the line.

    Args:
        stage: what is being done.
        done, total: steps of it.
        seconds: since it began.
        left: seconds that everything will still take, where that is known.

    >>> progress_line("calibrating", 12, 48, 6.0)
    'calibrating [######                  ] 12/48, 18 s left'
    >>> progress_line("detecting", 90, None, 3.0)
    'detecting 90, 30.0/s'
    >>> progress_line("reading the checkpoint", 0, None, 0.0)
    'reading the checkpoint ...'
    >>> progress_line("ranges", 12, 48, 1.0, 100.0)
    'ranges [######                  ] 12/48, 1 min 40 s left in all'
    """
    whole = "" if left is None else f", {duration(left)} left in all"
    if not total:
        pace = f"{stage} {done}, {done / seconds:.1f}/s" if done and seconds > 0 and not whole else f"{stage} ..."
        return pace + whole
    filled = min(done, total) * BAR_WIDTH // total
    part = f", {seconds / done * (total - done):.0f} s left" if 0 < done < total else ""
    return f"{stage} [{'#' * filled:<{BAR_WIDTH}}] {done}/{total}{whole or part}"


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(59.4), duration(60), duration(3725)
    ('59 s', '1 min', '62 min')
    >>> duration(95)
    '1 min 35 s'
    """
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min" + (f" {rest} s" if rest and minutes < LONG_MINUTES else "")

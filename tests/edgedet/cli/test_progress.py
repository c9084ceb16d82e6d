"""Lines that stay above the progress."""

from __future__ import annotations

import io

from edgedet.cli.progress import Progress


class Pieces(io.StringIO):
    """What was written, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return super().write(text)


def test_a_line_is_written_in_one_piece() -> None:
    """A signal between a text and its line end would join the next line to it."""
    stream = Pieces()
    with Progress(stream) as progress:
        progress.say("one\n  line")
    assert stream.written == ["one line\n"]

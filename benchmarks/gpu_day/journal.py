"""The one file of a run: valid after every step, whatever ends the run, also where the disk fills up."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

RESERVE_BYTES = 2 * 2**20
"""Room that is kept for the file itself: what fills the disk must not cost what was measured before."""


class Journal:
    """``content`` as a JSON file, replaced as a whole."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content
        self._reserve = path.with_name(f".{path.name}.reserve")
        self._reserve.write_bytes(b"\0" * RESERVE_BYTES)

    def write(self) -> str:
        """Write everything; why it could not be, or an empty text."""
        text = json.dumps(self.content, indent=1, allow_nan=False) + "\n"
        return replace_file(self.path, text, reserve=self._reserve)

    def close(self) -> None:
        """Give the reserved room back."""
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)


def replace_file(path: Path, text: str, *, reserve: Path | None = None) -> str:
    """Write ``path`` whole or leave it as it was; why it could not be written, or an empty text.

    ``reserve``: a file that may be given up for it.
    """
    partial = path.with_name(f".{path.name}.partial")
    for _ in range(2):
        try:
            with partial.open("w", encoding="utf-8", errors="replace") as file:
                file.write(text)
                file.flush()
                # A board whose plug is pulled keeps it too.
                os.fsync(file.fileno())
            partial.replace(path)
            return ""
        except OSError as error:
            why = f"{path} cannot be written: {error.strerror or error}"
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            if reserve is None or not reserve.exists():
                return why
            with contextlib.suppress(OSError):
                reserve.unlink()
    return why

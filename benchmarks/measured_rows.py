"""Tables of ``docs/measured/families.md``, a row at a time: a run replaces the rows that it measured."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs/measured/families.md"


def put(page: Path, header: Sequence[str], row: Sequence[str]) -> None:
    """Write ``row`` where the row of that first cell stands, in the table of that header; else below its last.

    Raises:
        ValueError: no table of ``page`` has that header, or the row another length.
    """
    if len(row) != len(header):
        raise ValueError(f"{len(row)} cells for {len(header)} columns: {row}")
    lines = page.read_text(encoding="utf-8").splitlines()
    try:
        start = lines.index(line(header)) + 2
    except ValueError:
        raise ValueError(f"{page} has no table {line(header)}") from None
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    same = [i for i in range(start, end) if lines[i].startswith(f"| {row[0]} |")]
    lines[same[0] if same else end : same[0] + 1 if same else end] = [line(row)]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def at_commit(folder: Path, name: str) -> str:
    """Name and commit of a clone: few of these repositories number what they publish."""
    if not (folder / ".git").exists():
        return f"{name} (checkout)"
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short=7", "HEAD"], capture_output=True, text=True, check=True
    )
    return f"{name} {done.stdout.strip()}"

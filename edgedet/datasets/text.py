"""Annotation files as text."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import DatasetError

NAMES_FILES = ("classes.txt", "labels.txt", "obj.names", "_darknet.labels")


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without byte order mark.

    Raises:
        DatasetError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def find_names(folder: Path) -> Path | None:
    """``classes.txt``, ``labels.txt`` or ``obj.names``, where there is one."""
    return next((folder / name for name in NAMES_FILES if (folder / name).is_file()), None)


def read_names_beside(folder: Path) -> tuple[str, ...] | None:
    """The names of :func:`find_names`' file, each once: for formats that give a box's class by name."""
    path = find_names(folder)
    if path is None:
        return None
    lines = [line.strip() for line in read_text(path).splitlines()]
    return tuple(dict.fromkeys(line for line in lines if line))


def read_numbered_names(path: Path) -> tuple[str, ...]:
    """One name per line, for formats that give a box's class by the number of its line.

    Raises:
        DatasetError: no name, a name twice, or an empty line between names, which leaves the numbers open.
    """
    lines = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if not lines or "" in lines:
        number = lines.index("") + 1 if lines else 1
        raise DatasetError(f"{path}:{number} is empty; classes are numbered by line, so every line needs a name")
    require_distinct(lines, str(path))
    return tuple(lines)


def require_distinct(names: list[str], where: str) -> None:
    """Check that every class has a name of its own.

    Raises:
        DatasetError: one name twice.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{where} holds a name twice ({twice!r}); every class needs a name of its own")

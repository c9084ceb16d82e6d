"""Annotation files as text."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import DatasetError

NAMES_FILES = ("classes.txt", "labels.txt", "obj.names")


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


def read_names_beside(folder: Path) -> tuple[str, ...] | None:
    """Class names in label order from ``classes.txt``, ``labels.txt`` or ``obj.names``, where there is one."""
    for name in NAMES_FILES:
        if (folder / name).is_file():
            lines = [line.strip() for line in read_text(folder / name).splitlines()]
            return tuple(dict.fromkeys(line for line in lines if line))
    return None

"""Class names of a Darknet network: lines of a ``.names`` file, beside the ``.cfg`` or named in a ``.data``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgedet.errors import CheckpointError

LARGEST_FILE = 4_000_000
"""Bytes of a text that is read."""


def find_names(cfg: Path, classes: int) -> tuple[tuple[str, ...], str]:
    """Names that lie beside ``cfg``, and a note on where they are from; empty where there are none.

    Looked for: STEM.names; what STEM.data names; the only other ``.names``, if it has as many lines.

    Raises:
        CheckpointError: STEM.names, or what STEM.data names, has another number of lines.
    """
    own = cfg.with_suffix(".names")
    if own.is_file():
        return _fitting(own, classes), f"class names from {own.name}"
    data = cfg.with_suffix(".data")
    if data.is_file():
        listed = _named_in(data)
        if listed is not None:
            return _fitting(listed, classes), f"class names from {listed.name}, as {data.name} says"
    others = sorted(cfg.parent.glob("*.names"))
    if len(others) != 1:
        return (), ""
    names = _names(others[0])
    if len(names) == classes:
        return names, f"class names from {others[0].name}, the only list beside {cfg.name}"
    return (), f"{others[0].name} names {len(names)} classes, and the network has {classes}: not taken"


def _fitting(path: Path, classes: int) -> tuple[str, ...]:
    names = _names(path)
    if len(names) != classes:
        raise CheckpointError(
            f"{path} names {len(names)} classes, and the network has {classes}; one name a line, or give them with "
            "--classes"
        )
    return names


def _named_in(data: Path) -> Path | None:
    """The file that ``names=`` of a ``.data`` is about, if it is there: the paths are of another machine."""
    for line in _lines(data):
        key, _, value = line.replace(" ", "").replace("\t", "").partition("=")
        if key in ("names", "labels") and value:
            listed = Path(value)
            places = (data.parent / listed, data.parent.parent / listed, data.parent / listed.name, listed)
            return next((place for place in places if place.is_file()), None)
    return None


def _names(path: Path) -> tuple[str, ...]:
    """One a line. Darknet counts an empty line among them: leaving it out would move every class after it."""
    names = _lines(path, empty="kept")
    while names and not names[-1]:
        names = names[:-1]
    if "" in names:
        raise CheckpointError(f"{path}: line {names.index('') + 1} is empty; expected one class name a line")
    return names


def _lines(path: Path, *, empty: Literal["kept", "dropped"] = "dropped") -> tuple[str, ...]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise CheckpointError(f"{path} is too long for a list of names; expected one name a line")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text (byte {error.start}); save it as such") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip() or empty == "kept")

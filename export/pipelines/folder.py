"""A folder written whole or not at all, and written again only where nobody has put work of his own into it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.errors import OutputError
from edgedet.files import file_sha256

MARK = "edgedet.json"
"""File by which a folder of ours is known: what was written into it, with digests."""


@contextmanager
def atomic_folder(path: Path, *, products: Sequence[str] = ()) -> Iterator[Path]:
    """Give an empty folder beside ``path``; put it into place on success, remove it otherwise.

    An earlier folder of ours is replaced, whole, if its files are still as they were written: all others are
    somebody's work.

    Args:
        path: the folder to write; missing folders above it are made.
        products: patterns of names that using such a folder leaves in it (engines, libraries). They are made from
            the files that go, so they go with them.

    Raises:
        OutputError: ``path`` is a file, cannot be written, or holds what we did not write.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a link and write beside its target
    require_replaceable(path, products=products)
    fresh, aside = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("partial", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)  # of a process of this number that was killed
        fresh.mkdir()
        yield fresh
        _mark(fresh)
        # Once more: an export takes minutes, in which somebody may have used the folder.
        require_replaceable(path, products=products)
        if path.exists():
            path.rename(aside)
        fresh.rename(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if aside.exists() and not path.exists():
            aside.rename(path)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)


def require_replaceable(path: Path, *, products: Sequence[str] = ()) -> None:
    """Check that writing ``path`` would destroy nothing: it is not there, empty, or as we wrote it.

    Raises:
        OutputError: something is there that we did not write.
    """
    if not path.is_dir():
        if path.exists() or path.is_symlink():
            raise OutputError(f"{path} is there and no folder; give the name of a folder to write")
        return
    there = sorted(file for file in path.rglob("*") if not file.is_dir() or file.is_symlink())
    if not there and not any(path.iterdir()):
        return
    written = _written(path)
    if written is None:
        raise OutputError(
            f"the folder {path} holds something else ({(there or sorted(path.iterdir()))[0].relative_to(path)}); "
            "give the name of a new or empty one"
        )
    for file in there:
        name = file.relative_to(path).as_posix()
        if name == MARK or any(fnmatch(file.name, product) for product in products):
            continue
        if name not in written or file.is_symlink() or file_sha256(file) != written[name]:
            change = "was changed" if name in written else "is not of it"
            raise OutputError(
                f"the folder {path} was written by edgedet, but {name} {change}: it would be lost; give another "
                "name, or move it away"
            )


def _mark(folder: Path) -> None:
    """Write down what ``folder`` holds."""
    files = {
        file.relative_to(folder).as_posix(): file_sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    text = json.dumps({"made_by": f"edgedet {__version__}", "files": files}, indent=2)
    (folder / MARK).write_text(text + "\n", "ascii")


def _written(folder: Path) -> dict[str, Any] | None:
    """What we wrote into ``folder``, by name; None where it is not ours."""
    try:
        record = json.loads((folder / MARK).read_text("ascii"))
    except (OSError, ValueError):
        return None
    files = record.get("files") if isinstance(record, dict) else None
    return files if isinstance(files, dict) else None

"""Outputs whole or not at all, the user's cache, and the digest by which files are told apart."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from edgedet.errors import OutputError


def require_writable_parent(path: str | Path) -> Path:
    """Check that ``path`` could be written, before any long work starts; creates missing parent folders.

    Raises:
        OutputError: the folder cannot be created or written, or ``path`` is a folder.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder {path.parent}: {error.strerror or error}") from error
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file to write")
    # Trying is the only honest test: os.access says yes to root on /proc and on read-only mounts.
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"the folder {path.parent} is not writable ({error.strerror or error}); choose another place with -o"
        ) from error
    return path


def require_new_folder(folder: Path) -> None:
    """Check that ``folder`` could be made, before any long work starts; creates missing folders above it.

    Raises:
        OutputError: it is there and holds something, or cannot be made.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists already; name a new folder")
    require_writable_parent(folder.parent / f"{folder.name}.check")


def file_sha256(path: str | Path) -> str:
    """The file's digest, hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; False too for a name that no file can have: too long, or with a zero byte.
    ``Path.is_file`` raises for those, and names come from annotations that anybody wrote."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """The same of a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: str | Path) -> bool:
    """The same of either."""
    return os.path.exists(path)  # noqa: PTH110


def read_regular(path: str | Path, most: int) -> bytes:
    """A regular file's content, read once; of a longer one the first ``most + 1`` bytes. A pipe in its place, which
    would stop the program for good, is refused.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            # Room for all that is asked for is taken at once, so no more is asked for than there is.
            return file.read(min(status.st_size, most) + 1)
    finally:
        os.close(descriptor)


def user_cache() -> Path:
    """Folder for what is quicker to keep than to make again; it may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgedet"


def unnamed_file() -> BinaryIO:
    """An empty file without a name, to write and read, gone when it is closed. In memory where the system has such
    files (Linux): what is put there may come from pictures, and those are written to no disk unasked."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("edgedet"), "w+b")  # noqa: PTH123 (a descriptor; the caller closes it)
    return cast(BinaryIO, tempfile.TemporaryFile())


def sync(path: str | Path) -> None:
    """Have a file, or a folder's list of files, on the disk before anything that follows: a rename may otherwise
    outlive a loss of power that the content did not.

    Raises:
        OSError: the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it into place on success, remove it otherwise.

    The suffix is kept, since many writers choose their format by it.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    path = require_writable_parent(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)

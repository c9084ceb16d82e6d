"""One file in the place of another, and its signatures with it, so that no moment is without a right pair.

Two files cannot be renamed at once. But a file of signatures may hold those of several artifacts, so: first the
signatures of the old and of the new artifact lie there together; then the new artifact is renamed into its place;
then the old one's signatures go. Whoever opens the artifact in between finds the old or the new one, and a
signature of it. Each step is on the disk before the next begins, for a loss of power.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgedet.artifacts.signature import LARGEST, Signature, parse, serialise, signature_path
from edgedet.artifacts.signed_artifact import signatures_that_fit
from edgedet.errors import InstallError, OutputError, SignatureError
from edgedet.files import read_regular, sync

MARK = "installing"


def staged_path(target: Path) -> Path:
    """Path of what is to become ``target``, until it does. The suffix is kept: the artifact is opened there."""
    return target.with_name(f".{target.stem}.{os.getpid()}.{MARK}{target.suffix}")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other installations out of a folder for the time of a block; the system forgets it with the process.

    Raises:
        InstallError: another one is at work there.
        OutputError: the folder cannot be opened.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"cannot open the folder {folder}: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InstallError(f"another installation is at work in {folder}; try again when it is done") from None
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(target: Path) -> None:
    """Remove what an installation that was killed left beside ``target``; for the one that is alone there."""
    for leftover in list(target.parent.glob(f".{glob.escape(target.stem)}.*.{MARK}*")):
        with contextlib.suppress(OSError):
            leftover.unlink()


def write_through(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file and have it on the disk; nothing is left of one that cannot be written.

    Raises:
        OSError: no room, or no right.
    """
    try:
        path.write_bytes(content)
        if mode is not None:
            path.chmod(mode)
        sync(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def same_file(path: Path, place: Path) -> None:
    """Have the file ``path`` at ``place`` too; a link where the file system has them, else a copy.

    Raises:
        OSError: neither.
    """
    place.unlink(missing_ok=True)
    try:
        os.link(path, place)
    except OSError:
        try:
            shutil.copy2(path, place)
            sync(place)
        except OSError:
            place.unlink(missing_ok=True)
            raise


def signatures_of(path: Path, content: bytes) -> tuple[Signature, ...]:
    """The signatures beside an artifact that speak of these bytes; empty where there are none.

    Raises:
        OSError: they cannot be read.
        SignatureError: no file of signatures.
    """
    beside = signature_path(path)
    try:
        found = read_regular(beside, LARGEST)
    except FileNotFoundError:
        return ()
    return signatures_that_fit(path, content, parse(found, str(beside)))


def place(staged: Path, target: Path, signatures: Sequence[Signature]) -> None:
    """Rename ``staged`` to ``target``, with its signatures beside it.

    Raises:
        OSError: before the rename, and then nothing has changed that counts; or after it.
    """
    beside = signature_path(target)
    if signatures:
        _write_signatures(beside, [*signatures, *_kept(target, signatures)])
    elif beside.exists():
        # Of an older artifact: rather none for a moment than a wrong one.
        beside.unlink()
        sync(target.parent)
    staged.replace(target)
    sync(target.parent)
    if signatures:
        _write_signatures(beside, signatures)


def _kept(target: Path, signatures: Sequence[Signature]) -> tuple[Signature, ...]:
    try:
        there = signatures_of(target, target.read_bytes())
    except (FileNotFoundError, SignatureError):
        return ()
    return tuple(one for one in there if one not in signatures)


def _write_signatures(beside: Path, signatures: Sequence[Signature]) -> None:
    content = serialise(signatures)
    with contextlib.suppress(OSError):
        if beside.read_bytes() == content:
            return
    staged = staged_path(beside)
    write_through(staged, content, 0o644)
    staged.replace(beside)
    sync(beside.parent)

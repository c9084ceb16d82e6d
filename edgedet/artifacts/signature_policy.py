"""Whether an artifact must be signed to be opened, and by whom: the caller says so, or the machine does.

``EDGEDET_REQUIRE_SIGNATURE`` names a file of public keys for every program on a machine. What a caller requires
comes on top of it: each file must have signed, by one of its keys.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedet.artifacts.signing_keys import read_public_keys
from edgedet.errors import SignatureError, SigningKeyError, UsageError

VARIABLE = "EDGEDET_REQUIRE_SIGNATURE"

PACKAGE = Path(__file__).resolve().parents[1]
"""What lies in here came with the program, and is as good as its code."""


def required_keys(path: Path | None, given: str | Path | None = None) -> tuple[tuple[Any, ...], ...]:
    """The keys of which one in each group must have signed an artifact; empty where none must.

    Args:
        path: the artifact; None where no file was named.
        given: a file of public keys that the caller requires.

    Raises:
        SignatureError: a file of keys cannot be used, so that nothing can be checked and nothing is opened.
        UsageError: ``given`` is no path.
        MissingDependencyError: signatures are required, and ``cryptography`` is not installed.
    """
    if given is not None and (not isinstance(given, str | os.PathLike) or given == ""):
        raise UsageError(f"require_signature is {given!r}, expected the path of a file of public keys (.pub)")
    files = [*_stated(), *([str(given)] if given is not None else [])]
    if not files or (path is not None and given is None and _came_with_the_program(path)):
        return ()
    try:
        return tuple(read_public_keys(file) for file in dict.fromkeys(files))
    except SigningKeyError as error:
        raise SignatureError(
            f"a signature is required, and the key to check it with cannot be used: {error}"
        ) from error


def is_required() -> bool:
    """Whether this machine opens signed artifacts only."""
    return VARIABLE in os.environ


@contextmanager
def requiring(given: str | Path | None) -> Iterator[None]:
    """Require a signature of everything that is opened inside the block, by this process and those it starts.

    ``given``: a file of public keys; None requires nothing more than the machine does.

    Raises:
        UsageError: a path that the variable cannot hold.
    """
    if given is None:
        yield
        return
    added = os.path.abspath(given)  # noqa: PTH100 (a program started elsewhere must find it)
    if os.pathsep in added:
        raise UsageError(f"the path {added} holds {os.pathsep!r}, which separates paths; move the key")
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = added if before is None else f"{before}{os.pathsep}{added}"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def _stated() -> list[str]:
    stated = os.environ.get(VARIABLE)
    if stated is None:
        return []
    files = stated.split(os.pathsep)
    if not all(files):
        # An empty value is a slip of whoever set it: taken for "nothing required" it would open everything.
        raise SignatureError(
            f"{VARIABLE} is {stated!r}, expected the path of a file of public keys; unset it where nothing is "
            "required"
        )
    return files


def _came_with_the_program(path: Path) -> bool:
    try:
        return PACKAGE in path.resolve().parents
    except (OSError, ValueError, RuntimeError):
        return False

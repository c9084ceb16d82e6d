"""Passphrases of private keys: from the environment, for programs, or from the terminal."""

from __future__ import annotations

import getpass
import os
import sys

from edgedet.errors import UsageError

VARIABLE = "EDGEDET_KEY_PASSPHRASE"


def new_passphrase() -> bytes:
    """A passphrase for a new key; on the terminal it is asked for twice.

    Raises:
        UsageError: none can be asked for, it is empty, or the two differ.
    """
    if VARIABLE in os.environ:
        return _usable(os.environ[VARIABLE])
    first = _asked("passphrase for the new key: ")
    if getpass.getpass("once more: ") != first:
        raise UsageError("the two passphrases differ; nothing was written")
    return _usable(first)


def passphrase_of(key: object) -> bytes:
    """The passphrase of a locked key. ``key``: its file, for the question.

    Raises:
        UsageError: none can be asked for, or it is empty.
    """
    return _usable(os.environ[VARIABLE] if VARIABLE in os.environ else _asked(f"passphrase of {key}: "))


def _asked(question: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(f"the key is locked, and there is no terminal to ask for its passphrase: set {VARIABLE}")
    return getpass.getpass(question)


def _usable(passphrase: str) -> bytes:
    if not passphrase:
        raise UsageError("the passphrase is empty; leave it out for a key without one")
    return passphrase.encode()
